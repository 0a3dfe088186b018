// Cross entropy fused with log_softmax, and the squared error. Internal linkage, see simd.h.
//
// For a row with target t, classes c, weights w and smoothing s (PyTorch's definition):
//   loss = (1 - s) · (-w[t] lp[t]) + (s / C) · Σ_c (-w[c] lp[c])
// and its gradient goes through log_softmax: d lp[c] - exp(lp[c]) Σ d lp.
#pragma once

#include "unspool/kernels/map.h"
#include "unspool/kernels/softmax.h"
#include "unspool/kernels/table.h"

namespace unspool {
namespace {

template <class T>
struct ClassWeight {
  const char* p = nullptr;
  int64_t stride = 0;
  UNSPOOL_INLINE explicit ClassWeight(const View* w) {
    if (w == nullptr) return;
    p = static_cast<const char*>(w->data);
    stride = w->strides.v[0] * static_cast<int64_t>(sizeof(T));
  }
  UNSPOOL_INLINE T operator[](int64_t c) const {
    return p != nullptr ? *reinterpret_cast<const T*>(p + c * stride) : T(1);
  }
};

// What the rows of one call share.
template <class T>
struct CrossEntropy {
  const CrossEntropyCall& call;
  int64_t classes;
  ClassWeight<T> w;
  T keep, share;
  UNSPOOL_INLINE CrossEntropy(const CrossEntropyCall& c, int64_t n)
      : call(c),
        classes(n),
        w(c.weight),
        keep(static_cast<T>(1 - c.label_smoothing)),
        share(static_cast<T>(c.label_smoothing / static_cast<double>(n))) {}

  // Rows are many and kernels three: what is inlined into each made the wheel a percent larger.
  __attribute__((noinline)) inline void row(int64_t r, const View& losses, const View& log_probs) const {
    const Row<T> lp = Row<T>::of(log_probs, r);
    T& loss = *(static_cast<T*>(losses.data) + r * losses.strides.v[0]);
    const int64_t t = call.target[r];
    loss = 0;
    if (t == call.ignore_index) return;
    loss = -(*reinterpret_cast<const T*>(lp.p + t * lp.stride)) * w[t];
    if (call.label_smoothing == 0) return;
    Sequence<SumOp<T>> sum;
    T buffer[kRowBlock];
    for_blocks(classes, [&](int64_t i, int64_t m) {
      for (int64_t c = 0; c < m; ++c)
        buffer[c] = -(*reinterpret_cast<const T*>(lp.p + (i + c) * lp.stride)) * w[i + c];
      sum.feed(buffer, m);
    });
    loss = loss * keep + static_cast<T>(sum.result()) * share;
  }

  __attribute__((noinline)) inline void backward_row(int64_t r, const View& grad, const View& log_probs,
                                                     const View& g) const {
    const Row<T> to = Row<T>::of(grad, r), lp = Row<T>::of(log_probs, r);
    const int64_t t = call.target[r];
    if (t == call.ignore_index) {
      for (int64_t c = 0; c < classes; ++c) *reinterpret_cast<T*>(to.p + c * to.stride) = 0;
      return;
    }
    const T own = at_target(r, g);
    if (call.label_smoothing == 0) {  // d lp has one number: its sum is that number
      const Vec<T> total = Vec<T>::all(own);
      auto without_target = [&](Vec<T> v) { return Vec<T>(0.0) - exp(v) * total; };
      if (is_short(lp, classes) && to.dense())
        ShortRow<T>(lp.p, classes, T(0)).map(without_target).store(to.p, classes);
      else
        for_blocks(classes, [&](int64_t i, int64_t m) {
          T buffer[kRowBlock], result[kRowBlock];
          const T* x = lp.read(i, m, buffer);
          T* y = to.write(i, result);
          vectors(y, m, without_target, x);
          to.commit(i, m, y);
        });
      T& d = *reinterpret_cast<T*>(to.p + t * to.stride);
      d = own + d;
      return;
    }
    const T everywhere = -(*(static_cast<const T*>(g.data) + r * g.strides.v[0]) * share);
    for (int64_t c = 0; c < classes; ++c) *reinterpret_cast<T*>(to.p + c * to.stride) = everywhere * w[c];
    *reinterpret_cast<T*>(to.p + t * to.stride) += own;
    log_softmax_backward_row(to, to, lp, classes);
  }
  // The gradients of a group's rows, of their log-probabilities column by column kRowGroup apart.
  __attribute__((noinline)) inline void backward_group(int64_t first, int64_t count, const View& grad,
                                                       const T* lp, const View& g) const {
    constexpr int64_t L = kRowGroup<T>;
    alignas(kVecBytes) T totals[L] = {}, to[kShort * L];
    for (int64_t l = 0; l < count; ++l)
      if (call.target[first + l] != call.ignore_index) totals[l] = at_target(first + l, g);
    const Vec<T> total = Vec<T>::load(totals);
    for (int64_t c = 0; c < classes; ++c)
      (Vec<T>(0.0) - exp(Vec<T>::load(lp + c * L)) * total).store(to + c * L);
    T* const rows = static_cast<T*>(grad.data) + first * grad.strides.v[0];
    pack_rows(rows, grad.strides.v[0], to, int64_t{1}, L, count, classes);
    for (int64_t l = 0; l < count; ++l) {
      T* const row = rows + l * grad.strides.v[0];
      const int64_t t = call.target[first + l];
      if (t != call.ignore_index)
        row[t] = totals[l] + row[t];
      else
        for (int64_t c = 0; c < classes; ++c) row[c] = 0;
    }
  }

