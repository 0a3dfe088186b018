// The functions on Vec that are an instruction or a few: rounding, roots, signs, extremes, remainders.
// Part of simd.h (see there); exp and its family live in math.h.
#pragma once

#include "unspool/kernels/simd.h"

namespace unspool {
namespace {

// a * b + c with one rounding where the instruction set has it, two in the generic one.
#if defined(__AVX512F__)
UNSPOOL_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return Vec<float>((Vec<float>::Raw)_mm512_fmadd_ps((__m512)a.v, (__m512)b.v, (__m512)c.v));
}
UNSPOOL_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return Vec<double>((Vec<double>::Raw)_mm512_fmadd_pd((__m512d)a.v, (__m512d)b.v, (__m512d)c.v));
}
#define UNSPOOL_UNARY(NAME, PS, PD)                                                        \
  UNSPOOL_INLINE Vec<float> NAME(Vec<float> a) { return Vec<float>((Vec<float>::Raw)PS); } \
  UNSPOOL_INLINE Vec<double> NAME(Vec<double> a) { return Vec<double>((Vec<double>::Raw)PD); }
// The maskz forms: GCC 12 warns that the plain ones pass an undefined register.
#define UNSPOOL_ROUND(NAME, MODE)                                                                  \
  UNSPOOL_UNARY(NAME, _mm512_maskz_roundscale_ps(0xffff, (__m512)a.v, (MODE) | _MM_FROUND_NO_EXC), \
                _mm512_maskz_roundscale_pd(0xff, (__m512d)a.v, (MODE) | _MM_FROUND_NO_EXC))
UNSPOOL_UNARY(sqrt, _mm512_maskz_sqrt_ps(0xffff, (__m512)a.v), _mm512_maskz_sqrt_pd(0xff, (__m512d)a.v))
UNSPOOL_ROUND(floor, _MM_FROUND_TO_NEG_INF)
UNSPOOL_ROUND(ceil, _MM_FROUND_TO_POS_INF)
UNSPOOL_ROUND(trunc, _MM_FROUND_TO_ZERO)
UNSPOOL_ROUND(round, _MM_FROUND_TO_NEAREST_INT)
#undef UNSPOOL_ROUND
#undef UNSPOOL_UNARY
#elif defined(__AVX2__)
UNSPOOL_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return Vec<float>((Vec<float>::Raw)_mm256_fmadd_ps((__m256)a.v, (__m256)b.v, (__m256)c.v));
}
UNSPOOL_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return Vec<double>((Vec<double>::Raw)_mm256_fmadd_pd((__m256d)a.v, (__m256d)b.v, (__m256d)c.v));
}
#define UNSPOOL_UNARY(NAME, PS, PD)                                                        \
  UNSPOOL_INLINE Vec<float> NAME(Vec<float> a) { return Vec<float>((Vec<float>::Raw)PS); } \
  UNSPOOL_INLINE Vec<double> NAME(Vec<double> a) { return Vec<double>((Vec<double>::Raw)PD); }
#define UNSPOOL_ROUND(NAME, MODE)                                               \
  UNSPOOL_UNARY(NAME, _mm256_round_ps((__m256)a.v, (MODE) | _MM_FROUND_NO_EXC), \
                _mm256_round_pd((__m256d)a.v, (MODE) | _MM_FROUND_NO_EXC))
