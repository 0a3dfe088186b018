// One register of numbers, Vec<T>, and its comparisons, Mask<T>, at the native width of the instruction
// set that this translation unit is compiled for. Start at Vec.
//
// Only the per-ISA sources include this file. Everything here and above it has internal linkage and
// calls no inline function of a shared header (they would leave weak symbols holding AVX code, which
// the linker could hand to a CPU without AVX). So: no std:: algorithms or containers, no Dims methods.
#pragma once

#include <cstddef>
#include <cstdint>

#include "unspool/base/dtype.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#define UNSPOOL_INLINE inline __attribute__((always_inline))
#define UNSPOOL_LAMBDA __attribute__((always_inline))

namespace unspool {
namespace {

using std::int32_t;
using std::int64_t;
using std::uint32_t;
using std::uint64_t;
using std::uint8_t;

#if defined(__AVX512F__)
constexpr int kVecBytes = 64;
#elif defined(__AVX2__)
constexpr int kVecBytes = 32;
#else
constexpr int kVecBytes = 16;
#endif

// What a lane holds: bool travels as bytes of 0 and 1.
template <class T>
struct LaneOf {
  using type = T;
  using Unsigned = T;
};
template <>
struct LaneOf<bool> {
  using type = uint8_t;
  using Unsigned = uint8_t;
};
template <>
struct LaneOf<int32_t> {
  using type = int32_t;
  using Unsigned = uint32_t;
};
template <>
struct LaneOf<int64_t> {
  using type = int64_t;
  using Unsigned = uint64_t;
};
template <class T>
using lane_t = typename LaneOf<T>::type;

template <class A, class B>
constexpr bool kSame = false;
template <class A>
constexpr bool kSame<A, A> = true;
template <class T>
constexpr bool kFloating = kSame<T, float> || kSame<T, double>;

// A conversion with C's meaning where C has one; out of range or NaN gives what x86's cvtt gives.
// To bool: != 0. To uint8 by way of int64, as PyTorch.
template <class To, class From>
UNSPOOL_INLINE lane_t<To> convert(From x) {
  if constexpr (kSame<To, bool>) {
    return x != From(0);
  } else if constexpr (kFloating<From> && !kFloating<To>) {
    const double d = x;
    if constexpr (kSame<To, int32_t>)
      return d > -2147483649.0 && d < 2147483648.0 ? static_cast<int32_t>(d) : INT32_MIN;
    else
      return static_cast<To>(
          d >= -9223372036854775808.0 && d < 9223372036854775808.0 ? static_cast<int64_t>(d) : INT64_MIN);
  } else {
    return static_cast<To>(x);
  }
}

template <class T>
struct Vec {
  using Lane = lane_t<T>;
  static constexpr int kLanes = kVecBytes / static_cast<int>(sizeof(Lane));
  typedef Lane Raw __attribute__((vector_size(kVecBytes)));
  // Integer arithmetic wraps: it is done on this type.
  typedef typename LaneOf<T>::Unsigned Wrap __attribute__((vector_size(kVecBytes)));
  Raw v;

  Vec() = default;
  UNSPOOL_INLINE Vec(Raw raw) : v(raw) {}
  UNSPOOL_INLINE Vec(double x) : Vec(all(convert<T>(x))) {}

  // x - 0 rather than 0 + x: it keeps -0.
  static UNSPOOL_INLINE Vec all(Lane x) { return Vec(x - Raw{}); }

  static UNSPOOL_INLINE Vec load(const void* p) {
    Raw r;
    __builtin_memcpy(&r, p, sizeof r);
    return Vec(r);
  }
  UNSPOOL_INLINE void store(void* p) const { __builtin_memcpy(p, &v, sizeof v); }

  // The first n lanes, 0 <= n < kLanes; the others load as 0 and are not stored.
  static UNSPOOL_INLINE Vec load(const void* p, int64_t n) {
#if defined(__AVX512F__)
    return Vec((Raw)_mm512_maskz_loadu_epi8(byte_mask(n), p));
#else
#if defined(__AVX2__)
    if constexpr (sizeof(Lane) == 4)
      return Vec((Raw)_mm256_maskload_epi32(static_cast<const int*>(p), first(n)));
    if constexpr (sizeof(Lane) == 8)
      return Vec((Raw)_mm256_maskload_epi64(static_cast<const long long*>(p), first(n)));
#endif
    Lane buffer[kLanes] = {};
    for (int64_t i = 0; i < n; ++i) buffer[i] = static_cast<const Lane*>(p)[i];
    return load(buffer);
#endif
  }
  UNSPOOL_INLINE void store(void* p, int64_t n) const {
#if defined(__AVX512F__)
    _mm512_mask_storeu_epi8(p, byte_mask(n), (__m512i)v);
#else
#if defined(__AVX2__)
    if constexpr (sizeof(Lane) >= 4) return store_parts(static_cast<char*>(p), n * (sizeof(Lane) / 4));
#endif
    Lane buffer[kLanes];
    store(buffer);
    for (int64_t i = 0; i < n; ++i) static_cast<Lane*>(p)[i] = buffer[i];
#endif
  }

