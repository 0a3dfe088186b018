// What the ops that only change shape and strides share.
#pragma once

#include "unspool/ops/op.h"

namespace unspool {

// Sets result 0 to a view of input 0, and tells the tape whose view it is.
inline void make_view(Call& c, const Shape& shape, const Strides& strides, std::int64_t offset) {
  c.out[0] = alias(c.in[0], shape, strides, offset);
  recorder.view(c.in[0], c.out[0]);
}

inline void no_kernel(Call&) {}

}  // namespace unspool