UNSPOOL_UNARY(sqrt, _mm256_sqrt_ps((__m256)a.v), _mm256_sqrt_pd((__m256d)a.v))
UNSPOOL_ROUND(floor, _MM_FROUND_TO_NEG_INF)
UNSPOOL_ROUND(ceil, _MM_FROUND_TO_POS_INF)
UNSPOOL_ROUND(trunc, _MM_FROUND_TO_ZERO)
UNSPOOL_ROUND(round, _MM_FROUND_TO_NEAREST_INT)
#undef UNSPOOL_ROUND
#undef UNSPOOL_UNARY
#else
UNSPOOL_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return a * b + c; }
UNSPOOL_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return a * b + c; }
#define UNSPOOL_LANES(NAME, FN)                        \
  UNSPOOL_INLINE Vec<float> NAME(Vec<float> a) {       \
    return lanes(a, [](float x) { return FN##f(x); }); \
  }                                                    \
  UNSPOOL_INLINE Vec<double> NAME(Vec<double> a) {     \
    return lanes(a, [](double x) { return FN(x); });   \
  }
UNSPOOL_LANES(sqrt, __builtin_sqrt)
UNSPOOL_LANES(floor, __builtin_floor)
UNSPOOL_LANES(ceil, __builtin_ceil)
UNSPOOL_LANES(trunc, __builtin_trunc)
UNSPOOL_LANES(round, __builtin_nearbyint)
#undef UNSPOOL_LANES
#endif

// Integers are whole already; fma wraps like * and +.
#define UNSPOOL_WHOLE(NAME)              \
  template <class T>                     \
  UNSPOOL_INLINE Vec<T> NAME(Vec<T> a) { \
    static_assert(!kFloating<T>);        \
    return a;                            \
  }
UNSPOOL_WHOLE(floor)
UNSPOOL_WHOLE(ceil)
UNSPOOL_WHOLE(trunc)
UNSPOOL_WHOLE(round)
#undef UNSPOOL_WHOLE
template <class T>
UNSPOOL_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
  static_assert(!kFloating<T>);
  return a * b + c;
}
template <class T>
UNSPOOL_INLINE Vec<T> fma(Vec<T> a, double b, Vec<T> c) {
  return fma(a, Vec<T>(b), c);
}
template <class T>
UNSPOOL_INLINE Vec<T> fma(double a, Vec<T> b, Vec<T> c) {
  return fma(Vec<T>(a), b, c);
}
template <class T>
UNSPOOL_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, double c) {
  return fma(a, b, Vec<T>(c));
}
template <class T>
UNSPOOL_INLINE Vec<T> fma(Vec<T> a, double b, double c) {
  return fma(a, Vec<T>(b), Vec<T>(c));
}

// The number of each lane, and the mask of the first n.
template <class T>
UNSPOOL_INLINE typename Mask<T>::Raw lane_numbers() {
  typename Mask<T>::Raw r;
  for (int i = 0; i < Vec<T>::kLanes; ++i) r[i] = static_cast<decltype(r[0] + 0)>(i);
  return r;
}
template <class T>
UNSPOOL_INLINE Mask<T> first_lanes(int64_t n) {
  using Raw = typename Mask<T>::Raw;
  using I = __typeof__(Raw{}[0]);
  const Raw limit = static_cast<I>(n) - Raw{};
  return {lane_numbers<T>() < limit};
}

// One bit a lane, lane 0 lowest, and back (bits above the lanes are ignored).
template <class T>
UNSPOOL_INLINE uint64_t to_bits(Mask<T> mask) {
#if defined(__AVX512F__)
  if constexpr (sizeof(lane_t<T>) == 4) return _mm512_movepi32_mask((__m512i)mask.m);
  if constexpr (sizeof(lane_t<T>) == 8) return _mm512_movepi64_mask((__m512i)mask.m);
#elif defined(__AVX2__)
  if constexpr (sizeof(lane_t<T>) == 4) return static_cast<unsigned>(_mm256_movemask_ps((__m256)mask.m));
  if constexpr (sizeof(lane_t<T>) == 8) return static_cast<unsigned>(_mm256_movemask_pd((__m256d)mask.m));
#endif
  uint64_t bits = 0;
  for (int i = 0; i < Mask<T>::kLanes; ++i) bits |= static_cast<uint64_t>(mask.m[i] != 0) << i;
  return bits;
}
template <class T>
UNSPOOL_INLINE Mask<T> from_bits_mask(uint64_t bits) {
  static_assert(sizeof(lane_t<T>) >= 4);
  using Raw = typename Mask<T>::Raw;
  using I = __typeof__(Raw{}[0]);
  const Raw own = (I(1) - Raw{}) << lane_numbers<T>();
  return {((static_cast<I>(bits) - Raw{}) & own) == own};
}

template <class T>
struct SignBit;
template <>
struct SignBit<float> {
  typedef uint32_t Raw __attribute__((vector_size(kVecBytes)));
  static constexpr uint32_t kBit = 0x80000000u;
};
template <>
struct SignBit<double> {
  typedef uint64_t Raw __attribute__((vector_size(kVecBytes)));
  static constexpr uint64_t kBit = 0x8000000000000000u;
};