 private:
#if defined(__AVX512F__)
  static UNSPOOL_INLINE __mmask64 byte_mask(int64_t n) {
    return (uint64_t{1} << (n * static_cast<int64_t>(sizeof(Lane)))) - 1;
  }
#elif defined(__AVX2__)
  // Words by halves of what is left: AMD's masked stores are microcode, of some 40 operations each.
  UNSPOOL_INLINE void store_parts(char* p, int64_t words) const {
    __m128i part = _mm256_castsi256_si128((__m256i)v);
    if (words & 4) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), part);
      part = _mm256_extracti128_si256((__m256i)v, 1);
      p += 16;
    }
    if (words & 2) {
      _mm_storel_epi64(reinterpret_cast<__m128i*>(p), part);
      part = _mm_unpackhi_epi64(part, part);
      p += 8;
    }
    if (words & 1) {
      const int word = _mm_cvtsi128_si32(part);
      __builtin_memcpy(p, &word, sizeof word);
    }
  }
  static UNSPOOL_INLINE __m256i first(int64_t n) {
    if constexpr (sizeof(Lane) == 4)
      return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                                _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    else
      return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
  }
#endif
};

// Lanes of all ones (true) or all zeros.
template <class T>
struct Mask {
  using V = typename Vec<T>::Raw;
  using Raw = decltype(V{} < V{});
  static constexpr int kLanes = Vec<T>::kLanes;
  Raw m;

  // As bytes of 0 and 1, the first n lanes, n <= kLanes.
  UNSPOOL_INLINE void store_bool(uint8_t* p, int64_t n) const {
    typedef uint8_t Bytes __attribute__((vector_size(kLanes)));
    const Bytes bytes = __builtin_convertvector(m, Bytes) & 1;
    if (n == kLanes) {
      __builtin_memcpy(p, &bytes, kLanes);
    } else {
      uint8_t buffer[kLanes];
      __builtin_memcpy(buffer, &bytes, kLanes);
      for (int64_t i = 0; i < n; ++i) p[i] = buffer[i];
    }
  }
};

#if defined(__SSE2__) && !defined(__AVX512F__)
// Two masks whose lanes have kBytes as one whose lanes have half, in order. Compilers make a dozen shuffles
// of the conversion that store_bool asks for; AVX-512 has an instruction for it.
template <int kBytes, class Raw>
UNSPOOL_INLINE Raw narrowed(Raw a, Raw b) {
#if defined(__AVX2__)
  const __m256i pairs = kBytes == 8   ? (__m256i)_mm256_shuffle_ps((__m256)a, (__m256)b, 0x88)
                        : kBytes == 4 ? _mm256_packs_epi32((__m256i)a, (__m256i)b)
                                      : _mm256_packs_epi16((__m256i)a, (__m256i)b);
  return (Raw)_mm256_permute4x64_epi64(pairs, 0xd8);
#else
  return kBytes == 8   ? (Raw)_mm_shuffle_ps((__m128)a, (__m128)b, 0x88)
         : kBytes == 4 ? (Raw)_mm_packs_epi32((__m128i)a, (__m128i)b)
                       : (Raw)_mm_packs_epi16((__m128i)a, (__m128i)b);
#endif
}
constexpr bool kNarrows = true;
#else
template <int kBytes, class Raw>
Raw narrowed(Raw a, Raw b);
constexpr bool kNarrows = false;
#endif

// As many masks as give a register of bytes of 0 and 1.
template <class T>
UNSPOOL_INLINE void store_bools(const Mask<T> (&masks)[sizeof(lane_t<T>)], uint8_t* p) {
  constexpr int kItem = sizeof(lane_t<T>);
  using Raw = typename Mask<T>::Raw;
  Raw m[kItem];
  for (int i = 0; i < kItem; ++i) m[i] = masks[i].m;
  if constexpr (kItem >= 8)
    for (int i = 0; i < 4; ++i) m[i] = narrowed<8>(m[2 * i], m[2 * i + 1]);
  if constexpr (kItem >= 4)
    for (int i = 0; i < 2; ++i) m[i] = narrowed<4>(m[2 * i], m[2 * i + 1]);
  if constexpr (kItem >= 2) m[0] = narrowed<2>(m[0], m[1]);
  const Vec<uint8_t> bytes((typename Vec<uint8_t>::Raw)m[0] & 1);
  bytes.store(p);
}

template <class T>
UNSPOOL_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) {
  return {a.m & b.m};
}
template <class T>
UNSPOOL_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) {
  return {a.m | b.m};
}
template <class T>
UNSPOOL_INLINE Mask<T> operator^(Mask<T> a, Mask<T> b) {
  return {a.m ^ b.m};
}
template <class T>
UNSPOOL_INLINE Mask<T> operator!(Mask<T> a) {
  return {~a.m};
}

