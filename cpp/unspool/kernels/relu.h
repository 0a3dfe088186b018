// ReLU and its gradient, with the kink's side kept as one bit an element. Internal linkage, see simd.h.
#pragma once

#include "unspool/kernels/rows.h"

namespace unspool {
namespace {

// Not x <= 0: -0 stays -0, as PyTorch's clamp does. NaN is not below 0 and passes. The instruction gives its
// second operand where neither is greater: it costs half of a comparison and a choice.
template <class T>
UNSPOOL_INLINE Vec<T> relu_of(Vec<T> x) {
#if defined(__AVX512F__)
  if constexpr (kSame<T, float>) return Vec<T>(_mm512_maskz_max_ps(0xffff, __m512{}, x.v));
  if constexpr (kSame<T, double>) return Vec<T>(_mm512_maskz_max_pd(0xff, __m512d{}, x.v));
#elif defined(__AVX2__)
  if constexpr (kSame<T, float>) return Vec<T>(_mm256_max_ps(__m256{}, x.v));
  if constexpr (kSame<T, double>) return Vec<T>(_mm256_max_pd(__m256d{}, x.v));
#endif
  return where(x < Vec<T>(0.0), Vec<T>(0.0), x);
}

// One bit a lane: whether a gradient passes. Of a comparison as vectors GCC 12 makes a mask three times over.
template <class T>
UNSPOOL_INLINE uint64_t passing(Vec<T> x) {
#if defined(__AVX512F__)
  if constexpr (kSame<T, float>) return _mm512_cmp_ps_mask(x.v, __m512{}, _CMP_NLE_UQ);
  if constexpr (kSame<T, double>) return _mm512_cmp_pd_mask(x.v, __m512d{}, _CMP_NLE_UQ);
#endif
  return to_bits(!(x <= Vec<T>(0.0)));
}

// 0 in the lanes whose bits are clear; bits above the lanes are ignored.
template <class T>
UNSPOOL_INLINE Vec<T> passed(uint64_t bits, Vec<T> g) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return Vec<T>((typename Vec<T>::Raw)_mm512_maskz_mov_epi32(static_cast<__mmask16>(bits), (__m512i)g.v));
  else
    return Vec<T>((typename Vec<T>::Raw)_mm512_maskz_mov_epi64(static_cast<__mmask8>(bits), (__m512i)g.v));
#else
  return where(from_bits_mask<T>(bits), g, Vec<T>(0.0));
#endif
}

// n elements of one row, in blocks that are multiples of 64 but for the last.
template <class T>
inline void relu_block(T* y, const T* x, int64_t n, uint64_t* mask) {
  constexpr int L = Vec<T>::kLanes;
  auto f = [](Vec<T> v) { return relu_of(v); };
  if (mask == nullptr) return vectors(y, n, f, x);
  int64_t i = 0;
  for (int64_t word = 0; i < n; ++word) {
    uint64_t bits = 0;
    const int64_t end = n - i < 64 ? n : i + 64;
    for (int at = 0; i < end; at += L, i += L) {
      const bool whole = i + L <= end;
      const Vec<T> v = whole ? Vec<T>::load(x + i) : Vec<T>::load(x + i, end - i);
      bits |= passing(v) << at;  // lanes past the end hold 0: their bits are 0
      if (whole)
        f(v).store(y + i);
      else
        f(v).store(y + i, end - i);
    }
    mask[word] = bits;
    i = end;
  }
}

// 64 elements and their bits: without registers of bits, as many as an element has are broadcast at once.
template <class T>
UNSPOOL_INLINE void copy_masked_64(T* to, const T* from, uint64_t bits) {
  constexpr int L = Vec<T>::kLanes;
#if defined(__AVX512F__)
  for (int at = 0; at < 64; at += L) passed(bits >> at, Vec<T>::load(from + at)).store(to + at);
#else
  constexpr int kBits = 8 * static_cast<int>(sizeof(T));
  using Raw = typename Mask<T>::Raw;
  using I = __typeof__(Raw{}[0]);
  const Raw first = (I(1) - Raw{}) << lane_numbers<T>();
  const Vec<T> zero(0.0);
  for (int at = 0; at < 64; at += kBits) {
    const Raw word = static_cast<I>(bits >> at) - Raw{};
    for (int j = 0; j < kBits; j += L) {
      const Raw own = first << j;
      where(Mask<T>{(word & own) == own}, Vec<T>::load(from + at + j), zero).store(to + at + j);
    }
  }
#endif
}

// n elements of a row; 0 where their bits are clear. `more`: a vector's worth follows both, and those that
// one takes along are copied as they are. What is stored by parts or by a mask cannot be read again at once.
template <class T>
UNSPOOL_INLINE void copy_masked(T* to, const T* from, const uint64_t* mask, int64_t n, bool more) {
  constexpr int L = Vec<T>::kLanes;
  for (int64_t i = 0; i < n; i += 64) {
    uint64_t bits = *mask++;
    const int64_t count = n - i < 64 ? n - i : 64;
    if (count == 64) {
      copy_masked_64(to + i, from + i, bits);
      continue;
    }
    int64_t j = 0;
    for (; j + L <= count; j += L, bits >>= L) passed(bits, Vec<T>::load(from + i + j)).store(to + i + j);
    if (j == count) return;
    if (more)
      passed(bits | ~uint64_t{0} << (count - j), Vec<T>::load(from + i + j)).store(to + i + j);
    else
      passed(bits, Vec<T>::load(from + i + j, count - j)).store(to + i + j, count - j);
  }
}

// Rows of n elements side by side, so many elements in all.
template <class T>
__attribute__((noinline)) inline void copy_masked_rows(T* to, const T* from, const uint64_t* mask,
                                                       int64_t all, int64_t n) {
  for (int64_t left = all; left > 0; mask += (n + 63) / 64, to += n, from += n) {
    left -= n;
    copy_masked(to, from, mask, n, left >= Vec<T>::kLanes);
  }
}

// f(out row, in row, elements, row number) for the rows of the leading dims, in row-major order. Rows
// are long where no mask needs their borders.
template <class T, class F>
inline void relu_rows(const View& out, const View& in, bool borders, const F& f) {
  constexpr int64_t kItem = sizeof(T);
  Walk<2> w;
  if (!borders) {
    start(w, {&out, &in});
    w.outer([&](char* const* p) {
      f(Row<T>{p[0], w.stride[0][0]}, Row<T>{p[1], w.stride[0][1]}, w.size[0], int64_t{0});
    });
    return;
  }
  const int last = out.shape.ndim - 1;
  const int64_t columns = last < 0 ? 1 : out.shape.v[last];
  const int64_t so = last < 0 || columns == 1 ? kItem : out.strides.v[last] * kItem;
  const int64_t si = last < 0 || columns == 1 ? kItem : in.strides.v[last] * kItem;
  w.base[0] = static_cast<char*>(out.data);
  w.base[1] = static_cast<char*>(in.data);
  for (int d = last - 1; d >= 0; --d)
    w.add_dim(out.shape.v[d], {out.strides.v[d] * kItem, in.strides.v[d] * kItem});
  w.finish();
  int64_t row = 0;
  w.outer([&](char* const* p) {
    char *y = p[0], *x = p[1];
    for (const int64_t end = row + w.size[0]; row < end; ++row, y += w.stride[0][0], x += w.stride[0][1])
      f(Row<T>{y, so}, Row<T>{x, si}, columns, row);
  });
}

template <class T>
inline void relu_typed(const View& out, const View& in, uint64_t* mask) {
  relu_rows<T>(out, in, mask != nullptr, [&](Row<T> y, Row<T> x, int64_t n, int64_t row) {
    uint64_t* bits = mask == nullptr ? nullptr : mask + row * ((n + 63) / 64);
    if (x.dense() && y.dense())
      return relu_block(reinterpret_cast<T*>(y.p), reinterpret_cast<const T*>(x.p), n, bits);
    for_blocks(n, [&](int64_t i, int64_t m) {
      T from[kRowBlock], to[kRowBlock];
      T* result = y.write(i, to);
      relu_block(result, x.read(i, m, from), m, bits == nullptr ? nullptr : bits + i / 64);
      y.commit(i, m, result);
    });
  });
}

inline void relu_here(const View& out, const View& in, uint64_t* mask) {
  switch (in.dtype) {
    case DType::Float32:
      return relu_typed<float>(out, in, mask);
    case DType::Float64:
      return relu_typed<double>(out, in, mask);
    case DType::Int32:
      return relu_typed<int32_t>(out, in, mask);
    default:
      return relu_typed<int64_t>(out, in, mask);
  }
}

inline void relu_backward_here(const View& out, const View& g, const uint64_t* mask) {
  with_floating(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (out.shape.ndim > 0 && is_contiguous(out.shape, out.strides) && is_contiguous(g.shape, g.strides)) {
      const int64_t n = out.shape.v[out.shape.ndim - 1];
      return copy_masked_rows(out.as<T>(), g.as<T>(), mask, numel_of(out), n);
    }
    relu_rows<T>(out, g, true, [&](Row<T> y, Row<T> x, int64_t n, int64_t row) {
      const uint64_t* bits = mask + row * ((n + 63) / 64);
      if (x.dense() && y.dense())
        return copy_masked_rows(reinterpret_cast<T*>(y.p), reinterpret_cast<const T*>(x.p), bits, n, n);
      for_blocks(n, [&](int64_t i, int64_t m) {
        T from[kRowBlock], to[kRowBlock];
        T* result = y.write(i, to);
        copy_masked_rows<T>(result, x.read(i, m, from), bits + i / 64, m, m);
        y.commit(i, m, result);
      });
    });
  });
}

