// The sums of A's rows, which a layer's bias gradient is, beside the product that its weight's is. Start at
// sum_rows().
#pragma once

#include "unspool/kernels/gemm_pack.h"
#include "unspool/kernels/reduce.h"

namespace unspool {
namespace {

// Two vectors: of one, half of the time goes to counting rows.
template <class T>
struct ColumnSums {
  static constexpr int kVecs = 2, kWidth = kVecs * Vec<typename SumOp<T>::Acc>::kLanes;
  Vec<typename SumOp<T>::Acc> v[kVecs];

  UNSPOOL_INLINE explicit ColumnSums(const T* row) {
    for (int i = 0; i < kVecs; ++i) v[i] = SumOp<T>::lift(row + i * (kWidth / kVecs));
  }
  UNSPOOL_INLINE void join(const ColumnSums& o) {
    for (int i = 0; i < kVecs; ++i) v[i] = SumOp<T>::join(v[i], o.v[i]);
  }
};

// The first columns' lane l and those that are joined with it by halves from kHalf on, of `count` rows a
// `step` apart, a chunk's at most: what reduce.h makes of its lanes, without storing them.
template <class T, int kHalf>
UNSPOOL_INLINE ColumnSums<T> joined_lanes(const T* rows, int64_t step, int64_t count, int64_t l) {
  if constexpr (kHalf == kLanes) {
    ColumnSums<T> sum(rows + l * step);
    for (l += kLanes; l < count; l += kLanes) sum.join(ColumnSums<T>(rows + l * step));
    return sum;
  } else {
    ColumnSums<T> own = joined_lanes<T, 2 * kHalf>(rows, step, count, l);
    if (l + kHalf < count) own.join(joined_lanes<T, 2 * kHalf>(rows, step, count, l + kHalf));
    return own;
  }
}

// A as its rows' sums are taken.
template <class T>
struct Summed {
  int64_t m, k;
  const T* a;
  int64_t a_row, a_col;
  T* sums;
};

// Columns of A to sum at once, and so many numbers of an A that has fewer rows.
template <class T>
constexpr int64_t kSummedRows = ColumnSums<T>::kWidth;
constexpr int64_t kSummedNarrow = 2048;

// Whether the rows are few and near each other: a vector of sums looks at all of them before the next one
// does.
template <class T>
UNSPOOL_INLINE bool sums_are_short(const Summed<T>& p) {
  constexpr int64_t kNear = 96 * 1024;
  if (p.a_row != 1 || p.k > kChunk) return false;
  if (p.m < kSummedRows<T>) return p.m * p.k <= kSummedNarrow;
  return p.k <= kLanes || p.k * p.a_col * static_cast<int64_t>(sizeof(T)) <= kNear;
}

// So many columns at once; the last of more overlap those before. Fewer are read with what follows them, in a
// copy after whose end there is something to read.
template <class T>
inline void sum_short(const Summed<T>& p) {
  constexpr int64_t kWidth = kSummedRows<T>, W = kWidth / ColumnSums<T>::kVecs;
  auto put_sums = [&](const T* rows, int64_t step, int64_t i, int64_t columns) {
    const ColumnSums<T> sums = joined_lanes<T, 1>(rows, step, p.k, 0);
    // The lanes' identity, added once: it matters to a sum of nothing but -0.
    for (int v = 0; v < ColumnSums<T>::kVecs; ++v) {
      typedef T Sums __attribute__((vector_size(W * sizeof(T))));
      const auto sum = sums.v[v] + Vec<typename SumOp<T>::Acc>::all(SumOp<T>::identity());
      const Sums done = __builtin_convertvector(sum.v, Sums);
      T* const to = p.sums + i + v * W;
      if (columns >= (v + 1) * W)
        __builtin_memcpy(to, &done, sizeof done);
      else
        for (int64_t l = 0; v * W + l < columns; ++l) to[l] = done[l];
    }
  };
  if (p.m >= kWidth) {
    for (int64_t i = 0; i < p.m; i += kWidth) {
      const int64_t first = smaller(i, p.m - kWidth);
      put_sums(p.a + first, p.a_col, first, kWidth);
    }
    return;
  }
  alignas(kVecBytes) T rows[kSummedNarrow + kWidth];
  const bool dense = p.a_col == p.m;
  pack_rows(rows, dense ? p.m * p.k : p.m, p.a, p.a_col, int64_t{1}, dense ? 1 : p.k,
            dense ? p.m * p.k : p.m);
  for (int64_t i = 0; i < kWidth; ++i) rows[p.m * p.k + i] = 0;
  put_sums(rows, p.m, 0, p.m);
}

// The sums over k of A's rows, in the order of reduce.h.
template <class T>
inline void sum_rows(const Summed<T>& p) {
  if (sums_are_short(p)) return sum_short(p);
  parallel((p.m + kColumnBlock - 1) / kColumnBlock, p.m * p.k * kReduceWork / 16, [&](int64_t c) {
    const int64_t i = c * kColumnBlock, rows = smaller(kColumnBlock, p.m - i);
    int64_t at = 0;
    T line[kColumnBlock];
    typename SumOp<T>::Acc sums[kColumnBlock];
    auto next = [&]() -> const T* {
      const T* a = p.a + i * p.a_row + at * p.a_col;
      ++at;
      if (p.a_row == 1) return a;
      for (int64_t r = 0; r < rows; ++r) line[r] = a[r * p.a_row];
      return line;
    };
    reduce_columns<SumOp<T>>(next, p.k, rows, sums);
    for (int64_t r = 0; r < rows; ++r) p.sums[i + r] = SumOp<T>::finish(sums[r]);
  });
}

}  // namespace
}  // namespace unspool
