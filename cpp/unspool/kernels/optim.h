// SGD and Adam(W) updates in one sweep, each product and sum rounded where PyTorch's single-tensor
// implementations round. Internal linkage, see simd.h.
#pragma once

#include "unspool/kernels/parallel.h"
#include "unspool/kernels/table.h"

namespace unspool {
namespace {

// f(i, load, store): a step on a register's worth of elements from i on, fewer at the end. `work` is an
// element's, in 1/16 ns.
template <class T, class F>
UNSPOOL_INLINE void sweep(int64_t n, int64_t work, const F& f) {
  constexpr int L = Vec<T>::kLanes;
  parallel_ranges(n, 1024, n * work / 16, [&](int64_t first, int64_t count) {
    int64_t i = first;
    for (; i + L <= first + count; i += L)
      f(i, [](const T* p) { return Vec<T>::load(p); }, [](Vec<T> v, T* p) { v.store(p); });
    const int64_t rest = first + count - i;
    if (rest > 0)
      f(
          i, [rest](const T* p) { return Vec<T>::load(p, rest); },
          [rest](Vec<T> v, T* p) { v.store(p, rest); });
  });
}

template <class T>
inline void sgd_typed(const SgdCall& c) {
  T* param = static_cast<T*>(c.param);
  const T* grad = static_cast<const T*>(c.grad);
  T* buffer = static_cast<T*>(c.momentum_buffer);
  const Vec<T> step(-c.lr), decay(c.weight_decay), momentum(c.momentum), fresh(1 - c.dampening);
  sweep<T>(c.n, 4, [&](int64_t i, auto load, auto store) {
    const Vec<T> p = load(param + i);
    Vec<T> g = load(grad + i);
    if (c.maximize) g = -g;
    if (c.weight_decay != 0) g = fma(decay, p, g);
    if (buffer != nullptr) {
      const Vec<T> b = c.first ? g : fma(fresh, g, load(buffer + i) * momentum);
      store(b, buffer + i);
      g = c.nesterov ? fma(momentum, b, g) : b;
    }
    store(fma(step, g, p), param + i);
  });
}

template <class T>
inline void adam_typed(const AdamCall& c) {
  T* param = static_cast<T*>(c.param);
  const T* grad = static_cast<const T*>(c.grad);
  T* m = static_cast<T*>(c.exp_avg);
  T* v = static_cast<T*>(c.exp_avg_sq);
  T* top = static_cast<T*>(c.max_exp_avg_sq);
  const double correction1 = 1 - __builtin_pow(c.beta1, c.step);
  const double correction2 = 1 - __builtin_pow(c.beta2, c.step);
  const Vec<T> shrink(1 - c.lr * c.weight_decay), decay(c.weight_decay);
  const Vec<T> weight(1 - c.beta1), beta2(c.beta2), weight2(1 - c.beta2), eps(c.eps);
  const Vec<T> root2(__builtin_sqrt(correction2)), step(-(c.lr / correction1));
  const bool near_end = !(static_cast<T>(1 - c.beta1) < T(0.5));  // lerp works from the nearer end
  const Vec<T> back = weight - Vec<T>(1.0);
  sweep<T>(c.n, 10, [&](int64_t i, auto load, auto store) {
    Vec<T> p = load(param + i), g = load(grad + i);
    if (c.maximize) g = -g;
    if (c.weight_decay != 0) {
      if (c.decoupled)
        p = p * shrink;
      else
        g = fma(decay, p, g);
    }
    const Vec<T> m0 = load(m + i), way = g - m0;
    const Vec<T> m1 = near_end ? fma(back, way, g) : fma(weight, way, m0);
    store(m1, m + i);
    const Vec<T> v1 = fma(weight2 * g, g, load(v + i) * beta2);
    store(v1, v + i);
    Vec<T> spread = v1;
    if (top != nullptr) {
      spread = max(load(top + i), v1);
      store(spread, top + i);
    }
    const Vec<T> denominator = sqrt(spread) / root2 + eps;
    store(p + step * m1 / denominator, param + i);
  });
}

void sgd(const SgdCall& c) {
  if (c.dtype == DType::Float64)
    sgd_typed<double>(c);
  else
    sgd_typed<float>(c);
}
void adam(const AdamCall& c) {
  if (c.dtype == DType::Float64)
    adam_typed<double>(c);
  else
    adam_typed<float>(c);
}

}  // namespace
}  // namespace unspool
