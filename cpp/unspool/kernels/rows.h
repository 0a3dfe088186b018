// A row of any stride, worked on in blocks: contiguous ones in place, others through a buffer.
// What the softmax, loss and ReLU kernels share. Internal linkage, see simd.h.
#pragma once

#include "unspool/kernels/math.h"
#include "unspool/kernels/reduce.h"

namespace unspool {
namespace {

constexpr int64_t kRowBlock = kGather;  // a multiple of 64, of kLanes, and a divisor of kChunk

template <class T>
struct Row {
  char* p;
  int64_t stride;  // bytes

  // Row r of a 2-D view.
  static UNSPOOL_INLINE Row of(const View& v, int64_t r) {
    constexpr int64_t kItem = sizeof(T);
    return {static_cast<char*>(v.data) + r * v.strides.v[0] * kItem, v.strides.v[1] * kItem};
  }
  UNSPOOL_INLINE bool dense() const { return stride == static_cast<int64_t>(sizeof(T)); }
  // Elements [i, i + n) to read: where they lie, or gathered into buffer.
  UNSPOOL_INLINE const T* read(int64_t i, int64_t n, T* buffer) const {
    if (dense()) return reinterpret_cast<const T*>(p) + i;
    move_items<T>(reinterpret_cast<char*>(buffer), sizeof(T), p + i * stride, stride, n);
    return buffer;
  }
  // Where to write elements [i, i + n); finish with commit.
  UNSPOOL_INLINE T* write(int64_t i, T* buffer) const {
    return dense() ? reinterpret_cast<T*>(p) + i : buffer;
  }
  UNSPOOL_INLINE void commit(int64_t i, int64_t n, const T* buffer) const {
    if (!dense()) move_items<T>(p + i * stride, stride, reinterpret_cast<const char*>(buffer), sizeof(T), n);
  }
};

template <class F>
UNSPOOL_INLINE void for_blocks(int64_t n, const F& f) {
  for (int64_t i = 0; i < n; i += kRowBlock) f(i, n - i < kRowBlock ? n - i : kRowBlock);
}

// f(r) for the rows of a 2-D view, about a nanosecond an element.
template <class F>
UNSPOOL_INLINE void each_row(const View& v, const F& f) {
  parallel_ranges(v.shape.v[0], 1, v.shape.v[0] * v.shape.v[1], [&](int64_t first, int64_t count) {
    for (int64_t r = first; r < first + count; ++r) f(r);
  });
}

// to[i] = f(x[i]…) over a contiguous block, tails through the same vector code.
template <class T, class F, class... In>
UNSPOOL_INLINE void vectors(T* to, int64_t n, const F& f, const In*... in) {
  constexpr int L = Vec<T>::kLanes;
  int64_t i = 0;
  for (; i + L <= n; i += L) f(Vec<T>::load(in + i)...).store(to + i);
  if (i < n) f(Vec<T>::load(in + i, n - i)...).store(to + i, n - i);
}

// The maximum by reduce.h's lanes; NaN wins.
template <class T>
inline T row_max(Row<T> x, int64_t n) {
  Sequence<MaxOp<T>> best;
  for_blocks(n, [&](int64_t i, int64_t m) {
    T buffer[kRowBlock];
    best.feed(x.read(i, m, buffer), m);
  });
  return best.result();
}

// One number through the vector code, for a row's logarithm.
template <class T>
UNSPOOL_INLINE T log_one(T x) {
  T y[Vec<T>::kLanes];
  log(Vec<T>::all(x)).store(y);
  return y[0];
}

}  // namespace
}  // namespace unspool
