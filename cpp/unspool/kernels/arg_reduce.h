// Where along a dim the extreme stands, and its value. Part of the reductions; internal linkage, simd.h.
#pragma once

#include "unspool/kernels/reduce.h"

namespace unspool {
namespace {

template <bool kMax, class L>
UNSPOOL_INLINE bool beats(L x, L best) {  // strictly: so the first of equals stays; NaN beats numbers
  return (kMax ? x > best : x < best) || (x != x && best == best);
}

// A contiguous row: the value by registers, then its first place.
template <class T, bool kMax>
inline int64_t extreme_in_row(const lane_t<T>* x, int64_t n) {
  int64_t at = 0;
  if (n < 2 * kLanes) {
    for (int64_t i = 1; i < n; ++i)
      if (beats<kMax>(x[i], x[at])) at = i;
    return at;
  }
  using Op = ExtremeOp<T, kMax>;
  Sequence<Op> s;
  s.feed(x, n);
  const lane_t<T> best = Op::finish(s.result());
  if (best != best) {
    while (x[at] == x[at]) ++at;
  } else {
    while (x[at] != best) ++at;
  }
  return at;
}

template <class T, bool kMax>
inline void extreme_along(const View* values, const View& indices, const View& in, int dim) {
  using L = lane_t<T>;
  constexpr int64_t kItem = sizeof(L), kBlock = 64;
  Walk<3> kept;  // in, indices, values
  for (int d = in.shape.ndim - 1; d >= 0; --d)
    if (d != dim)
      kept.add_dim(in.shape.v[d], {in.strides.v[d] * kItem, indices.strides.v[d] * 8,
                                   values != nullptr ? values->strides.v[d] * kItem : 0});
  kept.finish();
  kept.base[0] = static_cast<char*>(in.data);
  kept.base[1] = static_cast<char*>(indices.data);
  kept.base[2] = values != nullptr ? static_cast<char*>(values->data) : nullptr;
  const int64_t n = in.shape.ndim == 0 ? 1 : in.shape.v[dim];
  const int64_t step = in.shape.ndim == 0 ? 0 : in.strides.v[dim] * kItem;
  if (step == kItem) {
    kept.outer(
        [&](char* const* p) {
          const L* x = reinterpret_cast<const L*>(p[0]);
          const int64_t at = extreme_in_row<T, kMax>(x, n);
          *reinterpret_cast<int64_t*>(p[1]) = at;
          if (p[2] != nullptr) *reinterpret_cast<L*>(p[2]) = x[at];
        },
        0);
    return;
  }
  const int64_t columns = kept.size[0], column = kept.stride[0][0];
  kept.outer([&](char* const* p) {
    for (int64_t start = 0; start < columns; start += kBlock) {
      const int64_t width = columns - start < kBlock ? columns - start : kBlock;
      L best[kBlock];
      int64_t at[kBlock];
      const char* from = p[0] + start * column;
      for (int64_t j = 0; j < width; ++j) {
        best[j] = *reinterpret_cast<const L*>(from + j * column);
        at[j] = 0;
      }
      for (int64_t i = 1; i < n; ++i) {
        const char* row = from + i * step;
        for (int64_t j = 0; j < width; ++j) {
          const L x = *reinterpret_cast<const L*>(row + j * column);
          const bool better = beats<kMax>(x, best[j]);
          best[j] = better ? x : best[j];
          at[j] = better ? i : at[j];
        }
      }
      for (int64_t j = 0; j < width; ++j) {
        *reinterpret_cast<int64_t*>(p[1] + (start + j) * kept.stride[0][1]) = at[j];
        if (p[2] != nullptr) *reinterpret_cast<L*>(p[2] + (start + j) * kept.stride[0][2]) = best[j];
      }
    }
  });
}

template <bool kMax>
inline void extreme(const View* values, const View& indices, const View& in, int dim) {
  with_own_dtype(in.dtype, [&](auto zero) {
    using T = decltype(zero);
    const View* const views[3] = {&in, &indices, values != nullptr ? values : &indices};
    parallel_views<3>(views, ~(1u << dim), 2 * kReduceWork, [&](const View* const(&part)[3]) {
      extreme_along<T, kMax>(values != nullptr ? part[2] : nullptr, *part[1], *part[0], dim);
    });
  });
}
void argmax(const View& out, const View& in, int dim) {
  UNSPOOL_WHOLE_NUMBERS_ELSEWHERE(in.dtype, argmax(out, in, dim))
  extreme<true>(nullptr, out, in, dim);
}
void argmin(const View& out, const View& in, int dim) {
  UNSPOOL_WHOLE_NUMBERS_ELSEWHERE(in.dtype, argmin(out, in, dim))
  extreme<false>(nullptr, out, in, dim);
}
void max_dim(const View& values, const View& indices, const View& in, int dim) {
  UNSPOOL_WHOLE_NUMBERS_ELSEWHERE(in.dtype, max_dim(values, indices, in, dim))
  extreme<true>(&values, indices, in, dim);
}
void min_dim(const View& values, const View& indices, const View& in, int dim) {
  UNSPOOL_WHOLE_NUMBERS_ELSEWHERE(in.dtype, min_dim(values, indices, in, dim))
  extreme<false>(&values, indices, in, dim);
}

}  // namespace
}  // namespace unspool
