#include "unspool/tensor/tensor.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace unspool {

TensorHooks tensor_hooks;
UNSPOOL_NEAR constinit thread_local std::uint16_t capture_number = 0;
std::atomic<bool> halves_in_use{false};

namespace {

std::atomic<DType> default_dtype_{DType::Float32};

void drop(Version* v) noexcept {
  // The storage's own counter is freed with the storage.
  if (v->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    v->~Version();
    deallocate(v, sizeof(Version));
  }
}

void drop(Storage* s) noexcept {
  if (s->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (s->born) [[unlikely]]
    tensor_hooks.storage_died(s);
  auto* release = s->release;
  void* owner = s->owner;
  const std::size_t block = kStorageHeader + (release ? 0 : static_cast<std::size_t>(s->bytes));
  s->~Storage();
  deallocate(s, block);
  if (release) release(owner);
}

bool owns_counter(const TensorImpl* p) { return p->version != &p->storage->version; }

TensorImpl* new_impl(Storage* storage, DType dtype) {
  auto* p = new (allocate(sizeof(TensorImpl))) TensorImpl;
  if (is_half(dtype)) halves_in_use.store(true, std::memory_order_relaxed);
  p->dtype = dtype;
  p->storage = storage;
  p->version = &storage->version;
  return p;
}

template <class T>
Tensor number(T value) {
  Tensor t = empty({}, dtype_of<T>);
  *reinterpret_cast<T*>(t->data) = value;
  t->wrapped_number = true;
  return t;
}

}  // namespace

// A loop, since a gradient may have a gradient: a long chain of them is freed on a small stack.
void destroy(TensorImpl* p) noexcept {
  while (p) {
    TensorImpl* next = p->grad.take();
    if (p->hooks || p->retains_grad || p->suspect) tensor_hooks.release_hooks(p);
    if (p->node) tensor_hooks.release_node(p->node);
    if (p->attributes) tensor_hooks.release_attributes(p->attributes);
    if (p->view) {
      p->view->~ViewOf();
      deallocate(p->view, sizeof(ViewOf));
    }
    if (owns_counter(p)) drop(p->version);
    drop(p->storage);
    p->~TensorImpl();
    deallocate(p, sizeof(TensorImpl));
    p = next && next->refs.fetch_sub(1, std::memory_order_acq_rel) == 1 ? next : nullptr;
  }
}

View Tensor::view() const { return {p_->data, p_->dtype, p_->shape, p_->strides}; }

namespace {

// Of that shape, over `span` elements of fresh memory; its strides are not set.
Tensor on_fresh_memory(const Shape& shape, std::int64_t numel, std::int64_t span, DType dtype,
                       const char* op) {
  const std::int64_t bytes = span * static_cast<std::int64_t>(item_size(dtype));
  void* memory = nullptr;
  try {
    memory = allocate(kStorageHeader + static_cast<std::size_t>(bytes));
  } catch (const Error&) {
    fail_memory(op, shape, (std::to_string(bytes) + " bytes, which the system does not have").c_str());
  }
  auto* block = static_cast<char*>(memory);
  auto* storage = new (block) Storage;
  storage->data = block + kStorageHeader;
  storage->bytes = bytes;
  storage->born = capture_number;
  TensorImpl* p = new_impl(storage, dtype);
  p->data = static_cast<char*>(storage->data);
  p->numel = numel;
  p->shape = shape;
  return Tensor::steal(p);
}

}  // namespace

Tensor empty(const Shape& shape, DType dtype, const char* op) {
  const std::int64_t n = numel_of(shape, op);
  Tensor t = on_fresh_memory(shape, n, n, dtype, op);
  t->strides = contiguous_strides(shape);
  return t;
}

Tensor empty(const Shape& shape, const Strides& strides, DType dtype, const char* op) {
  const std::int64_t n = numel_of(shape, op);
  std::int64_t span = n ? 1 : 0;
  for (int d = 0; n && d < shape.ndim; ++d) span += (shape[d] - 1) * strides[d];
  Tensor t = on_fresh_memory(shape, n, span, dtype, op);
  t->strides = strides;
  t->contiguous = is_contiguous(shape, strides);
  return t;
}

Tensor from_memory(void* data, std::int64_t bytes, const Shape& shape, const Strides& strides, DType dtype,
                   bool readonly, void (*release)(void*), void* owner) {
  const std::int64_t n = numel_of(shape, "from_memory");
  auto* storage = new (allocate(kStorageHeader)) Storage;
  storage->data = data;
  storage->bytes = bytes;
  storage->readonly = readonly;
  storage->release = release;
  storage->born = capture_number;
  storage->owner = owner;
  TensorImpl* p = new_impl(storage, dtype);
  p->data = static_cast<char*>(data);
  p->numel = n;
  p->shape = shape;
  p->strides = strides;
  p->contiguous = is_contiguous(shape, strides);
  return Tensor::steal(p);
}

Tensor alias(const Tensor& t, const Shape& shape, const Strides& strides, std::int64_t offset) {
  t->storage->refs.fetch_add(1, std::memory_order_relaxed);
  TensorImpl* p = new_impl(t->storage, t.dtype());
  if (owns_counter(t.get())) {
    p->version = t->version;
    p->version->refs.fetch_add(1, std::memory_order_relaxed);
  }
  p->data = static_cast<char*>(t->storage->data) + offset * static_cast<std::int64_t>(item_size(t.dtype()));
  p->shape = shape;
  p->strides = strides;
  p->numel = 1;
  for (std::int64_t size : shape) p->numel *= size;
  p->contiguous = is_contiguous(shape, strides);
  return Tensor::steal(p);
}

Tensor alias_with_own_version(const Tensor& t) {
  Tensor copy = alias(t);
  auto* version = new (allocate(sizeof(Version))) Version;
  if (owns_counter(copy.get())) drop(copy->version);
  copy->version = version;
  return copy;
}

void set_data(const Tensor& t, const Tensor& other) {
  Tensor from = alias_with_own_version(other);
  std::swap(t->storage, from->storage);
  std::swap(t->version, from->version);
  std::swap(t->data, from->data);
  std::swap(t->dtype, from->dtype);
  std::swap(t->numel, from->numel);
  std::swap(t->shape, from->shape);
  std::swap(t->strides, from->strides);
  std::swap(t->contiguous, from->contiguous);
}

void resize(const Tensor& t, const Shape& shape, const char* op) {
  const auto item = static_cast<std::int64_t>(item_size(t.dtype()));
  const std::int64_t numel = numel_of(shape, op);
  if ((t->offset() + numel) * item > t->storage->bytes) {
    if (t->storage->refs.load(std::memory_order_acquire) > 1 || t->storage->release)
      fail(ErrorKind::Runtime, op, ": a tensor of shape ", t.shape(), " can't grow to shape ", shape,
           ", since its memory is shared");
    Tensor larger = empty(shape, t.dtype(), op);
    std::memcpy(larger->data, t->data, static_cast<std::size_t>(t->storage->bytes - t->offset() * item));
    const bool own = owns_counter(t.get());
    if (!own) larger->version->count.store(version_of(t), std::memory_order_relaxed);
    std::swap(t->storage, larger->storage);
    std::swap(t->data, larger->data);
    if (own)
      larger->version = &larger->storage->version;
    else
      std::swap(t->version, larger->version);
  }
  t->numel = numel;
  t->shape = shape;
  t->strides = contiguous_strides(shape);
  t->contiguous = true;
  bump_version(t);  // a saved tensor has not the shape that it was saved with
}

void show(const Tensor& t, const Tensor& view) {
  t->data = view->data;
  t->numel = view->numel;
  t->shape = view->shape;
  t->strides = view->strides;
  t->contiguous = view->contiguous;
  bump_version(t);
}

Tensor wrapped_number(double value) { return number(value); }
Tensor wrapped_number(std::int64_t value) { return number(value); }
Tensor wrapped_number(bool value) { return number(value); }

DType default_dtype() { return default_dtype_.load(std::memory_order_relaxed); }
void set_default_dtype(DType d) {
  if (is_half(d)) halves_in_use.store(true, std::memory_order_relaxed);
  default_dtype_.store(d, std::memory_order_relaxed);
}

DType promote(DType a, DType b) {
  if (a != b && is_half(a) && is_half(b)) return DType::Float32;  // neither holds the other
  return std::max(a, b);                                          // DType lists them in this order
}

void ResultType::add(const Tensor& t) {
  DType d = t.dtype();
  int* slot = &dim_;
  if (t->wrapped_number) {
    slot = &wrapped_;
    if (is_floating(d)) d = default_dtype();
  } else if (t.ndim() == 0) {
    slot = &zero_;
  }
  *slot = *slot < 0 ? static_cast<int>(d) : static_cast<int>(promote(static_cast<DType>(*slot), d));
}

DType ResultType::get() const {
  // The weightier group decides the dtype; a lighter one only lifts the category.
  auto combine = [](int heavy, int light) {
    if (heavy < 0) return light;
    if (light < 0) return heavy;
    return info(static_cast<DType>(heavy)).category < info(static_cast<DType>(light)).category ? light
                                                                                               : heavy;
  };
  return static_cast<DType>(combine(dim_, combine(zero_, wrapped_)));
}

}  // namespace unspool
