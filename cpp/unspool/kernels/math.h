// exp, log, expm1, log1p, tanh, sigmoid and pow on Vec<float> and Vec<double>.
//
// Each is one branch-free formula, written once for both types: argument reduction, a Taylor series on
// the small remainder, reconstruction. The series is long enough that cutting it costs less than 0.1 ULP.
// Measured against long double (tests/native/test_kernels_math.cpp): below 2 ULP everywhere, subnormals
// included, with IEEE's answers for zeros, infinities and NaN. pow asks the C library, lane by lane, in
// tails too, so an element has the same bits wherever it stands.
#pragma once

#include "unspool/kernels/simd.h"

namespace unspool {
namespace {

template <class T>
struct FloatFormat;
template <>
struct FloatFormat<float> {
  using Int = int32_t;
  static constexpr int kMantissa = 23, kBias = 127;
  static constexpr float kMagic = 0x1.8p23f;     // x + kMagic has the nearest integer in its low bits
  static constexpr float kLn2Hi = 0x1.62e4p-1f;  // 15 bits: a product with an exponent is exact
  static constexpr float kLn2Lo = 0x1.7f7d1cp-20f;
  static constexpr float kExpMin = -104, kExpMax = 89;    // past these: 0, inf
  static constexpr float kExpm1Min = -20, kTanhMax = 20;  // past these: -1, 1
  static constexpr float kTiny = 0x1p-126f, kScaleUp = 0x1p25f;
  static constexpr int32_t kSqrtHalf = 0x3f3504f3, kScaleUpLog2 = 25;
  static constexpr int kExpTerms = 7, kLogTerms = 5;
};
template <>
struct FloatFormat<double> {
  using Int = int64_t;
  static constexpr int kMantissa = 52, kBias = 1023;
  static constexpr double kMagic = 0x1.8p52;
  static constexpr double kLn2Hi = 0x1.62e42fefa3800p-1;  // 42 bits
  static constexpr double kLn2Lo = 0x1.ef35793c76730p-45;
  static constexpr double kExpMin = -746, kExpMax = 710;
  static constexpr double kExpm1Min = -44, kTanhMax = 44;
  static constexpr double kTiny = 0x1p-1022, kScaleUp = 0x1p54;
  static constexpr int64_t kSqrtHalf = 0x3fe6a09e667f3bcd, kScaleUpLog2 = 54;
  static constexpr int kExpTerms = 13, kLogTerms = 11;
};

template <class T>
using IntRaw = typename Vec<typename FloatFormat<T>::Int>::Raw;

template <class T>
UNSPOOL_INLINE IntRaw<T> bits(Vec<T> x) {
  return (IntRaw<T>)x.v;
}
template <class T>
UNSPOOL_INLINE Vec<T> from_bits(IntRaw<T> b) {
  return Vec<T>((typename Vec<T>::Raw)b);
}
template <class T>
UNSPOOL_INLINE Vec<T> pow2(IntRaw<T> n) {  // 2^n for a normal result
  return from_bits<T>((n + FloatFormat<T>::kBias) << FloatFormat<T>::kMantissa);
}

// 1/2! + r/3! + r²/4! + … up to r^(kExpTerms-2) / kExpTerms!
template <class T>
UNSPOOL_INLINE Vec<T> exp_series(Vec<T> r) {
  constexpr double kInverse[] = {
      1,         1,          1. / 2,      1. / 6,       1. / 24,       1. / 120,       1. / 720,
      1. / 5040, 1. / 40320, 1. / 362880, 1. / 3628800, 1. / 39916800, 1. / 479001600, 1. / 6227020800.};
  constexpr int kTop = FloatFormat<T>::kExpTerms;
  Vec<T> q(kInverse[kTop]);
#pragma GCC unroll 16
  for (int i = kTop - 1; i >= 2; --i) q = fma(q, r, Vec<T>(kInverse[i]));
  return q;
}

// x = n ln2 + r + c with |r| <= ln2 / 2 and c what rounding r lost.
template <class T>
struct ExpParts {
  IntRaw<T> n;
  Vec<T> r, c;
};
template <class T>
UNSPOOL_INLINE ExpParts<T> reduce_exp(Vec<T> x) {
  using F = FloatFormat<T>;
  const Vec<T> magic(F::kMagic);
  const Vec<T> t = fma(x, Vec<T>(0x1.71547652b82fep+0), magic);
  const Vec<T> n = t - magic;
  const Vec<T> hi = fma(n, Vec<T>(-F::kLn2Hi), x), lo = n * Vec<T>(-F::kLn2Lo);
  const Vec<T> r = hi + lo;
  return {bits(t) - bits(magic), r, (hi - r) + lo};
}

template <class T>
UNSPOOL_INLINE Vec<T> clamp_low(Vec<T> x, T low) {
  return where(x < Vec<T>(low), Vec<T>(low), x);
}
template <class T>
UNSPOOL_INLINE Vec<T> clamp_high(Vec<T> x, T high) {
  return where(x > Vec<T>(high), Vec<T>(high), x);
}

// The power of two is applied in two halves: the first product is normal, so the second rounds once,
// to a subnormal or to infinity where that is the answer.
template <class T>
UNSPOOL_INLINE Vec<T> scale(Vec<T> y, IntRaw<T> n) {
  const IntRaw<T> half = n >> 1;
  return y * pow2<T>(half) * pow2<T>(n - half);
}

template <class T>
UNSPOOL_INLINE Vec<T> exp(Vec<T> x) {
  using F = FloatFormat<T>;
  const ExpParts<T> p = reduce_exp(clamp_high(clamp_low(x, F::kExpMin), F::kExpMax));
  const Vec<T> y = Vec<T>(1.0) + (p.r + fma(p.r * p.r, exp_series(p.r), p.c));
  return scale(y, p.n);
}

// e^x - 1 = 2^n ((e^r - 1) + (1 - 2^-n)); where 2^-n no longer matters it is 0. `rest` is e^r - 1 - r:
// the sum starts from its two large terms and their exact rounding error.
template <class T>
struct Expm1Parts {
  IntRaw<T> n;
  Vec<T> rest, value;
};
template <class T>
UNSPOOL_INLINE Expm1Parts<T> expm1_parts(Vec<T> x) {
  const ExpParts<T> p = reduce_exp(x);
  const Vec<T> rest = fma(p.r * p.r, exp_series(p.r), p.c);
  const IntRaw<T> limit = IntRaw<T>{} + 2 * FloatFormat<T>::kMantissa;
  const IntRaw<T> capped = p.n > limit ? limit : p.n;
  const Vec<T> big = Vec<T>(1.0) - pow2<T>(-capped), sum = big + p.r;
  return {p.n, rest, scale(sum + (((big - sum) + p.r) + rest), p.n)};
}

template <class T>
UNSPOOL_INLINE Vec<T> expm1(Vec<T> x) {
  using F = FloatFormat<T>;
  const Vec<T> y = expm1_parts(clamp_high(clamp_low(x, F::kExpm1Min), F::kExpMax)).value;
  return where(x == Vec<T>(0.0), x, y);  // -0 stays -0
}

// x = 2^k m with m in [sqrt(1/2), sqrt(2)); f = m - 1.
template <class T>
struct LogParts {
  Vec<T> k, f;
};
template <class T>
UNSPOOL_INLINE LogParts<T> reduce_log(Vec<T> x) {
  using F = FloatFormat<T>;
  using I = typename F::Int;
  const Mask<T> tiny = x < Vec<T>(F::kTiny);
  // Unsigned where a negative x (whose result log_edges replaces) would overflow.
  using U = typename SignBit<T>::Raw;
  using Word = decltype(+SignBit<T>::kBit);
  const U b = (U)bits(where(tiny, x * Vec<T>(F::kScaleUp), x));
  const IntRaw<T> k = (IntRaw<T>)(b - Word(F::kSqrtHalf)) >> F::kMantissa;
  const Vec<T> m = from_bits<T>((IntRaw<T>)(b - ((U)k << F::kMantissa)));
  const IntRaw<T> exponent = k - ((IntRaw<T>)tiny.m & I(F::kScaleUpLog2));
  const Vec<T> magic(F::kMagic);
  return {from_bits<T>(bits(magic) + exponent) - magic, m - Vec<T>(1.0)};
}

// log(1 + f) + k ln2 + c. With s = f / (2 + f): log(1 + f) = 2 atanh(s) = 2s + s R and 2s = f - s f,
// so it is f - s (f - R), which carries the exact f and a small correction.
template <class T>
UNSPOOL_INLINE Vec<T> finish_log(LogParts<T> p, Vec<T> c) {
  using F = FloatFormat<T>;
  const Vec<T> s = p.f / (p.f + Vec<T>(2.0)), z = s * s;
  Vec<T> q(2.0 / (2 * F::kLogTerms + 1));
#pragma GCC unroll 16
  for (int i = F::kLogTerms - 1; i >= 1; --i) q = fma(q, z, Vec<T>(2.0 / (2 * i + 1)));
  const Vec<T> low = fma(p.k, Vec<T>(F::kLn2Lo), c);
  return p.k * Vec<T>(F::kLn2Hi) + (p.f - (s * (p.f - z * q) - low));
}

template <class T>
UNSPOOL_INLINE Vec<T> log_edges(Vec<T> x, Vec<T> y) {  // x is log's argument
  const Vec<T> inf(__builtin_inf());
  y = where(x == inf, inf, y);
  y = where(x == Vec<T>(0.0), -inf, y);
  return where((x < Vec<T>(0.0)) | (x != x), Vec<T>(__builtin_nan("")), y);
}

template <class T>
UNSPOOL_INLINE Vec<T> log(Vec<T> x) {
  return log_edges(x, finish_log(reduce_log(x), Vec<T>(0.0)));
}

// log(u) with u = 1 + x rounded, plus what the rounding lost, over u.
template <class T>
UNSPOOL_INLINE Vec<T> log1p(Vec<T> x) {
  const Vec<T> one(1.0), u = x + one;
  const Vec<T> lost = where(x > one, one - (u - x), x - (u - one));
  const Vec<T> y = log_edges(u, finish_log(reduce_log(u), lost / u));
  return where(x == Vec<T>(0.0), x, y);
}

// With e = e^(2a) - 1 and a = |x|: tanh a = e / (e + 2). Where e has no factor 2^n (a < 0.17) it is
// 2a + rest, and tanh a = a + (rest - a e) / (e + 2): the errors fall on the small term.
template <class T>
UNSPOOL_INLINE Vec<T> tanh(Vec<T> x) {
  const Vec<T> a = clamp_high(abs(x), T(FloatFormat<T>::kTanhMax / 2));
  const Expm1Parts<T> p = expm1_parts(a + a);
  const Mask<T> small = {(typename Mask<T>::Raw)(p.n == 0)};
  const Vec<T> top = where(small, p.rest - a * p.value, p.value);
  return copysign(where(small, a, Vec<T>(0.0)) + top / (p.value + Vec<T>(2.0)), x);
}

// e = e^-|x| never overflows, and the quotient keeps subnormal results. `lost` is what rounding the
// denominator d dropped; 1 / d is the quotient itself, or 1 minus it.
template <class T>
UNSPOOL_INLINE Vec<T> sigmoid(Vec<T> x) {
  const Vec<T> one(1.0), e = exp(-abs(x)), d = one + e, lost = e - (d - one);
  const Mask<T> negative = x < Vec<T>(0.0);
  const Vec<T> q = where(negative, e, one) / d;
  return q - q * (lost * where(negative, one - q, q));
}

UNSPOOL_INLINE Vec<float> pow(Vec<float> a, Vec<float> b) {
  return lanes(a, b, [](float x, float y) { return __builtin_powf(x, y); });
}
UNSPOOL_INLINE Vec<double> pow(Vec<double> a, Vec<double> b) {
  return lanes(a, b, [](double x, double y) { return __builtin_pow(x, y); });
}
UNSPOOL_MIXED(Vec, pow)

}  // namespace
}  // namespace unspool
