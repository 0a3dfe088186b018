// SGD, Adam(W) and RMSprop updates in one sweep, each product and sum rounded where PyTorch's single-tensor
// implementations round. Internal linkage, see simd.h.
#pragma once

#include "unspool/kernels/parallel.h"
#include "unspool/kernels/table.h"

namespace unspool {
namespace {

// f(i, load, store): a step on a register's worth of elements from i on, fewer at the end.
template <class T, class F>
UNSPOOL_INLINE void sweep(int64_t first, int64_t count, const F& f) {
  constexpr int L = Vec<T>::kLanes;
  int64_t i = first;
  for (; i + L <= first + count; i += L)
    f(i, [](const T* p) { return Vec<T>::load(p); }, [](Vec<T> v, T* p) { v.store(p); });
  const int64_t rest = first + count - i;
  if (rest > 0)
    f(i, [rest](const T* p) { return Vec<T>::load(p, rest); }, [rest](Vec<T> v, T* p) { v.store(p, rest); });
}

// part(first, count) for all elements, of `work` each in 1/16 ns. What it calls is a function of its own,
// which keeps in registers what it reads of the call: the address of none of it is known elsewhere, as a
// closure's would be to threads.
template <class Call, class F>
UNSPOOL_INLINE void in_parts(const Call& c, int64_t work, const F& part) {
  if (c.rows == 1)
    return parallel_ranges(c.n, 1024, c.n * work / 16,
                           [&](int64_t first, int64_t count) { part(c.begin + first, count); });
  for (int64_t r = 0; r < c.rows; ++r)  // within a product, whose threads share its rows
    part(c.begin + r * c.apart, c.n);
}

// kPlain: a buffer that is not new, and neither decay, Nesterov's rule nor maximize. Few of the others would
// be told apart before the loop, for a store may change what `c` says for all that the compiler knows.
template <class T, bool kPlain>
inline void sgd_part(const SgdCall& c, int64_t begin, int64_t count) {
  T* param = static_cast<T*>(c.param);
  const T* grad = static_cast<const T*>(c.grad);
  T* buffer = static_cast<T*>(c.momentum_buffer);
  const Vec<T> step(-c.lr), decay(c.weight_decay), momentum(c.momentum), fresh(1 - c.dampening);
  const bool maximize = c.maximize, decays = c.weight_decay != 0, first = c.first, nesterov = c.nesterov;
  sweep<T>(begin, count, [&](int64_t i, auto load, auto store) UNSPOOL_LAMBDA {
    const Vec<T> p = load(param + i);
    Vec<T> g = load(grad + i);
    if constexpr (kPlain) {
      g = fma(fresh, g, load(buffer + i) * momentum);
      store(g, buffer + i);
    } else {
      if (maximize) g = -g;
      if (decays) g = fma(decay, p, g);
      if (buffer != nullptr) {
        const Vec<T> b = first ? g : fma(fresh, g, load(buffer + i) * momentum);
        store(b, buffer + i);
        g = nesterov ? fma(momentum, b, g) : b;
      }
    }
    store(fma(step, g, p), param + i);
  });
}

// from + weight (to - from), computed from the nearer end.
template <class T>
struct Lerp {
  Vec<T> weight, back;
  bool near_end;
  UNSPOOL_INLINE explicit Lerp(double w)
      : weight(w), back(weight - Vec<T>(1.0)), near_end(!(static_cast<T>(w) < T(0.5))) {}
  UNSPOOL_INLINE Vec<T> operator()(Vec<T> from, Vec<T> to) const {
    const Vec<T> way = to - from;
    return near_end ? fma(back, way, to) : fma(weight, way, from);
  }
};

// 1 - beta^step, of both averages.
struct AdamCorrections {
  double first, root_of_second;
  explicit AdamCorrections(const AdamCall& c)
      : first(1 - __builtin_pow(c.beta1, c.step)),
        root_of_second(__builtin_sqrt(1 - __builtin_pow(c.beta2, c.step))) {}
};

template <class T>
__attribute__((noinline)) inline void adam_part(const AdamCall& c, AdamCorrections correction, int64_t first,
                                                int64_t count) {
  T* param = static_cast<T*>(c.param);
  const T* grad = static_cast<const T*>(c.grad);
  T* m = static_cast<T*>(c.exp_avg);
  T* v = static_cast<T*>(c.exp_avg_sq);
  T* top = static_cast<T*>(c.max_exp_avg_sq);
  const Vec<T> shrink(1 - c.lr * c.weight_decay), decay(c.weight_decay);
  const Lerp<T> towards(1 - c.beta1);
  const Vec<T> beta2(c.beta2), weight2(1 - c.beta2), eps(c.eps);
  const Vec<T> root2(correction.root_of_second), step(-(c.lr / correction.first));
  const bool maximize = c.maximize, decays = c.weight_decay != 0, decoupled = c.decoupled;
  sweep<T>(first, count, [&](int64_t i, auto load, auto store) UNSPOOL_LAMBDA {
    Vec<T> p = load(param + i), g = load(grad + i);
    if (maximize) g = -g;
    if (decays) {
      if (decoupled)
        p = p * shrink;
      else
        g = fma(decay, p, g);
    }
    const Vec<T> m1 = towards(load(m + i), g);
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

template <class T>
__attribute__((noinline)) inline void rmsprop_part(const RmspropCall& c, int64_t first, int64_t count) {
  T* param = static_cast<T*>(c.param);
  const T* grad = static_cast<const T*>(c.grad);
  T* v = static_cast<T*>(c.square_avg);
  T* buffer = static_cast<T*>(c.momentum_buffer);
  T* mean = static_cast<T*>(c.grad_avg);
  const Vec<T> step(-c.lr), decay(c.weight_decay), momentum(c.momentum), eps(c.eps);
  const Vec<T> alpha(c.alpha), fresh(1 - c.alpha);
  const Lerp<T> towards(1 - c.alpha);
  const bool maximize = c.maximize, decays = c.weight_decay != 0;
  sweep<T>(first, count, [&](int64_t i, auto load, auto store) UNSPOOL_LAMBDA {
    const Vec<T> p = load(param + i);
    Vec<T> g = load(grad + i);
    if (maximize) g = -g;
    if (decays) g = fma(decay, p, g);
    const Vec<T> square = fma(fresh * g, g, load(v + i) * alpha);
    store(square, v + i);
    Vec<T> spread = square;
    if (mean != nullptr) {
      const Vec<T> m = towards(load(mean + i), g);
      store(m, mean + i);
      spread = fma(-m, m, square);
    }
    Vec<T> move = g / (sqrt(spread) + eps);
    if (buffer != nullptr) {
      move = load(buffer + i) * momentum + move;
      store(move, buffer + i);
    }
    store(fma(step, move, p), param + i);
  });
}

void sgd(const SgdCall& c) {
  const bool plain =
      c.momentum_buffer != nullptr && !c.first && c.weight_decay == 0 && !c.nesterov && !c.maximize;
  with_floating(c.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto part = plain ? sgd_part<T, true> : sgd_part<T, false>;
    in_parts(c, 4, [&](int64_t first, int64_t count) { part(c, first, count); });
  });
}
void adam(const AdamCall& c) {
  const AdamCorrections correction(c);
  with_floating(c.dtype, [&](auto zero) {
    in_parts(c, 10,
             [&](int64_t first, int64_t count) { adam_part<decltype(zero)>(c, correction, first, count); });
  });
}
void rmsprop(const RmspropCall& c) {
  with_floating(c.dtype, [&](auto zero) {
    in_parts(c, 10, [&](int64_t first, int64_t count) { rmsprop_part<decltype(zero)>(c, first, count); });
  });
}

}  // namespace
}  // namespace unspool