template <class T>
UNSPOOL_INLINE Vec<T> where(Mask<T> mask, Vec<T> a, Vec<T> b) {
  return Vec<T>(mask.m ? a.v : b.v);
}
template <class T>
UNSPOOL_INLINE Vec<T> where(Mask<T> mask, Vec<T> a, double b) {
  return where(mask, a, Vec<T>(b));
}
template <class T>
UNSPOOL_INLINE Vec<T> where(Mask<T> mask, double a, Vec<T> b) {
  return where(mask, Vec<T>(a), b);
}
template <class T>
UNSPOOL_INLINE Vec<T> where(Mask<T> mask, double a, double b) {
  return where(mask, Vec<T>(a), Vec<T>(b));
}

// The scalar operand is rounded to T first, as PyTorch does.
#define UNSPOOL_MIXED(R, NAME)                   \
  template <class T>                             \
  UNSPOOL_INLINE R<T> NAME(Vec<T> a, double b) { \
    return NAME(a, Vec<T>(b));                   \
  }                                              \
  template <class T>                             \
  UNSPOOL_INLINE R<T> NAME(double a, Vec<T> b) { \
    return NAME(Vec<T>(a), b);                   \
  }
#define UNSPOOL_COMPARE(OP)                                \
  template <class T>                                       \
  UNSPOOL_INLINE Mask<T> operator OP(Vec<T> a, Vec<T> b) { \
    return {a.v OP b.v};                                   \
  }                                                        \
  UNSPOOL_MIXED(Mask, operator OP)
UNSPOOL_COMPARE(<)
UNSPOOL_COMPARE(<=)
UNSPOOL_COMPARE(>)
UNSPOOL_COMPARE(>=)
UNSPOOL_COMPARE(==)
UNSPOOL_COMPARE(!=)
#undef UNSPOOL_COMPARE

// bool: + is or, * is and, - is exclusive or, which keeps the lanes at 0 and 1.
#define UNSPOOL_ARITHMETIC(OP, BOOL_OP)                        \
  template <class T>                                           \
  UNSPOOL_INLINE Vec<T> operator OP(Vec<T> a, Vec<T> b) {      \
    using W = typename Vec<T>::Wrap;                           \
    if constexpr (kSame<T, bool>)                              \
      return Vec<T>(a.v BOOL_OP b.v);                          \
    else if constexpr (kFloating<T>)                           \
      return Vec<T>(a.v OP b.v);                               \
    else                                                       \
      return Vec<T>((typename Vec<T>::Raw)((W)a.v OP(W) b.v)); \
  }                                                            \
  UNSPOOL_MIXED(Vec, operator OP)
UNSPOOL_ARITHMETIC(+, |)
UNSPOOL_ARITHMETIC(-, ^)
UNSPOOL_ARITHMETIC(*, &)
#undef UNSPOOL_ARITHMETIC

template <class T>
UNSPOOL_INLINE Vec<T> operator-(Vec<T> a) {
  if constexpr (kFloating<T>)
    return Vec<T>(-a.v);
  else
    return Vec<T>((typename Vec<T>::Raw)(-(typename Vec<T>::Wrap)a.v));
}

// f on every lane, for what no instruction does.
template <class T, class F>
UNSPOOL_INLINE Vec<T> lanes(Vec<T> a, const F& f) {
  lane_t<T> x[Vec<T>::kLanes];
  a.store(x);
  for (int i = 0; i < Vec<T>::kLanes; ++i) x[i] = f(x[i]);
  return Vec<T>::load(x);
}
template <class T, class F>
UNSPOOL_INLINE Vec<T> lanes(Vec<T> a, Vec<T> b, const F& f) {
  lane_t<T> x[Vec<T>::kLanes], y[Vec<T>::kLanes];
  a.store(x);
  b.store(y);
  for (int i = 0; i < Vec<T>::kLanes; ++i) x[i] = f(x[i], y[i]);
  return Vec<T>::load(x);
}

// Integer division never traps: the minimum over -1 wraps, and a zero divisor gives 0 (the caller has
// refused it in the lanes that count; tail lanes hold zeros).
template <class L>
UNSPOOL_INLINE L quotient(L a, L b) {
  if (b == 0) return 0;
  if constexpr (L(-1) < L(0))
    if (b == L(-1)) return static_cast<L>(-static_cast<typename LaneOf<L>::Unsigned>(a));
  return static_cast<L>(a / b);
}
template <class L>
UNSPOOL_INLINE L remainder_of(L a, L b) {
  if (b == 0) return 0;
  if constexpr (L(-1) < L(0))
    if (b == L(-1)) return 0;
  return static_cast<L>(a % b);
}

template <class T>
UNSPOOL_INLINE Vec<T> operator/(Vec<T> a, Vec<T> b) {
  if constexpr (kFloating<T>)
    return Vec<T>(a.v / b.v);
  else
    return lanes(a, b, [](auto x, auto y) { return quotient(x, y); });
}
UNSPOOL_MIXED(Vec, operator/)

}  // namespace
}  // namespace unspool

#include "unspool/kernels/simd_ops.h"
