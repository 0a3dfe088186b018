// exp, log, expm1, log1p, tanh, sigmoid, erf and pow on Vec<float> and Vec<double>.
//
// Each is one branch-free formula, written once for both types: argument reduction, a Taylor series on
// the small remainder (erf: and a polynomial through Chebyshev's points), reconstruction. The series is long
// enough that cutting it costs less than 0.1 ULP. Measured against long double
// (tests/native/test_kernels_math.cpp): below 2 ULP everywhere, subnormals included, with IEEE's answers for
// zeros, infinities and NaN. pow asks the C library, lane by lane, in tails too, so an element has the same
// bits wherever it stands.
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
  static constexpr int kExpTerms = 7, kLogTerms = 5, kErfTerms = 11;
  static constexpr float kErfMax = 4;  // past this: 1
  static constexpr double kLogErfc[] = {
      -1.84960550685351578,    -2.63896769958399944,    -8.43104741576255688e-1,
      -4.15757403605161104e-2, 1.00778080291441818e-2,  -2.05430095655732773e-3,
      3.20239566445073271e-4,  -3.29608313724406307e-5, 1.63715141459364356e-6};
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
  static constexpr int kExpTerms = 13, kLogTerms = 11, kErfTerms = 20;
  static constexpr double kErfMax = 6;
  static constexpr double kLogErfc[] = {
      -1.84960550993324823,    -2.63896751423479487,     -8.43107256358327461e-1, -4.15610980493803759e-2,
      1.00338254626349712e-2,  -1.97790319862283275e-3,  2.37325471156465264e-4,  2.6267990577569252e-5,
      -2.71355092729947713e-5, 9.56717624935118188e-6,   -2.00420769995076345e-6, 8.6464723543393275e-8,
      1.41529708604259635e-7,  -7.846484305037978e-8,    2.71481067457232579e-8,  -7.21726717403643779e-9,
      1.5518802262158816e-9,   -2.73364079728565373e-10, 3.93097068542452113e-11, -4.55053323085344472e-12,
      4.13926776614422815e-13, -2.84781268481021645e-14, 1.39208492321294026e-15, -4.30484011349800515e-17,
      6.32552058871849272e-19};
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
// 2a + rest, and tanh a = a + (rest - a e) / (e + 2): the errors fall on the small term. `lost` is what
// rounding the denominator dropped, 1 / (e + 2) is (1 - tanh a) / 2; without that correction the generic set
// was 2.02 ULP off.
template <class T>
UNSPOOL_INLINE Vec<T> tanh(Vec<T> x) {
  const Vec<T> a = clamp_high(abs(x), T(FloatFormat<T>::kTanhMax / 2));
  const Expm1Parts<T> p = expm1_parts(a + a);
  const Mask<T> small = {(typename Mask<T>::Raw)(p.n == 0)};
  const Vec<T> top = where(small, p.rest - a * p.value, p.value), first = where(small, a, Vec<T>(0.0));
  const Vec<T> two(2.0), d = p.value + two, q = top / d;
  const Vec<T> lost = where(p.value < two, p.value - (d - two), two - (d - p.value));
  return copysign(first + (q - q * (lost * (Vec<T>(0.5) - (first + q) * Vec<T>(0.5)))), x);
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

// Below 1 the Taylor series of erf(x)/x; above, 1 - erfc(a) with ln erfc a polynomial in a - 1, interpolated
// at Chebyshev's points of [1, kErfMax] and off by less than 0.03 ULP of the result. erfc counts most where a
// is near 1, and there the polynomial rounds as its first two terms do; around the middle of the interval it
// was 2.2 ULP off.
template <class T>
UNSPOOL_INLINE Vec<T> erf(Vec<T> x) {
  using F = FloatFormat<T>;
  // 2/sqrt(pi) (-1)^k / (k! (2k + 1)), less 1 in the first.
  static constexpr double kSeries[] = {
      1.28379167095512574e-1,  -3.76126389031837525e-1,  1.12837916709551257e-1,  -2.68661706451312518e-2,
      5.22397762544218784e-3,  -8.54832702345085283e-4,  1.20553329817896643e-4,  -1.4925650358406251e-5,
      1.64621143658892474e-6,  -1.63658446912349243e-7,  1.48071928158792172e-8,  -1.22905553017179274e-9,
      9.42275906465041097e-11, -6.71136685516411038e-12, 4.46322426328647734e-13, -2.78351620721092135e-14,
      1.63426140953671519e-15, -9.06397084280867248e-17, 4.76334804051506812e-18, -2.37845988527742943e-19,
      1.13121872592463107e-20};
  const Vec<T> a = abs(x), z = x * x, u = clamp_high(a, F::kErfMax) - Vec<T>(1.0);
  Vec<T> q(kSeries[F::kErfTerms]);
#pragma GCC unroll 32
  for (int i = F::kErfTerms - 1; i >= 0; --i) q = fma(q, z, Vec<T>(kSeries[i]));
  constexpr int kTop = sizeof F::kLogErfc / sizeof(double) - 1;
  Vec<T> p(F::kLogErfc[kTop]);
#pragma GCC unroll 32
  for (int i = kTop - 1; i >= 0; --i) p = fma(p, u, Vec<T>(F::kLogErfc[i]));
  const Vec<T> far = copysign(Vec<T>(1.0) - exp(p), x);
  return where(a > Vec<T>(1.0), far, fma(q, x, x));
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
