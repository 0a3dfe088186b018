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

// Of rows of up to kShort elements most of what a Sequence and blocks do is bookkeeping: a row of 10 classes
// took four times as long. Such rows are copied into whole vectors instead, filled up with `rest`.
constexpr int64_t kShort = 16;
template <class T>
struct ShortRow {
  static constexpr int kVecs = static_cast<int>(kShort) / Vec<T>::kLanes;
  Vec<T> v[kVecs];

  UNSPOOL_INLINE ShortRow() = default;
  UNSPOOL_INLINE ShortRow(const char* p, int64_t n, T rest) {
    for (int i = 0; i < kVecs; ++i) {
      const int64_t left = n - i * Vec<T>::kLanes;
      const char* const at = p + i * kVecBytes;
      if (left >= Vec<T>::kLanes)
        v[i] = Vec<T>::load(at);
      else
        v[i] = left <= 0 ? Vec<T>::all(rest)
                         : where(first_lanes<T>(left), Vec<T>::load(at, left), Vec<T>::all(rest));
    }
  }
  UNSPOOL_INLINE void store(char* p, int64_t n) const {
    for (int i = 0; i < kVecs; ++i) {
      const int64_t left = n - i * Vec<T>::kLanes;
      char* const at = p + i * kVecBytes;
      if (left >= Vec<T>::kLanes)
        v[i].store(at);
      else if (left > 0)
        v[i].store(at, left);
    }
  }
  template <class F>
  UNSPOOL_INLINE ShortRow map(const F& f) const {
    ShortRow y;
    for (int i = 0; i < kVecs; ++i) y.v[i] = f(v[i]);
    return y;
  }
  // What a Sequence makes of the elements, where the rest is the operation's identity.
  template <class Op>
  UNSPOOL_INLINE typename Op::Acc reduced() const {
    using Acc = typename Op::Acc;
    constexpr int W = Vec<Acc>::kLanes, kN = static_cast<int>(kShort) / W;
    T x[kShort];
    store(reinterpret_cast<char*>(x), kShort);
    const Vec<Acc> identity = Vec<Acc>::all(Op::identity());
    Vec<Acc> lane[kN > 0 ? kN : 1];
    for (int i = 0; i < kN; ++i) lane[i] = Op::join(identity, Op::lift(x + i * W));
    for (int half = kN / 2; half >= 1; half /= 2)
      for (int i = 0; i < half; ++i) lane[i] = Op::join(lane[i], lane[i + half]);
    Acc one[W];
    lane[0].store(one);
    for (int half = W / 2; half >= 1; half /= 2)
      for (int i = 0; i < half; ++i) one[i] = Op::join(one[i], one[i + half]);
    return one[0];
  }
};
template <class T>
UNSPOOL_INLINE bool is_short(Row<T> x, int64_t n) {
  return n <= kShort && x.dense();
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
