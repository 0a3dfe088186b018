// Walking several Views of one shape together: merge dims that lie together, then run an inner loop for
// every combination of the outer ones. Start at Walk. Internal linkage, see simd.h.
#pragma once

#include "unspool/kernels/simd.h"
#include "unspool/kernels/view.h"

namespace unspool {
namespace {

UNSPOOL_INLINE int64_t bytes_of(DType d) {
  if (d == DType::Float16 || d == DType::BFloat16) return 2;
  return d <= DType::UInt8 ? 1 : (d == DType::Int32 || d == DType::Float32 ? 4 : 8);
}

// Calls f(T{}) with a value of the element type, one that is computed in: no 16-bit one.
template <class F>
UNSPOOL_INLINE void with_dtype(DType d, const F& f) {
  switch (d) {
    case DType::Bool:
      f(bool{});
      break;
    case DType::UInt8:
      f(uint8_t{});
      break;
    case DType::Int32:
      f(int32_t{});
      break;
    case DType::Int64:
      f(int64_t{});
      break;
    case DType::Float32:
      f(float{});
      break;
    case DType::Float64:
      f(double{});
      break;
    case DType::Float16:
    case DType::BFloat16:
      __builtin_unreachable();
  }
}
template <class F>
UNSPOOL_INLINE void with_floating(DType d, const F& f) {
  if (d == DType::Float64)
    f(double{});
  else
    f(float{});
}

// N operands over one index space. Dim 0 is the innermost; strides are in bytes.
template <int N>
struct Walk {
  int ndim = 0;
  bool empty = false;
  int64_t size[kMaxDims];
  int64_t stride[kMaxDims][N];
  char* base[N];

  UNSPOOL_INLINE void add_dim(int64_t n, const int64_t (&s)[N]) {
    if (n == 1) return;
    if (n == 0) empty = true;
    bool merges = ndim > 0;
    for (int j = 0; j < N; ++j) merges = merges && s[j] == stride[ndim - 1][j] * size[ndim - 1];
    if (merges) {
      size[ndim - 1] *= n;
      return;
    }
    size[ndim] = n;
    for (int j = 0; j < N; ++j) stride[ndim][j] = s[j];
    ++ndim;
  }
  // Leaves at least one dim.
  UNSPOOL_INLINE void finish() {
    if (ndim > 0) return;
    size[0] = 1;
    for (int j = 0; j < N; ++j) stride[0][j] = 0;
    ndim = 1;
  }

  // f(pointers) for every index of the dims from `first` on, in row-major order.
  template <class F>
  UNSPOOL_INLINE void outer(const F& f, int first = 1) const {
    if (empty) return;
    char* p[N];
    for (int j = 0; j < N; ++j) p[j] = base[j];
    int64_t index[kMaxDims];
    for (int d = first; d < ndim; ++d) index[d] = 0;
    for (;;) {
      f(p);
      int d = first;
      for (; d < ndim; ++d) {
        for (int j = 0; j < N; ++j) p[j] += stride[d][j];
        if (++index[d] < size[d]) break;
        for (int j = 0; j < N; ++j) p[j] -= stride[d][j] * size[d];
        index[d] = 0;
      }
      if (d >= ndim) return;
    }
  }
};

// All views have views[0]'s shape.
template <int N>
UNSPOOL_INLINE void start(Walk<N>& w, const View* const (&views)[N]) {
  int64_t item[N];
  for (int j = 0; j < N; ++j) {
    w.base[j] = static_cast<char*>(views[j]->data);
    item[j] = bytes_of(views[j]->dtype);
  }
  for (int d = views[0]->shape.ndim - 1; d >= 0; --d) {
    int64_t s[N];
    for (int j = 0; j < N; ++j) s[j] = views[j]->strides.v[d] * item[j];
    w.add_dim(views[0]->shape.v[d], s);
  }
  w.finish();
}

// n elements of `bytes` each, one pointer or both with a stride.
template <class T>
UNSPOOL_INLINE void move_items(char* to, int64_t to_stride, const char* from, int64_t from_stride,
                               int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    T x;
    __builtin_memcpy(&x, from + i * from_stride, sizeof x);
    __builtin_memcpy(to + i * to_stride, &x, sizeof x);
  }
}

}  // namespace
}  // namespace unspool
