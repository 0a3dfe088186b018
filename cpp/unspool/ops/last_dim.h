// For ops that work along one dim: it is moved to the end, and back. Start at last() and each_row().
#pragma once

#include "unspool/ops/ops.h"

namespace unspool {

// x with `dim` last, and back. A 0-d tensor counts as a vector of one.
inline Tensor last(const Tensor& x, int dim) {
  const Tensor y = x.ndim() ? x : reshape(x, {1});
  return contiguous(dim == y.ndim() - 1 ? y : transpose(y, dim, y.ndim() - 1));
}
inline Tensor back(const Tensor& y, int dim, int ndim) {
  if (ndim == 0) return reshape(y, {});
  return dim == ndim - 1 ? y : contiguous(transpose(y, dim, ndim - 1));
}
inline std::int64_t rows_of(const Tensor& x) {
  const std::int64_t n = x.shape()[x.ndim() - 1];
  return n ? x.numel() / n : 0;
}
template <class T, class F>
void each_row(const Tensor& x, F&& f) {
  const std::int64_t n = x.shape()[x.ndim() - 1];
  const T* from = reinterpret_cast<const T*>(x->data);
  for (std::int64_t r = 0, rows = rows_of(x); r < rows; ++r) f(from + r * n, r, n);
}

}  // namespace unspool
