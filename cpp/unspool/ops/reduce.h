// What reductions share: dims as a bit mask, and the shapes of results.
#pragma once

#include "unspool/ops/op.h"

namespace unspool {

inline std::uint32_t all_dims(int ndim) { return (1u << ndim) - 1; }

inline std::uint32_t dims_of(const OpDef& op, int ndim, const Dims& dims) {
  if (dims.ndim <= 0) return all_dims(ndim);
  std::uint32_t mask = 0;
  for (std::int64_t d : dims) {
    const std::uint32_t bit = 1u << wrap_dim(op.schema, d, ndim);
    if (mask & bit)
      fail(ErrorKind::Runtime, name_of(op), ": dim ", d, " appears multiple times in the list of dims ",
           dims);
    mask |= bit;
  }
  return mask & all_dims(ndim);  // a 0-d tensor has a dim 0 to name, none to reduce
}

inline Shape reduced(const Shape& shape, std::uint32_t mask, bool keepdim) {
  Shape out;
  for (int d = 0; d < shape.ndim; ++d) {
    if (!((mask >> d) & 1))
      out.push(shape[d]);
    else if (keepdim)
      out.push(1);
  }
  return out;
}

// The view of a result that kernels want: the input's ndim, size 1 where it was reduced.
inline View kept_view(const Tensor& out, const Tensor& in, std::uint32_t mask) {
  View v = out.view();
  v.shape = reduced(in.shape(), mask, true);
  v.strides = contiguous_strides(v.shape);
  return v;
}

}  // namespace unspool
