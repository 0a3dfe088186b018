// Shapes and strides as fixed inline arrays, and the arithmetic on them.
// Sizes are multiplied in one function only, numel_of, which checks overflow.
#pragma once

#include <cstdint>
#include <string>

#include "unspool/base/error.h"

namespace unspool {

inline constexpr int kMaxDims = 8;

// A short list of integers: a shape, strides (in elements), or a list of dims.
// Elements past `ndim` are never read, so copies move only what is used.
struct Dims {
  int ndim = 0;
  std::int64_t v[kMaxDims];

  Dims() {}
  Dims(std::initializer_list<std::int64_t> list) {
    for (std::int64_t x : list) push(x);
  }
  Dims(const std::int64_t* data, int n) : ndim(n) {
    for (int i = 0; i < n; ++i) v[i] = data[i];
  }
  Dims(const Dims& o) : Dims(o.v, o.ndim) {}
  Dims& operator=(const Dims& o) {
    ndim = o.ndim;
    for (int i = 0; i < ndim; ++i) v[i] = o.v[i];
    return *this;
  }

  std::int64_t operator[](int i) const { return v[i]; }
  std::int64_t& operator[](int i) { return v[i]; }
  const std::int64_t* begin() const { return v; }
  const std::int64_t* end() const { return v + ndim; }
  std::int64_t* begin() { return v; }
  std::int64_t* end() { return v + ndim; }

  void push(std::int64_t x) {
    if (ndim == kMaxDims) too_many(ndim + 1);
    v[ndim++] = x;
  }
  void insert(int at, std::int64_t x) {
    push(x);
    for (int i = ndim - 1; i > at; --i) v[i] = v[i - 1];
    v[at] = x;
  }
  void erase(int at) {
    for (int i = at; i + 1 < ndim; ++i) v[i] = v[i + 1];
    --ndim;
  }
  friend bool operator==(const Dims& a, const Dims& b) {
    if (a.ndim != b.ndim) return false;
    for (int i = 0; i < a.ndim; ++i)
      if (a.v[i] != b.v[i]) return false;
    return true;
  }

  std::string str() const;  // "(2, 3)", "(4,)", "()"

  [[noreturn]] static void too_many(std::int64_t n);
};

using Shape = Dims;
using Strides = Dims;

// `op` names the caller in errors: a name, or a schema that begins with it.
//
// The number of elements. Throws ShapeError on a negative size, MemoryError where the product
// (or its size in bytes at 8 bytes an element) overflows 63 bits.
std::int64_t numel_of(const Shape& shape, const char* op);

// Throws the MemoryError for a tensor of this shape.
[[noreturn]] void fail_memory(const char* op, const Shape& shape, const char* why);

// In what order elements lie; as an attribute None is Preserve.
enum class MemoryFormat : std::uint8_t { Preserve, RowMajor, ChannelsLast, ChannelsLast3d };

Strides contiguous_strides(const Shape& shape);
bool is_contiguous(const Shape& shape, const Strides& strides);
// Without gaps and overlaps, in whatever order of the dims.
bool is_dense(const Shape& shape, const Strides& strides);
// Strides of dims of size 1 reach nothing, and don't count.
bool same_places(const Shape& shape, const Strides& a, const Strides& b);

// The dense strides of an elementwise result: PyTorch's rule. Dims lie in the order of the operands'
// strides, the first operand deciding where it is not broadcast; where none does, in row-major order.
struct Operand {
  Shape shape;
  Strides strides;
};
Strides result_strides(const Shape& shape, const Operand* operands, int n);
// Those of a copy: a dense tensor's own.
Strides copy_strides(const Shape& shape, const Strides& strides);

// NumPy's rule: align right, sizes equal or 1. Throws ShapeError naming `op`.
Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b);

// A dim in [-ndim, ndim) as one in [0, ndim); a 0-d tensor has one dim, as in PyTorch.
// Throws IndexError naming `op`.
int wrap_dim(const char* op, std::int64_t dim, int ndim);

}  // namespace unspool
