// softmax and log_softmax over rows, shifted by the maximum, and their backwards. Internal linkage.
// A row's sum runs in reduce.h's order (double lanes for float).
#pragma once

#include "unspool/kernels/gemm_pack.h"
#include "unspool/kernels/rows.h"

namespace unspool {
namespace {

// The maximum, and the sum of exp(x - maximum). Where `keep` is set the exponentials are left in out.
template <class T, bool kKeep>
inline T row_exp_sum(Row<T> out, Row<T> in, int64_t n, T top) {
  Sequence<SumOp<T>> sum;
  const Vec<T> shift = Vec<T>::all(top);
  for_blocks(n, [&](int64_t i, int64_t m) {
    T buffer[kRowBlock], result[kRowBlock];
    const T* x = in.read(i, m, buffer);
    T* y = kKeep ? out.write(i, result) : result;
    vectors(y, m, [&](Vec<T> v) { return exp(v - shift); }, x);
    sum.feed(y, m);
    if (kKeep) out.commit(i, m, y);
  });
  return static_cast<T>(sum.result());
}

template <class T>
inline void softmax_row(Row<T> out, Row<T> in, int64_t n) {
  if (is_short(in, n) && out.dense()) {
    const ShortRow<T> x(in.p, n, MaxOp<T>::identity());
    const Vec<T> shift = Vec<T>::all(x.template reduced<MaxOp<T>>());
    const ShortRow<T> e = x.map([&](Vec<T> v) { return exp(v - shift); });
    const Vec<T> sum = Vec<T>::all(static_cast<T>(e.template reduced<SumOp<T>>()));
    return e.map([&](Vec<T> v) { return v / sum; }).store(out.p, n);
  }
  const Vec<T> sum = Vec<T>::all(row_exp_sum<T, true>(out, in, n, row_max(in, n)));
  for_blocks(n, [&](int64_t i, int64_t m) {
    T buffer[kRowBlock], result[kRowBlock];
    const T* x = out.read(i, m, buffer);
    T* y = out.write(i, result);
    vectors(y, m, [&](Vec<T> v) { return v / sum; }, x);
    out.commit(i, m, y);
  });
}

template <class T>
inline void log_softmax_row(Row<T> out, Row<T> in, int64_t n) {
  const T top = row_max(in, n);
  const Vec<T> shift = Vec<T>::all(top);
  const Vec<T> log_sum = Vec<T>::all(log_one(row_exp_sum<T, false>(out, in, n, top)));
  for_blocks(n, [&](int64_t i, int64_t m) {
    T buffer[kRowBlock], result[kRowBlock];
    const T* x = in.read(i, m, buffer);
    T* y = out.write(i, result);
    vectors(y, m, [&](Vec<T> v) { return v - shift - log_sum; }, x);
    out.commit(i, m, y);
  });
}

// So many rows are a group, whose numbers are a register each of a column.
template <class T>
constexpr int64_t kRowGroup = Vec<T>::kLanes;

// f(r, count) for groups of the rows of a 2-D view.
template <class T, class F>
UNSPOOL_INLINE void each_group(const View& v, const F& f) {
  parallel_ranges(v.shape.v[0], 1, v.shape.v[0] * v.shape.v[1], [&](int64_t first, int64_t count) {
    for (int64_t r = first, end = first + count; r < end; r += kRowGroup<T>)
      f(r, end - r < kRowGroup<T> ? end - r : kRowGroup<T>);
  });
}

// x[0]: what a Sequence makes of n <= kShort numbers.
template <class Op>
UNSPOOL_INLINE void join_halves(Vec<typename Op::Acc>* x, int64_t n) {
  for (int64_t half = kShort / 2; half >= 1; half /= 2) {
    for (int64_t i = 0; i + half < n; ++i) x[i] = Op::join(x[i], x[i + half]);
    n = n < half ? n : half;
  }
}

// Of rows of few numbers each step of one waits for the last: 200 of 10 took 7 times as long one by one. Then
// their results are in `x`, too, kRowColumns of them, column by column kRowGroup apart, and true is returned.
template <class T>
constexpr int64_t kRowColumns = kShort * kRowGroup<T>;
template <class T>
inline bool log_softmax_group(const View& out, const View& in, int64_t first, int64_t count, T* x) {
  using Sum = SumOp<T>;
  constexpr int64_t L = kRowGroup<T>, W = Vec<typename Sum::Acc>::kLanes;
  const int64_t n = out.shape.v[1];
  const Row<T> from = Row<T>::of(in, first), to = Row<T>::of(out, first);
  if (!is_short(from, n) || !to.dense()) {
    for (int64_t r = first; r < first + count; ++r) log_softmax_row(Row<T>::of(out, r), Row<T>::of(in, r), n);
    return false;
  }
  alignas(kVecBytes) T powers[L];
  Vec<T> top[kShort];
  Vec<typename Sum::Acc> sums[L / W][kShort];
  __builtin_memset(x, 0, kRowColumns<T> * sizeof(T));
  pack_rows(x, L, reinterpret_cast<const T*>(from.p), int64_t{1}, in.strides.v[0], n, count);
  for (int64_t c = 0; c < n; ++c) top[c] = Vec<T>::load(x + c * L);
  join_halves<MaxOp<T>>(top, n);
  for (int64_t c = 0; c < n; ++c) {
    const Vec<T> shifted = Vec<T>::load(x + c * L) - top[0];
    shifted.store(x + c * L);
    exp(shifted).store(powers);
    for (int64_t h = 0; h < L / W; ++h) sums[h][c] = Sum::lift(powers + h * W);
  }
  for (int64_t h = 0; h < L / W; ++h) {
    typedef T Sums __attribute__((vector_size(W * sizeof(T))));
    join_halves<Sum>(sums[h], n);
    const Sums sum = __builtin_convertvector(sums[h][0].v, Sums);
    __builtin_memcpy(powers + h * W, &sum, sizeof sum);
  }
  const Vec<T> log_sum = log(Vec<T>::load(powers));
  for (int64_t c = 0; c < n; ++c) (Vec<T>::load(x + c * L) - log_sum).store(x + c * L);
  pack_rows(reinterpret_cast<T*>(to.p), out.strides.v[0], x, int64_t{1}, L, count, n);
  return true;
}

// y (g - Σ g y)
template <class T>
inline void softmax_backward_row(Row<T> out, Row<T> g, Row<T> y, int64_t n) {
  Sequence<SumOp<T>> sum;
  T gb[kRowBlock], yb[kRowBlock], result[kRowBlock];
  for_blocks(n, [&](int64_t i, int64_t m) {
    const T* gp = g.read(i, m, gb);
    const T* yp = y.read(i, m, yb);
    vectors(result, m, [](Vec<T> a, Vec<T> b) { return a * b; }, gp, yp);
    sum.feed(result, m);
  });
  const Vec<T> total = Vec<T>::all(static_cast<T>(sum.result()));
  for_blocks(n, [&](int64_t i, int64_t m) {
    const T* gp = g.read(i, m, gb);
    const T* yp = y.read(i, m, yb);
    T* to = out.write(i, result);
    vectors(to, m, [&](Vec<T> a, Vec<T> b) { return (a - total) * b; }, gp, yp);
    out.commit(i, m, to);
  });
}

// g - exp(y) Σ g
template <class T>
inline void log_softmax_backward_row(Row<T> out, Row<T> g, Row<T> y, int64_t n) {
  Sequence<SumOp<T>> sum;
  T gb[kRowBlock], yb[kRowBlock], result[kRowBlock];
  for_blocks(n, [&](int64_t i, int64_t m) { sum.feed(g.read(i, m, gb), m); });
  const Vec<T> total = Vec<T>::all(static_cast<T>(sum.result()));
  for_blocks(n, [&](int64_t i, int64_t m) {
    const T* gp = g.read(i, m, gb);
    const T* yp = y.read(i, m, yb);
    T* to = out.write(i, result);
    vectors(to, m, [&](Vec<T> a, Vec<T> b) { return a - exp(b) * total; }, gp, yp);
    out.commit(i, m, to);
  });
}

void softmax(const View& out, const View& in) {
  with_floating(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    each_row(out, [&](int64_t r) { softmax_row(Row<T>::of(out, r), Row<T>::of(in, r), out.shape.v[1]); });
  });
}
void log_softmax(const View& out, const View& in) {
  with_floating(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    each_group<T>(out, [&](int64_t r, int64_t count) {
      alignas(kVecBytes) T columns[kRowColumns<T>];
      log_softmax_group<T>(out, in, r, count, columns);
    });
  });
}
void softmax_backward(const View& out, const View& g, const View& y) {
  with_floating(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    each_row(out, [&](int64_t r) {
      softmax_backward_row(Row<T>::of(out, r), Row<T>::of(g, r), Row<T>::of(y, r), out.shape.v[1]);
    });
  });
}
void log_softmax_backward(const View& out, const View& g, const View& y) {
  with_floating(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    each_row(out, [&](int64_t r) {
      log_softmax_backward_row(Row<T>::of(out, r), Row<T>::of(g, r), Row<T>::of(y, r), out.shape.v[1]);
    });
  });
}

}  // namespace
}  // namespace unspool
