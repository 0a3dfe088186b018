// How the GEMM's operands are brought into panels: contiguous for the tiles, perhaps transposed.
#pragma once

#include "unspool/kernels/relu.h"

namespace unspool {
namespace {

UNSPOOL_INLINE int64_t round_up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }
constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Asks for the cache lines of n elements: they may lie outside of the matrix, a prefetch does not fault.
template <class T>
UNSPOOL_INLINE void prefetch_line(const T* p, int64_t n) {
  for (int64_t i = 0; i < n; i += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(p + i);
}

// Up to nine lines by threes: a pointer and an index of one or two strides each, which loads and stores
// encode. Of eight strides the compiler would keep each in memory.
template <class T>
struct Lines {
  T* by_three[3];
  int64_t row;
  UNSPOOL_INLINE Lines(T* first, int64_t step)
      : by_three{first, first + 3 * step, first + 6 * step}, row(step) {}
  UNSPOOL_INLINE T* operator[](int q) const { return by_three[q / 3] + q % 3 * row; }
};

// G lines of G elements, transposed in registers: to[i][j] = from[j][i].
template <class T>
UNSPOOL_INLINE void transpose_4(T* to, int64_t to_row, const T* from, int64_t from_row) {
  typedef T Quad __attribute__((vector_size(4 * sizeof(T))));
  Quad x[4];
  for (int q = 0; q < 4; ++q) __builtin_memcpy(&x[q], from + q * from_row, sizeof(Quad));
  const Quad u0 = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5);
  const Quad u1 = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7);
  const Quad u2 = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5);
  const Quad u3 = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
  const Quad y[4] = {__builtin_shufflevector(u0, u2, 0, 1, 4, 5), __builtin_shufflevector(u0, u2, 2, 3, 6, 7),
                     __builtin_shufflevector(u1, u3, 0, 1, 4, 5),
                     __builtin_shufflevector(u1, u3, 2, 3, 6, 7)};
  for (int q = 0; q < 4; ++q) __builtin_memcpy(to + q * to_row, &y[q], sizeof(Quad));
}
#if defined(__AVX512F__)
// Two lines in a register, which then take half as many shuffles: the one port that Intel's processors have
// for them is what a square of numbers in the first cache waits for. (GCC 12 calls what the unmasked
// intrinsics pass on uninitialised.)
template <>
UNSPOOL_INLINE void transpose_4<double>(double* to, int64_t to_row, const double* from, int64_t from_row) {
  const Lines<const double> in(from, from_row);
  const Lines<double> out(to, to_row);
  __m512d x[2];
  for (int q = 0; q < 2; ++q)
    x[q] = _mm512_maskz_insertf64x4(0xff, _mm512_castpd256_pd512(_mm256_loadu_pd(in[q])),
                                    _mm256_loadu_pd(in[q + 2]), 1);
  for (int q = 0; q < 2; ++q) {
    // Columns q and q + 2 of the upper two lines, then of the lower two.
    const __m512d z =
        q == 0 ? _mm512_maskz_unpacklo_pd(0xff, x[0], x[1]) : _mm512_maskz_unpackhi_pd(0xff, x[0], x[1]);
    const __m512d y = _mm512_maskz_shuffle_f64x2(0xff, z, z, 0xd8);
    _mm256_storeu_pd(out[q], _mm512_maskz_extractf64x4_pd(0xf, y, 0));
    _mm256_storeu_pd(out[q + 2], _mm512_maskz_extractf64x4_pd(0xf, y, 1));
  }
}
UNSPOOL_INLINE void transpose_8(float* to, int64_t to_row, const float* from, int64_t from_row) {
  const Lines<const float> in(from, from_row);
  const Lines<float> out(to, to_row);
  __m512 x[4];
  for (int q = 0; q < 4; ++q)
    x[q] = _mm512_maskz_insertf32x8(0xffff, _mm512_castps256_ps512(_mm256_loadu_ps(in[q])),
                                    _mm256_loadu_ps(in[q + 4]), 1);
  for (int h = 0; h < 2; ++h) {
    const auto pairs = [&](int q) UNSPOOL_LAMBDA {
      return (__m512d)(h == 0 ? _mm512_maskz_unpacklo_ps(0xffff, x[q], x[q + 1])
                              : _mm512_maskz_unpackhi_ps(0xffff, x[q], x[q + 1]));
    };
    const __m512d a = pairs(0), b = pairs(2);
    for (int q = 0; q < 2; ++q) {
      // Columns 2h + q and 2h + q + 4 of the upper four lines, then of the lower four.
      const __m512d z = q == 0 ? _mm512_maskz_unpacklo_pd(0xff, a, b) : _mm512_maskz_unpackhi_pd(0xff, a, b);
      const __m512d y = _mm512_maskz_shuffle_f64x2(0xff, z, z, 0xd8);
      _mm256_storeu_ps(out[2 * h + q], (__m256)_mm512_maskz_extractf64x4_pd(0xf, y, 0));
      _mm256_storeu_ps(out[2 * h + q + 4], (__m256)_mm512_maskz_extractf64x4_pd(0xf, y, 1));
    }
  }
}
#elif defined(__AVX2__)
// Four doubles are two halves, and GCC 12 makes of the shuffles above three times as many instructions.
template <>
UNSPOOL_INLINE void transpose_4<double>(double* to, int64_t to_row, const double* from, int64_t from_row) {
  __m256d x[4];
  for (int q = 0; q < 4; ++q) x[q] = _mm256_loadu_pd(from + q * from_row);
  const __m256d u0 = _mm256_unpacklo_pd(x[0], x[1]), u1 = _mm256_unpackhi_pd(x[0], x[1]);
  const __m256d u2 = _mm256_unpacklo_pd(x[2], x[3]), u3 = _mm256_unpackhi_pd(x[2], x[3]);
  _mm256_storeu_pd(to, _mm256_permute2f128_pd(u0, u2, 0x20));
  _mm256_storeu_pd(to + to_row, _mm256_permute2f128_pd(u1, u3, 0x20));
  _mm256_storeu_pd(to + 2 * to_row, _mm256_permute2f128_pd(u0, u2, 0x31));
  _mm256_storeu_pd(to + 3 * to_row, _mm256_permute2f128_pd(u1, u3, 0x31));
}
UNSPOOL_INLINE void transpose_8(float* to, int64_t to_row, const float* from, int64_t from_row) {
  const Lines<const float> in(from, from_row);
  const Lines<float> out(to, to_row);
  __m256 x[8], u[8], v[8];
  for (int q = 0; q < 8; ++q) x[q] = _mm256_loadu_ps(in[q]);
  for (int q = 0; q < 8; q += 2) {
    u[q] = _mm256_unpacklo_ps(x[q], x[q + 1]);
    u[q + 1] = _mm256_unpackhi_ps(x[q], x[q + 1]);
  }
  for (int q = 0; q < 8; q += 4)
    for (int h = 0; h < 2; ++h) {
      const __m256d a = (__m256d)u[q + h], b = (__m256d)u[q + h + 2];
      v[q + 2 * h] = (__m256)_mm256_unpacklo_pd(a, b);
      v[q + 2 * h + 1] = (__m256)_mm256_unpackhi_pd(a, b);
    }
  for (int q = 0; q < 4; ++q) {
    _mm256_storeu_ps(out[q], _mm256_permute2f128_ps(v[q], v[q + 4], 0x20));
    _mm256_storeu_ps(out[q + 4], _mm256_permute2f128_ps(v[q], v[q + 4], 0x31));
  }
}
#endif

