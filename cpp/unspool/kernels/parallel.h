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

// f(chunk) for each chunk: here, or on several threads. These have a copy: what f holds may stay in registers
// where its own address is nobody's business.
template <class F>
UNSPOOL_INLINE void parallel(int64_t chunks, int64_t work, const F& f) {
  if (!worth_sharing(work)) {
    for (int64_t c = 0; c < chunks; ++c) f(c);
    return;
  }
  const F shared(f);
  run_chunks(
      chunks, work, [](const void* context, int64_t c) { (*static_cast<const F*>(context))(c); }, &shared);
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

// The part [first, first + count) of a dim. Copied as bytes: View's copy constructor is an inline function
// of the whole program, and must not be compiled here.
UNSPOOL_INLINE void set_part(View& part, const View& v, int dim, int64_t first, int64_t count) {
  __builtin_memcpy(static_cast<void*>(&part), &v, sizeof part);
  part.data = static_cast<char*>(v.data) + first * v.strides.v[dim] * bytes_of(v.dtype);
  part.shape.v[dim] = count;
}

// Along which of the dims in a set to cut: the first that is long enough for many threads, or the longest.
inline int dim_to_cut(const Shape& shape, uint32_t dims) {
  int dim = -1;
  for (int d = 0; d < shape.ndim; ++d) {
    if (((dims >> d) & 1) == 0 || (dim >= 0 && shape.v[d] <= shape.v[dim])) continue;
    dim = d;
    if (shape.v[d] >= 64) break;
  }
  return dim;
}

// f(first, count) for parts of a dim. The last is cut at multiples of a cache line's worth of elements,
// so that threads do not write one line.
template <class F>
UNSPOOL_INLINE void parallel_cuts(const Shape& shape, int dim, int64_t work, const F& f) {
  parallel_ranges(shape.v[dim], dim == shape.ndim - 1 ? 64 : 1, work, f);
}

// f(pointers to views) on parts of views of one shape. `dims` is the set of dims that may be cut,
// `item_work` the work an element of views[0] in 1/16 of a nanosecond.
template <int N, class F>
inline void parallel_views(const View* const (&views)[N], uint32_t dims, int64_t item_work, const F& f) {
  const int64_t work = numel_of(*views[0]) * item_work / 16;
  const int dim = worth_sharing(work) ? dim_to_cut(views[0]->shape, dims) : -1;
  if (dim < 0) return f(views);
  parallel_cuts(views[0]->shape, dim, work, [&](int64_t first, int64_t count) {
    View part[N];
    const View* parts[N];
    for (int j = 0; j < N; ++j) {
      set_part(part[j], *views[j], dim, first, count);
      parts[j] = &part[j];
    }
    f(parts);
  });
}

}  // namespace
}  // namespace unspool
