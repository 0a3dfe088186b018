// How kernels share their work among threads. Start at parallel(); parallel_views() cuts Views.
//
// Cuts depend on shapes alone, and what a chunk computes does not depend on where the cuts are, or
// (reductions) the cuts are those of the serial order. Internal linkage, see simd.h.
#pragma once

#include "unspool/base/pool.h"
#include "unspool/kernels/loops.h"

namespace unspool {
namespace {

// Whether work (about nanoseconds of one core) is worth telling other threads of.
UNSPOOL_INLINE bool worth_sharing(int64_t work) {
  return __builtin_expect(work >= __atomic_load_n(&parallel_threshold, __ATOMIC_RELAXED), 0);
}

// f(chunk) for each chunk: here, or on several threads.
template <class F>
UNSPOOL_INLINE void parallel(int64_t chunks, int64_t work, const F& f) {
  if (!worth_sharing(work)) {
    for (int64_t c = 0; c < chunks; ++c) f(c);
    return;
  }
  run_chunks(chunks, work, [](const void* context, int64_t c) { (*static_cast<const F*>(context))(c); }, &f);
}

UNSPOOL_INLINE int64_t numel_of(const View& v) {
  int64_t n = 1;
  for (int d = 0; d < v.shape.ndim; ++d) n *= v.shape.v[d];
  return n;
}

// f(first, count) for pieces of [0, n), each a multiple of `grain` but for the last. About 64 pieces of
// a large n: enough for threads that start late, few enough to be cheap.
template <class F>
UNSPOOL_INLINE void parallel_ranges(int64_t n, int64_t grain, int64_t work, const F& f) {
  if (n == 0 || !worth_sharing(work)) return f(int64_t{0}, n);
  constexpr int64_t kPieces = 64;
  const int64_t grains = (n + grain - 1) / grain;
  const int64_t step = (grains + kPieces - 1) / kPieces * grain;
  parallel((n + step - 1) / step, work, [&](int64_t c) {
    const int64_t first = c * step;
    f(first, n - first < step ? n - first : step);
  });
}

// The part [first, first + count) of a dim.
UNSPOOL_INLINE View part_of(View v, int dim, int64_t first, int64_t count) {
  v.data = static_cast<char*>(v.data) + first * v.strides.v[dim] * bytes_of(v.dtype);
  v.shape.v[dim] = count;
  return v;
}

// f(views) on parts of views of one shape, cut along one dim: the first that is long enough for many
// threads, or the longest. `dims` is the set of dims that may be cut, `item_work` the work an element
// of views[0] in 1/16 of a nanosecond.
template <int N, class F>
inline void parallel_views(const View (&views)[N], uint32_t dims, int64_t item_work, const F& f) {
  const Shape& shape = views[0].shape;
  const int64_t n = numel_of(views[0]), work = n * item_work / 16;
  int dim = -1;
  if (worth_sharing(work))
    for (int d = 0; d < shape.ndim; ++d) {
      if (((dims >> d) & 1) == 0 || (dim >= 0 && shape.v[d] <= shape.v[dim])) continue;
      dim = d;
      if (shape.v[d] >= 64) break;
    }
  if (dim < 0 || n == 0) return f(views);
  // The last dim is cut at multiples of a cache line's worth, so that threads do not share lines.
  parallel_ranges(shape.v[dim], dim == shape.ndim - 1 ? 64 : 1, work, [&](int64_t first, int64_t count) {
    View part[N];
    for (int j = 0; j < N; ++j) part[j] = part_of(views[j], dim, first, count);
    f(part);
  });
}

}  // namespace
}  // namespace unspool
