// Rows brought to mean 0 and variance 1 (layer_norm) or to a mean square of 1 (rms_norm), and the gradient.
// Internal linkage, see simd.h.
//
//   x̂ = (x - mean) · rstd,  rstd = 1 / sqrt(mean((x - mean)²) + eps),  y = x̂ · weight + bias
//   h = g · weight,         gx = (h - mean(h) - x̂ · mean(h · x̂)) · rstd
// Each operation is rounded on its own, and sums run in reduce.h's order: the bits of the same formula in
// ops. Without `centered` mean and mean(h) count as 0 and are not subtracted. All operands are contiguous.
#pragma once

#include "unspool/kernels/rows.h"
#include "unspool/kernels/table.h"

namespace unspool {
namespace {

// The mean of f(p[i]…) over a row.
template <class T, class F, class... In>
inline T mean_of(int64_t n, const F& f, const In*... p) {
  Sequence<SumOp<T>> sum;
  for_blocks(n, [&](int64_t i, int64_t m) {
    T terms[kRowBlock];
    vectors(terms, m, f, (p + i)...);
    sum.feed(terms, m);
  });
  return static_cast<T>(sum.result()) / static_cast<T>(n);
}

template <class T, bool kCentered>
inline void norm_rows_typed(const NormCall& c) {
  const int64_t n = c.x.shape.v[1];
  const T* weight = static_cast<const T*>(c.weight);
  const T* bias = static_cast<const T*>(c.bias);
  each_row(c.x, [&](int64_t r) {
    const T* x = static_cast<const T*>(c.x.data) + r * n;
    T* y = static_cast<T*>(c.y) + r * n;
    const T mean = kCentered ? mean_of<T>(n, [](Vec<T> v) { return v; }, x) : T(0);
    const Vec<T> centre = Vec<T>::all(mean);
    const auto rest = [&](Vec<T> v) { return kCentered ? v - centre : v; };
    const T spread = mean_of<T>(
        n,
        [&](Vec<T> v) {
          const Vec<T> d = rest(v);
          return d * d;
        },
        x);
    const T rstd = T(1) / static_cast<T>(__builtin_sqrt(static_cast<double>(spread + static_cast<T>(c.eps))));
    T* stats = static_cast<T*>(c.stats) + 2 * r;
    stats[0] = mean;
    stats[1] = rstd;
    const Vec<T> factor = Vec<T>::all(rstd);
    if (weight == nullptr)
      vectors(y, n, [&](Vec<T> v) { return rest(v) * factor; }, x);
    else if (bias == nullptr)
      vectors(y, n, [&](Vec<T> v, Vec<T> w) { return rest(v) * factor * w; }, x, weight);
    else
      vectors(y, n, [&](Vec<T> v, Vec<T> w, Vec<T> b) { return rest(v) * factor * w + b; }, x, weight, bias);
  });
}

template <class T, bool kCentered>
inline void norm_rows_backward_typed(const NormCall& c, const View& g_rows, void* gx_rows, void* products) {
  const int64_t n = c.x.shape.v[1];
  const T* weight = static_cast<const T*>(c.weight);
  each_row(c.x, [&](int64_t r) {
    const T* x = static_cast<const T*>(c.x.data) + r * n;
    const T* g = static_cast<const T*>(g_rows.data) + r * n;
    const T* stats = static_cast<const T*>(c.stats) + 2 * r;
    const Vec<T> centre = Vec<T>::all(stats[0]), factor = Vec<T>::all(stats[1]);
    const auto normal = [&](Vec<T> v) { return (kCentered ? v - centre : v) * factor; };
    if (products != nullptr)
      vectors(static_cast<T*>(products) + r * n, n, [&](Vec<T> u, Vec<T> v) { return u * normal(v); }, g, x);
    if (gx_rows == nullptr) return;
    T* gx = static_cast<T*>(gx_rows) + r * n;
    const auto row = [&](const auto& h, const auto*... in) {  // h(g, …) = g · weight
      const Vec<T> mean =
          Vec<T>::all(kCentered ? mean_of<T>(n, [&](Vec<T>, auto... v) { return h(v...); }, x, in...) : T(0));
      const Vec<T> along =
          Vec<T>::all(mean_of<T>(n, [&](Vec<T> v, auto... u) { return h(u...) * normal(v); }, x, in...));
      vectors(
          gx, n,
          [&](Vec<T> v, auto... u) {
            const Vec<T> pulled = kCentered ? h(u...) - mean : h(u...);
            return (pulled - normal(v) * along) * factor;
          },
          x, in...);
    };
    if (weight == nullptr)
      row([](Vec<T> u) { return u; }, g);
    else
      row([](Vec<T> u, Vec<T> w) { return u * w; }, g, weight);
  });
}

void norm_rows(const NormCall& c) {
  with_floating(c.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    c.centered ? norm_rows_typed<T, true>(c) : norm_rows_typed<T, false>(c);
  });
}
void norm_rows_backward(const NormCall& c, const View& g, void* gx, void* products) {
  with_floating(c.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    c.centered ? norm_rows_backward_typed<T, true>(c, g, gx, products)
               : norm_rows_backward_typed<T, false>(c, g, gx, products);
  });
}

}  // namespace
}  // namespace unspool
