// The two loops of the random fills that multiply and add in one rounding.
// Each is compiled twice on x86-64: for processors with FMA, and for those without, where std::fma
// is the C library's exact and slow one. The bits are the same, so the choice is not a matter of
// instruction-set policy, only of speed.
#include "unspool/ops/box_muller.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

namespace unspool {
namespace {

constexpr double kTwoPi = 6.283185307179586476925286766559;

#define UNSPOOL_INLINE [[gnu::always_inline]] inline

// to - from and from are rounded to T first; a result that was rounded up to `to` becomes `from`.
template <class T>
UNSPOOL_INLINE void stretch_loop(T* x, std::int64_t n, T from, T to) {
  const T range = to - from;
  for (std::int64_t i = 0; i < n; ++i) {
    const T u = std::fma(x[i], range, from);
    x[i] = u == to ? from : u;
  }
}

// Natural logarithm of a positive normal float, by S. Moshier's Cephes (logf.c): x = m * 2^e with m
// in [sqrt(1/2), sqrt(2)), a polynomial in m - 1, and ln 2 in two parts. Which products are fused is
// what GCC's contraction made of PyTorch's code; each other choice changes last bits.
UNSPOOL_INLINE float log_positive(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const float half_up = std::bit_cast<float>((bits & 0x007fffffu) | 0x3f000000u);  // [0.5, 1)
  // A mask and not a branch (here and below): GCC 12 vectorises the loop only so, 6 times as fast.
  const std::uint32_t low =
      0u - static_cast<std::uint32_t>(half_up < static_cast<float>(0.707106781186547524));
  const float e = static_cast<float>(static_cast<std::int32_t>((bits >> 23) + low) - 126);
  const float x = (half_up - 1.0f) + std::bit_cast<float>(std::bit_cast<std::uint32_t>(half_up) & low);
  const float z = x * x;
  float y = static_cast<float>(7.0376836292e-2);
  y = std::fma(y, x, static_cast<float>(-1.1514610310e-1));
  y = std::fma(y, x, static_cast<float>(1.1676998740e-1));
  y = std::fma(y, x, static_cast<float>(-1.2420140846e-1));
  y = std::fma(y, x, static_cast<float>(1.4249322787e-1));
  y = std::fma(y, x, static_cast<float>(-1.6668057665e-1));
  y = std::fma(y, x, static_cast<float>(2.0000714765e-1));
  y = std::fma(y, x, static_cast<float>(-2.4999993993e-1));
  y = std::fma(y, x, static_cast<float>(3.3333331174e-1));
  y = std::fma(y * x, z, e * static_cast<float>(-2.12194440e-4));
  y = std::fma(-z, 0.5f, y);
  return std::fma(e, static_cast<float>(0.693359375), x + y);
}

// Sine and cosine of 0 <= t < 2 pi (good to 8192), Cephes (sinf.c): t minus a multiple of pi/4 that
// is subtracted in three parts, then one polynomial for each half octant.
UNSPOOL_INLINE void sin_cos(float t, float& sine, float& cosine) {
  const std::int32_t octant = (static_cast<std::int32_t>(t * static_cast<float>(1.27323954473516)) + 1) & ~1;
  const float y = static_cast<float>(octant);
  float x = std::fma(y, static_cast<float>(-0.78515625), t);
  x = std::fma(y, static_cast<float>(-2.4187564849853515625e-4), x);
  x = std::fma(y, static_cast<float>(-3.77489497744594108e-8), x);
  const float z = x * x;
  float c = static_cast<float>(2.443315711809948e-5);
  c = std::fma(c, z, static_cast<float>(-1.388731625493765e-3));
  c = std::fma(c, z, static_cast<float>(4.166664568298827e-2));
  c = std::fma(c * z, z, -(z * 0.5f)) + 1.0f;
  float s = static_cast<float>(-1.9515295891e-4);
  s = std::fma(s, z, static_cast<float>(8.3321608736e-3));
  s = std::fma(s, z, static_cast<float>(-1.6666654611e-1));
  s = std::fma(s * z, x, x);
  const std::uint32_t q = static_cast<std::uint32_t>(octant);
  const std::uint32_t sine_bits = std::bit_cast<std::uint32_t>(s),
                      cosine_bits = std::bit_cast<std::uint32_t>(c);
  const std::uint32_t swap = (sine_bits ^ cosine_bits) & (0u - ((q >> 1) & 1u));
  const std::uint32_t minus_sine = (q & 4u) << 29, minus_cosine = (~(q - 2u) & 4u) << 29;
  sine = std::bit_cast<float>(sine_bits ^ swap ^ minus_sine);
  cosine = std::bit_cast<float>(cosine_bits ^ swap ^ minus_cosine);
}

// Box-Muller on blocks of 16 uniforms: element j pairs with element j + 8. 1 - u is in (0, 1], so
// the logarithm is finite. float32 goes through the polynomials above: no C library function, so
// that the digits do not depend on the machine's libm.
UNSPOOL_INLINE void box_muller_loop(float* data, std::int64_t blocks, float mean, float std) {
  for (std::int64_t b = 0; b < blocks; ++b, data += 16) {
    float first[8], second[8];
    for (int j = 0; j < 8; ++j) {
      const float radius = std::sqrt(-2.0f * log_positive(1.0f - data[j]));
      float sine, cosine;
      sin_cos(static_cast<float>(kTwoPi) * data[j + 8], sine, cosine);
      first[j] = std::fma(radius * cosine, std, mean);
      second[j] = std::fma(radius * sine, std, mean);
    }
    std::copy(first, first + 8, data);
    std::copy(second, second + 8, data + 8);
  }
}

// float64 calls the C library, as PyTorch does.
UNSPOOL_INLINE void box_muller_loop(double* data, std::int64_t blocks, double mean, double std) {
  for (std::int64_t b = 0; b < blocks; ++b, data += 16) {
    for (int j = 0; j < 8; ++j) {
      const double radius = std::sqrt(-2.0 * std::log(1.0 - data[j]));
      const double angle = kTwoPi * data[j + 8];
      data[j] = std::fma(radius * std::cos(angle), std, mean);
      data[j + 8] = std::fma(radius * std::sin(angle), std, mean);
    }
  }
}

#if defined(__x86_64__) && !defined(__FMA__)
template <class T>
[[gnu::target("avx2,fma")]] void stretch_fma(T* x, std::int64_t n, T from, T to) {
  stretch_loop(x, n, from, to);
}
template <class T>
[[gnu::target("avx2,fma")]] void box_muller_fma(T* data, std::int64_t blocks, T mean, T std) {
  box_muller_loop(data, blocks, mean, std);
}
const bool kHasFma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif

template <class T>
void stretch_any(T* x, std::int64_t n, T from, T to) {
#if defined(__x86_64__) && !defined(__FMA__)
  if (kHasFma) return stretch_fma(x, n, from, to);
#endif
  stretch_loop(x, n, from, to);
}

template <class T>
void box_muller_any(T* data, std::int64_t blocks, T mean, T std) {
#if defined(__x86_64__) && !defined(__FMA__)
  if (kHasFma) return box_muller_fma(data, blocks, mean, std);
#endif
  box_muller_loop(data, blocks, mean, std);
}

}  // namespace

void stretch(float* x, std::int64_t n, float from, float to) { stretch_any(x, n, from, to); }
void stretch(double* x, std::int64_t n, double from, double to) { stretch_any(x, n, from, to); }
void box_muller(float* data, std::int64_t blocks, float mean, float std) {
  box_muller_any(data, blocks, mean, std);
}
void box_muller(double* data, std::int64_t blocks, double mean, double std) {
  box_muller_any(data, blocks, mean, std);
}

}  // namespace unspool
