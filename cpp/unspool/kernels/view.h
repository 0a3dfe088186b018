// What every kernel sees of a tensor: a pointer, a type, a shape and strides in elements.
// A View owns nothing; kernels never see a Tensor, allocate, or throw inside a loop.
#pragma once

#include "unspool/base/dtype.h"
#include "unspool/base/shape.h"

namespace unspool {

struct View {
  void* data = nullptr;
  DType dtype = DType::Float32;
  Shape shape;
  Strides strides;

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  std::int64_t numel() const {
    std::int64_t n = 1;
    for (std::int64_t size : shape) n *= size;
    return n;
  }
  bool contiguous() const { return is_contiguous(shape, strides); }
};

}  // namespace unspool
