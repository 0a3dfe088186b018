// softmax and log_softmax over rows, shifted by the maximum, and their backwards. Internal linkage.
// A row's sum runs in reduce.h's order (double lanes for float).
#pragma once

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

// So many rows are a group: the logarithms of their sums are one call.
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

template <class T>
inline void log_softmax_group(const View& out, const View& in, int64_t first, int64_t count) {
  const int64_t n = out.shape.v[1];
  if (!is_short(Row<T>::of(in, first), n) || !Row<T>::of(out, first).dense()) {
    for (int64_t r = first; r < first + count; ++r) log_softmax_row(Row<T>::of(out, r), Row<T>::of(in, r), n);
    return;
  }
  ShortRow<T> shifted[kRowGroup<T>];
  T sums[kRowGroup<T>];
  for (int64_t i = 0; i < kRowGroup<T>; ++i) sums[i] = 1;
  for (int64_t i = 0; i < count; ++i) {
    const ShortRow<T> x(Row<T>::of(in, first + i).p, n, MaxOp<T>::identity());
    const Vec<T> shift = Vec<T>::all(x.template reduced<MaxOp<T>>());
    shifted[i] = x.map([&](Vec<T> v) { return v - shift; });
    const ShortRow<T> e = shifted[i].map([](Vec<T> v) { return exp(v); });
    sums[i] = static_cast<T>(e.template reduced<SumOp<T>>());
  }
  log(Vec<T>::load(sums)).store(sums);
  for (int64_t i = 0; i < count; ++i) {
    const Vec<T> log_sum = Vec<T>::all(sums[i]);
    shifted[i].map([&](Vec<T> v) { return v - log_sum; }).store(Row<T>::of(out, first + i).p, n);
  }
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
    each_group<T>(out, [&](int64_t r, int64_t count) { log_softmax_group<T>(out, in, r, count); });
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
