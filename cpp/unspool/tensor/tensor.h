// The tensor: storage + offset + shape + strides + dtype + version counter + gradient slot.
// `Tensor` is an intrusively counted pointer to a TensorImpl; copying one copies the pointer.
// No mathematics here: operations live in ops/, history in tape/.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "unspool/base/alloc.h"
#include "unspool/base/dtype.h"
#include "unspool/base/shape.h"
#include "unspool/kernels/view.h"

namespace unspool {

struct Node;        // tape/node.h
struct TensorImpl;  // below
struct Hooks;       // tape/hooks.h
struct OpDef;       // ops/op.h

// Counted writes of one piece of memory. Views and detached tensors share it; `.data` does not.
struct Version {
  std::atomic<std::uint32_t> refs{1};
  std::atomic<std::uint32_t> count{0};
  // The last write that the tape knows of, for the error message.
  std::uint32_t site = 0;
  const OpDef* writer = nullptr;
};

// A block of memory: the engine's own (header and bytes are one block) or somebody else's,
// which `release(owner)` gives back.
struct Storage {
  std::atomic<std::uint32_t> refs{1};
  bool readonly = false;
  std::uint16_t born = 0;  // the capture that it was made in: `capture_number` of then
  void* data = nullptr;
  std::int64_t bytes = 0;
  void (*release)(void* owner) = nullptr;
  void* owner = nullptr;
  Version version;
};
inline constexpr std::size_t kStorageHeader = 64;
static_assert(sizeof(Storage) <= kStorageHeader);

class Tensor {
 public:
  Tensor() = default;
  Tensor(const Tensor& o) noexcept : p_(o.p_) { retain(p_); }
  Tensor(Tensor&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  Tensor& operator=(const Tensor& o) noexcept {
    Tensor copy(o);
    std::swap(p_, copy.p_);
    return *this;
  }
  Tensor& operator=(Tensor&& o) noexcept {
    if (this != &o) {
      TensorImpl* old = std::exchange(p_, std::exchange(o.p_, nullptr));
      drop(old);
    }
    return *this;
  }
  ~Tensor() { drop(p_); }

  static Tensor steal(TensorImpl* p) noexcept {
    Tensor t;
    t.p_ = p;
    return t;
  }
  static Tensor borrow(TensorImpl* p) noexcept {
    retain(p);
    return steal(p);
  }
  TensorImpl* take() noexcept { return std::exchange(p_, nullptr); }
  TensorImpl* get() const noexcept { return p_; }
  TensorImpl* operator->() const noexcept { return p_; }
  explicit operator bool() const noexcept { return p_ != nullptr; }

  inline DType dtype() const;
  inline const Shape& shape() const;
  inline const Strides& strides() const;
  inline int ndim() const;
  inline std::int64_t numel() const;
  inline bool contiguous() const;
  inline bool requires_grad() const;
  View view() const;

 private:
  static inline void retain(TensorImpl* p) noexcept;
  static inline void drop(TensorImpl* p) noexcept;
  TensorImpl* p_ = nullptr;
};

// Of a differentiable view: the tensor whose history it follows. `seen` is the version at which
// `node` was right; after a later write through the base or another view, tape/inplace.cpp makes
// the node anew from the base's.
struct ViewOf {
  Tensor base;
  std::uint32_t seen = 0;
};

struct TensorImpl {
  std::atomic<std::uint32_t> refs{1};
  DType dtype = DType::Float32;
  bool requires_grad = false;   // asked for by the user (leaves), or recorded (results)
  bool wrapped_number = false;  // was a Python number: it does not decide the result's dtype
  bool contiguous = true;
  bool suspect = false;       // may be part of a cycle: bindings/cycles.cpp
  bool retains_grad = false;  // keeps its gradient, although it is no leaf
  std::uint32_t output = 0;   // which result of `node` this is
  Storage* storage = nullptr;
  Version* version = nullptr;
  char* data = nullptr;
  std::int64_t numel = 1;
  Node* node = nullptr;  // the record that made this; null for a leaf
  Tensor grad;
  ViewOf* view = nullptr;
  Hooks* hooks = nullptr;      // of a leaf, owned
  void* handle = nullptr;      // the Python object while one is alive, borrowed
  void* attributes = nullptr;  // Python state that outlives the handle, owned
  Shape shape;
  Strides strides;