// f(out, in, words before the part's mask) on parts along dim 0, whose masks share no word.
template <class F>
inline void relu_shared(const View& out, const View& in, const F& f) {
  const int ndim = out.shape.ndim;
  const int64_t work = numel_of(out) / 4;
  if (ndim == 0 || !worth_sharing(work)) return f(out, in, int64_t{0});
  int64_t words = (out.shape.v[ndim - 1] + 63) / 64;  // of an index of dim 0
  for (int d = 1; d < ndim - 1; ++d) words *= out.shape.v[d];
  parallel_ranges(out.shape.v[0], ndim == 1 ? 64 : 1, work, [&](int64_t first, int64_t count) {
    View y, x;
    set_part(y, out, 0, first, count);
    set_part(x, in, 0, first, count);
    f(y, x, ndim == 1 ? first / 64 : first * words);
  });
}

void relu(const View& out, const View& in, uint64_t* mask) {
  relu_shared(out, in, [&](const View& y, const View& x, int64_t words) {
    relu_here(y, x, mask == nullptr ? nullptr : mask + words);
  });
}
void relu_backward(const View& out, const View& g, const uint64_t* mask) {
  relu_shared(out, g,
              [&](const View& y, const View& x, int64_t words) { relu_backward_here(y, x, mask + words); });
}

}  // namespace
}  // namespace unspool