template <class T>
UNSPOOL_INLINE Vec<T> abs(Vec<T> a) {
  if constexpr (kFloating<T>) {
    using U = typename SignBit<T>::Raw;
    return Vec<T>((typename Vec<T>::Raw)((U)a.v & ~SignBit<T>::kBit));
  } else {
    return where(a < Vec<T>(0.0), -a, a);
  }
}

template <class T>
UNSPOOL_INLINE Vec<T> copysign(Vec<T> magnitude, Vec<T> sign) {
  using U = typename SignBit<T>::Raw;
  return Vec<T>(
      (typename Vec<T>::Raw)(((U)magnitude.v & ~SignBit<T>::kBit) | ((U)sign.v & SignBit<T>::kBit)));
}
UNSPOOL_MIXED(Vec, copysign)

// -1, 0 or 1; of NaN it is 0, as in PyTorch.
template <class T>
UNSPOOL_INLINE Vec<T> sign(Vec<T> a) {
  return where(a > 0.0, Vec<T>(1.0), where(a < 0.0, Vec<T>(-1.0), Vec<T>(0.0)));
}

template <class T>
UNSPOOL_INLINE Mask<T> isnan(Vec<T> a) {
  return a != a;
}

// A NaN on either side is the answer.
template <class T>
UNSPOOL_INLINE Vec<T> max(Vec<T> a, Vec<T> b) {
  if constexpr (kFloating<T>)
    return where((a > b) | (a != a), a, b);
  else
    return where(a > b, a, b);
}
template <class T>
UNSPOOL_INLINE Vec<T> min(Vec<T> a, Vec<T> b) {
  if constexpr (kFloating<T>)
    return where((a < b) | (a != a), a, b);
  else
    return where(a < b, a, b);
}
UNSPOOL_MIXED(Vec, max)
UNSPOOL_MIXED(Vec, min)

// The remainder of division toward zero (C's), and of division toward -inf (Python's %).
UNSPOOL_INLINE float remainder_of(float a, float b) { return __builtin_fmodf(a, b); }
UNSPOOL_INLINE double remainder_of(double a, double b) { return __builtin_fmod(a, b); }

template <class L>
UNSPOOL_INLINE L python_mod(L a, L b) {
  const L r = remainder_of(a, b);
  return r != L(0) && (b < L(0)) != (r < L(0)) ? static_cast<L>(r + b) : r;
}
// Integers: the floor of the exact quotient. Floats: by way of the remainder, as CPython and PyTorch,
// so that floor_div(a, b) * b + python_mod(a, b) is near a also where a / b rounds up to a whole number.
template <class L>
UNSPOOL_INLINE L floor_quotient(L a, L b) {
  if constexpr (kFloating<L>) {
    if (b == L(0)) return a / b;
    const L r = remainder_of(a, b);
    L q = (a - r) / b;
    if (r != L(0) && (b < L(0)) != (r < L(0))) q -= L(1);
    if (q == L(0)) return static_cast<L>(__builtin_copysign(0.0, static_cast<double>(a / b)));
    L whole = static_cast<L>(__builtin_floor(static_cast<double>(q)));
    if (q - whole > L(0.5)) whole += L(1);
    return whole;
  } else {
    const L q = quotient(a, b), r = remainder_of(a, b);
    return r != 0 && (b < 0) != (r < 0) ? static_cast<L>(q - 1) : q;
  }
}

template <class T>
UNSPOOL_INLINE Vec<T> fmod(Vec<T> a, Vec<T> b) {
  return lanes(a, b, [](auto x, auto y) { return remainder_of(x, y); });
}
template <class T>
UNSPOOL_INLINE Vec<T> remainder(Vec<T> a, Vec<T> b) {
  return lanes(a, b, [](auto x, auto y) { return python_mod(x, y); });
}
template <class T>
UNSPOOL_INLINE Vec<T> floor_div(Vec<T> a, Vec<T> b) {
  return lanes(a, b, [](auto x, auto y) { return floor_quotient(x, y); });
}
UNSPOOL_MIXED(Vec, fmod)
UNSPOOL_MIXED(Vec, remainder)
UNSPOOL_MIXED(Vec, floor_div)

}  // namespace
}  // namespace unspool
