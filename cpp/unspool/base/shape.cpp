#include "unspool/base/shape.h"

#include <algorithm>
#include <utility>

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

bool is_dense(const Shape& shape, const Strides& strides) {
  if (is_contiguous(shape, strides)) return true;
  // Each dim goes on where the one inside of it ends.
  std::int64_t step = 1;
  for (int round = 0; round < shape.ndim; ++round) {
    int next = -1, left = 0;
    for (int d = 0; d < shape.ndim; ++d) {
      if (shape[d] == 1 || strides[d] < step) continue;
      ++left;
      if (strides[d] == step) next = d;
    }
    if (next < 0) return left == 0 && step == numel_of(shape, "is_dense");
    step *= shape[next];
  }
  return step == numel_of(shape, "is_dense");
}

bool same_places(const Shape& shape, const Strides& a, const Strides& b) {
  for (int d = 0; d < shape.ndim; ++d)
    if (shape[d] != 1 && a[d] != b[d]) return false;
  return true;
}

namespace {

// Of an operand aligned at the right; 0 where it is broadcast.
std::int64_t stride_along(const Operand& o, const Shape& shape, int dim) {
  const int d = dim - (shape.ndim - o.shape.ndim);
  return d < 0 || (o.shape[d] == 1 && shape[dim] != 1) ? 0 : o.strides[d];
}

// Which of two dims lies outside of the other: > 0 where a does, < 0 where b does, 0 where no operand tells.
int outer_of(int a, int b, const Shape& shape, const Operand* operands, int n) {
  for (int i = 0; i < n; ++i) {
    const std::int64_t x = stride_along(operands[i], shape, a), y = stride_along(operands[i], shape, b);
    if (x == 0 || y == 0) continue;
    if (x != y) return x > y ? 1 : -1;
    if (shape[a] > shape[b]) return 1;
  }
  return 0;
}

}  // namespace

Strides result_strides(const Shape& shape, const Operand* operands, int n) {
  const int ndim = shape.ndim;
  bool alike = true;
  for (int i = 0; i < n; ++i)
    alike = alike && operands[i].shape == shape && operands[i].strides == operands[0].strides;
  if (n > 0 && alike && is_dense(shape, operands[0].strides)) return operands[0].strides;
  // From the innermost dim on. The order is only partial, so what is known decides and the search stops
  // at it, as PyTorch's does: another sort would give other results.
  int order[kMaxDims];
  for (int d = 0; d < ndim; ++d) order[d] = ndim - 1 - d;
  for (int i = 1; i < ndim; ++i)
    for (int at = i, before = i - 1; before >= 0; --before) {
      const int outer = outer_of(order[before], order[at], shape, operands, n);
      if (outer < 0) break;
      if (outer == 0) continue;
      std::swap(order[before], order[at]);
      at = before;
    }
  Strides strides = shape;
  std::int64_t step = 1;
  for (int d = 0; d < ndim; ++d) {
    strides[order[d]] = step;
    step *= std::max<std::int64_t>(shape[order[d]], 1);
  }
  return strides;
}

Strides copy_strides(const Shape& shape, const Strides& strides) {
  if (is_contiguous(shape, strides)) return contiguous_strides(shape);
  const Operand own{shape, strides};
  return result_strides(shape, &own, 1);
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