 private:
  UNSPOOL_INLINE T at_target(int64_t r, const View& g) const {
    return -(*(static_cast<const T*>(g.data) + r * g.strides.v[0]) * keep) * w[call.target[r]];
  }
};

void cross_entropy(const View& losses, const View& log_probs, const View& logits,
                   const CrossEntropyCall& call) {
  with_floating(logits.dtype, [&](auto zero) {
    using T = decltype(zero);
    const CrossEntropy<T> rows(call, logits.shape.v[1]);
    each_group<T>(logits, [&](int64_t first, int64_t count) {
      alignas(kVecBytes) T columns[kRowColumns<T>];
      log_softmax_group<T>(log_probs, logits, first, count, columns);
      for (int64_t r = first; r < first + count; ++r) rows.row(r, losses, log_probs);
    });
  });
}
void cross_entropy_backward(const View& grad_logits, const View& log_probs, const View& g,
                            const CrossEntropyCall& call) {
  with_floating(grad_logits.dtype, [&](auto zero) {
    const CrossEntropy<decltype(zero)> rows(call, grad_logits.shape.v[1]);
    each_row(grad_logits, [&](int64_t r) { rows.backward_row(r, grad_logits, log_probs, g); });
  });
}
void cross_entropy_with_gradient(const View& losses, const View& log_probs, const View& logits,
                                 const View& grad_logits, const View& g, const CrossEntropyCall& call) {
  with_floating(logits.dtype, [&](auto zero) {
    using T = decltype(zero);
    const CrossEntropy<T> rows(call, logits.shape.v[1]);
    each_group<T>(logits, [&](int64_t first, int64_t count) {
      alignas(kVecBytes) T columns[kRowColumns<T>];
      const bool together = log_softmax_group<T>(log_probs, logits, first, count, columns) &&
                            call.label_smoothing == 0 && Row<T>::of(grad_logits, first).dense();
      if (together) rows.backward_group(first, count, grad_logits, columns, g);
      for (int64_t r = first; r < first + count; ++r) {
        rows.row(r, losses, log_probs);
        if (!together) rows.backward_row(r, grad_logits, log_probs, g);
      }
    });
  });
}

int64_t check_labels(const int64_t* t, int64_t n, int64_t classes, int64_t ignore_index) {
  for (int64_t i = 0; i < n; ++i)
    if ((t[i] < 0 || t[i] >= classes) && t[i] != ignore_index) return i;
  return -1;
}

struct SquaredError {
  static constexpr int kArity = 2;
  template <class T>
  UNSPOOL_INLINE Vec<T> operator()(Vec<T> a, Vec<T> b) const {
    const Vec<T> d = a - b;
    return d * d;
  }
};
struct SquaredErrorBackward {
  static constexpr int kArity = 3;
  double scale;
  template <class T>
  UNSPOOL_INLINE Vec<T> operator()(Vec<T> a, Vec<T> b, Vec<T> g) const {
    return (a - b) * scale * g;
  }
};

// Of n dense elements; also(i, m) is called for each block of them, while it is at hand.
template <class T, class F>
inline T dense_error_sum(const T* a, const T* b, int64_t n, const F& also) {
  return static_cast<T>(
      reduce_in_blocks<SumOp<T>>(n, [&](Sequence<SumOp<T>>& s, int64_t first, int64_t count) {
        for_blocks(count, [&](int64_t i, int64_t m) {
          T buffer[kGather];
          vectors(buffer, m, SquaredError{}, a + first + i, b + first + i);
          s.feed(buffer, m);
          also(first + i, m);
        });
      }));
}

// The sum of squares in reduce.h's order over the row-major sequence.
template <class T>
inline T squared_error_sum(const View& a, const View& b, int64_t& count) {
  Walk<2> w;
  start(w, {&a, &b});
  const SquaredError difference_squared;
  if (w.ndim == 1 && !w.empty && w.stride[0][0] == sizeof(T) && w.stride[0][1] == sizeof(T)) {
    count = w.size[0];
    return dense_error_sum(reinterpret_cast<const T*>(w.base[0]), reinterpret_cast<const T*>(w.base[1]),
                           count, [](int64_t, int64_t) {});
  }
  Sequence<SumOp<T>> sum;
  T buffer[kGather];
  int64_t held = 0;
  count = 0;
  w.outer([&](char* const* p) {
    const int64_t n = w.size[0], sa = w.stride[0][0], sb = w.stride[0][1];
    const bool dense = sa == sizeof(T) && sb == sizeof(T);
    count += n;
    for (int64_t i = 0; i < n;) {  // fill the buffer to the brim: pieces are whole but for the last
      const int64_t m = n - i < kGather - held ? n - i : kGather - held;
      if (dense) {
        vectors(buffer + held, m, difference_squared, reinterpret_cast<const T*>(p[0]) + i,
                reinterpret_cast<const T*>(p[1]) + i);
      } else {
        for (int64_t j = 0; j < m; ++j) {
          const T d = *reinterpret_cast<const T*>(p[0] + (i + j) * sa) -
                      *reinterpret_cast<const T*>(p[1] + (i + j) * sb);
          buffer[held + j] = d * d;
        }
      }
      i += m;
      held += m;
      if (held < kGather) continue;
      sum.feed(buffer, held);
      held = 0;
    }
  });
  if (held > 0) sum.feed(buffer, held);
  return static_cast<T>(sum.result());
}

void mse(const View& out, const View& a, const View& b, MseReduction reduction) {
  with_floating(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (reduction == MseReduction::None) {
      parallel_views<3>({&out, &a, &b}, ~0u, kMapWork, [](const View* const(&part)[3]) {
        map_views<SquaredError, T>(*part[0], {part[1], part[2]}, SquaredError{});
      });
      return;
    }
    int64_t count = 0;
    const T sum = squared_error_sum<T>(a, b, count);
    *static_cast<T*>(out.data) = reduction == MseReduction::Sum ? sum : sum / static_cast<T>(count);
  });
}

void mse_with_gradient(const View& out, const View& grad, const View& a, const View& b,
                       MseReduction reduction, double scale, const View& g) {
  with_floating(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *x = static_cast<const T*>(a.data), *y = static_cast<const T*>(b.data);
    T* const to = static_cast<T*>(grad.data);
    const Vec<T> upstream = Vec<T>::all(*static_cast<const T*>(g.data));
    const SquaredErrorBackward slope{2 * scale};
    const int64_t n = numel_of(a);
    const T sum = dense_error_sum(x, y, n, [&](int64_t i, int64_t m) {
      vectors(to + i, m, [&](Vec<T> p, Vec<T> q) { return slope(p, q, upstream); }, x + i, y + i);
    });
    *static_cast<T*>(out.data) = reduction == MseReduction::Sum ? sum : sum / static_cast<T>(n);
  });
}

void mse_backward(const View& out, const View& a, const View& b, double scale, const View& g) {
  with_floating(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_views<4>({&out, &a, &b, &g}, ~0u, kMapWork, [&](const View* const(&part)[4]) {
      map_views<SquaredErrorBackward, T>(*part[0], {part[1], part[2], part[3]},
                                         SquaredErrorBackward{2 * scale});
    });
  });
}

}  // namespace
}  // namespace unspool