template <int G, class T>
UNSPOOL_INLINE void transpose_square(T* to, int64_t to_row, const T* from, int64_t from_row) {
#if defined(__AVX2__)
  if constexpr (G == 8) return transpose_8(to, to_row, from, from_row);
#endif
  transpose_4(to, to_row, from, from_row);
}

constexpr int64_t kSmallK = 128;  // steps of a panel that stays in the first cache: 24 KiB

// columns × rows to rows × columns, neither below G, by squares of G: the last of a side overlaps the one
// before. Column by column, over so few rows that what is written of them stays in the first cache.
template <int G, class T>
inline void transpose_by(T* to, int64_t width, const T* b, int64_t b_col, int64_t rows, int64_t columns) {
  for (int64_t p = 0; p < rows; p += kSmallK) {
    const int64_t first = smaller(p, rows - G), last = smaller(p + kSmallK, rows) - G;
    for (int64_t j = 0; j < columns; j += G) {
      const int64_t column = smaller(j, columns - G);
      const T* const s = b + column * b_col;
      T* const t = to + column;
      for (int64_t q = first; q < last; q += G) transpose_square<G>(t + q * width, width, s + q, b_col);
      transpose_square<G>(t + last * width, width, s + last, b_col);
    }
  }
}

// rows × columns of B to contiguous rows of `width` elements. Tiles do not read what is after the columns.
template <class T>
inline void pack_rows(T* to, int64_t width, const T* b, int64_t b_row, int64_t b_col, int64_t rows,
                      int64_t columns) {
  constexpr int L = Vec<T>::kLanes;
  constexpr int64_t kRowsAhead = 8;
  if (b_col == 1) {
    // Whole vectors as long as neither the end of B nor that of the panel is near: what they store too much
    // is overwritten by the next row.
    const int64_t vectors = round_up(columns, L), too_much = vectors - columns;
    const int64_t to_end = (vectors + width - 1) / width;
    const int64_t whole = too_much == 0 ? rows : b_row >= too_much ? rows - (to_end > 1 ? to_end - 1 : 1) : 0;
    int64_t p = 0;
    for (; p < whole; ++p, to += width, b += b_row) {
      prefetch_line(b + kRowsAhead * b_row, columns);
      for (int64_t j = 0; j < columns; j += L) Vec<T>::load(b + j).store(to + j);
    }
    for (; p < rows; ++p, to += width, b += b_row) {
      int64_t j = 0;
      for (; j + L <= columns; j += L) Vec<T>::load(b + j).store(to + j);
      if (j < columns) Vec<T>::load(b + j, columns - j).store(to + j, columns - j);
    }
    return;
  }
#if defined(__AVX2__)
  if constexpr (sizeof(T) == 4)
    if (b_row == 1 && rows >= 8 && columns >= 8) return transpose_by<8>(to, width, b, b_col, rows, columns);
#endif
  if (b_row == 1 && rows >= 4 && columns >= 4) return transpose_by<4>(to, width, b, b_col, rows, columns);
  for (int64_t p = 0; p < rows; ++p, to += width, b += b_row)
    for (int64_t j = 0; j < columns; ++j) to[j] = b[j * b_col];
}

// rows × kPanels·kWidth, whose rows are contiguous, to as many panels of rows × kWidth one after the other.
template <int64_t kPanels, int64_t kWidth, class T>
inline void pack_side_by_side(T* to, const T* b, int64_t b_row, int64_t rows) {
  constexpr int64_t kRowsAhead = 8;
  for (int64_t p = 0; p < rows; ++p, to += kWidth, b += b_row) {
    prefetch_line(b + kRowsAhead * b_row, kPanels * kWidth);
    for (int64_t q = 0; q < kPanels; ++q)
      __builtin_memcpy(to + q * kWidth * rows, b + q * kWidth, kWidth * sizeof(T));
  }
}

}  // namespace
}  // namespace unspool
