#include "unspool/base/shape.h"

#include <algorithm>

namespace unspool {
namespace {

// Callers on the hot path pass an op's whole schema; its name ends at the parenthesis.
std::string name_in(const char* op) {
  const std::string text = op;
  return text.substr(0, text.find('('));
}

}  // namespace

std::string Dims::str() const {
  std::string s = "(";
  for (int i = 0; i < ndim; ++i) {
    if (i) s += ", ";
    s += std::to_string(v[i]);
  }
  return s + (ndim == 1 ? ",)" : ")");
}

void Dims::too_many(std::int64_t n) {
  fail(ErrorKind::Value, "a tensor has at most ", kMaxDims, " dimensions, got ", n);
}

std::int64_t numel_of(const Shape& shape, const char* op) {
  // Zero wins over overflow: a tensor of shape (0, 2^62) is empty, and legal.
  std::int64_t n = 1;
  bool overflow = false;
  bool zero = false;
  for (std::int64_t size : shape) {
    if (size < 0) fail(ErrorKind::Shape, name_in(op), ": a size must not be negative, got shape ", shape);
    zero |= size == 0;
    if (!zero) overflow |= __builtin_mul_overflow(n, size, &n);
  }
  if (zero) return 0;
  std::int64_t bytes = 0;
  if (overflow || __builtin_mul_overflow(n, std::int64_t{8}, &bytes))
    fail_memory(op, shape, "more elements than memory can address");
  return n;
}

void fail_memory(const char* op, const Shape& shape, const char* why) {
  fail(ErrorKind::Memory, name_in(op), ": shape ", shape, " needs ", why);
}

Strides contiguous_strides(const Shape& shape) {
  Strides s;
  s.ndim = shape.ndim;
  std::int64_t step = 1;
  for (int i = shape.ndim - 1; i >= 0; --i) {
    s[i] = step;
    // Unsigned: the strides of an empty tensor may wrap, and are never used.
    step = static_cast<std::int64_t>(static_cast<std::uint64_t>(step) *
                                     static_cast<std::uint64_t>(std::max<std::int64_t>(shape[i], 1)));
  }
  return s;
}

bool is_contiguous(const Shape& shape, const Strides& strides) {
  for (std::int64_t size : shape)
    if (size == 0) return true;
  std::int64_t step = 1;
  for (int i = shape.ndim - 1; i >= 0; --i) {
    if (shape[i] == 1) continue;
    if (strides[i] != step) return false;
    step *= shape[i];
  }
  return true;
}

Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b) {
  if (a == b) return a;
  Shape out;
  out.ndim = std::max(a.ndim, b.ndim);
  for (int i = 1; i <= out.ndim; ++i) {
    std::int64_t x = i <= a.ndim ? a[a.ndim - i] : 1;
    std::int64_t y = i <= b.ndim ? b[b.ndim - i] : 1;
    if (x != y && x != 1 && y != 1)
      fail(ErrorKind::Shape, name_in(op), ": shapes do not broadcast; a has shape ", a, ", b has shape ", b,
           ". Aligned at the right, sizes must be equal or 1; dimension -", i, " has ", x, " and ", y);
    out[out.ndim - i] = x == 1 ? y : x;
  }
  return out;
}

int wrap_dim(const char* op, std::int64_t dim, int ndim) {
  const int n = ndim == 0 ? 1 : ndim;
  if (dim < -n || dim >= n)
    fail(ErrorKind::Index, name_in(op), ": Dimension out of range (expected to be in range of [", -n, ", ",
         n - 1, "], but got ", dim, ")");
  return static_cast<int>(dim < 0 ? dim + n : dim);
}

}  // namespace unspool