  std::int64_t offset() const {  // in elements, from the start of the storage
    return (data - static_cast<char*>(storage->data)) / static_cast<std::int64_t>(item_size(dtype));
  }
  bool is_leaf() const { return node == nullptr; }
};

// Set by the layers that own these resources, so that tensor/ needs neither.
struct TensorHooks {
  void (*storage_died)(Storage*) noexcept = nullptr;      // plan: of those born in a capture
  void (*release_node)(Node*) noexcept = nullptr;         // tape
  void (*release_hooks)(TensorImpl*) noexcept = nullptr;  // tape
  void (*release_attributes)(void*) noexcept = nullptr;   // bindings
};
extern TensorHooks tensor_hooks;

// Of the capture that this thread is in (plan/capture.cpp); 0 where it is in none.
UNSPOOL_NEAR extern constinit thread_local std::uint16_t capture_number;

void destroy(TensorImpl* p) noexcept;

inline void Tensor::retain(TensorImpl* p) noexcept {
  if (p) p->refs.fetch_add(1, std::memory_order_relaxed);
}
inline void Tensor::drop(TensorImpl* p) noexcept {
  if (p && p->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(p);
}
inline DType Tensor::dtype() const { return p_->dtype; }
inline const Shape& Tensor::shape() const { return p_->shape; }
inline const Strides& Tensor::strides() const { return p_->strides; }
inline int Tensor::ndim() const { return p_->shape.ndim; }
inline std::int64_t Tensor::numel() const { return p_->numel; }
inline bool Tensor::contiguous() const { return p_->contiguous; }
inline bool Tensor::requires_grad() const { return p_->requires_grad; }

// An uninitialised contiguous tensor.
Tensor empty(const Shape& shape, DType dtype, const char* op = "empty");
// The same with strides; they may leave gaps.
Tensor empty(const Shape& shape, const Strides& strides, DType dtype, const char* op = "empty");

// A tensor over memory that somebody else owns; `release(owner)` is called when its storage dies.
Tensor from_memory(void* data, std::int64_t bytes, const Shape& shape, const Strides& strides, DType dtype,
                   bool readonly, void (*release)(void*), void* owner);

// A tensor on the same storage and version counter, without history. `offset` in elements from
// the start of the storage.
Tensor alias(const Tensor& t, const Shape& shape, const Strides& strides, std::int64_t offset);
inline Tensor alias(const Tensor& t) { return alias(t, t.shape(), t.strides(), t->offset()); }
// The same with a version counter of its own: `.data`.
Tensor alias_with_own_version(const Tensor& t);

// Makes `t` show `other`'s memory (the setter of `.data`): same identity, history untouched.
void set_data(const Tensor& t, const Tensor& other);

// Gives `t` another shape, in row-major order from its first element on. Elements beyond its storage are not
// set; where they do not fit, it gets more memory. Throws RuntimeError, naming `op`, where others see the
// same memory.
void resize(const Tensor& t, const Shape& shape, const char* op);

// Makes `t` show what `view`, on the same storage, shows: squeeze_, t_ and their like.
void show(const Tensor& t, const Tensor& view);

// A 0-d tensor that stands for a Python number.
Tensor wrapped_number(double value);
Tensor wrapped_number(std::int64_t value);
Tensor wrapped_number(bool value);

// Whether any float16 or bfloat16 tensor was ever made, or is the default: the door asks before it looks
// closer.
extern std::atomic<bool> halves_in_use;

DType default_dtype();
void set_default_dtype(DType d);

inline std::uint32_t version_of(const Tensor& t) { return t->version->count.load(std::memory_order_relaxed); }
// No locked addition, which takes longer than the update of a small layer: two threads that write one tensor
// at the same time have no result to count anyway.
inline void bump_version(const Tensor& t) {
  t->version->count.store(version_of(t) + 1, std::memory_order_relaxed);
}

// PyTorch's result_type over tensors, 0-d tensors and wrapped numbers, in that order of weight.
class ResultType {
 public:
  void add(const Tensor& t);
  DType get() const;

 private:
  int dim_ = -1, zero_ = -1, wrapped_ = -1;
};
DType promote(DType a, DType b);

}  // namespace unspool
