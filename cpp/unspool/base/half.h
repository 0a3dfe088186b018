// The two 16-bit floating types, as storage: a number is read as a float and written rounded to the nearest,
// ties to even. Everything is always inlined, since kernels of every instruction set use it (see simd.h).
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

namespace unspool {

// IEEE binary16: 5 bits of exponent, 10 of fraction.
struct float16 {
  std::uint16_t bits;

  float16() = default;
  template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
  [[gnu::always_inline]] float16(T x) : bits(rounded(static_cast<float>(x))) {}

  [[gnu::always_inline]] operator float() const {
    // The exponent moves from bias 15 to 127, and once more for inf and NaN. A subnormal is its fraction in
    // steps of 2^-24, by arithmetic on normal floats: optimizer updates run where subnormal ones count as 0.
    const std::uint32_t magnitude = bits & 0x7fffu;
    const std::uint32_t rebased = (magnitude << 13) + (magnitude < 0x7c00u ? 0x38000000u : 0x70000000u);
    const float subnormal = static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24f;
    const std::uint32_t whole = magnitude < 0x400u ? __builtin_bit_cast(std::uint32_t, subnormal) : rebased;
    return __builtin_bit_cast(float, whole | std::uint32_t{bits & 0x8000u} << 16);
  }

 private:
  [[gnu::always_inline]] static std::uint16_t rounded(float x) {
    const std::uint32_t u = __builtin_bit_cast(std::uint32_t, x), magnitude = u & 0x7fffffffu;
    // Below 2^-14 the sum with 0.5 leaves the subnormal's fraction, rounded, in the last bits.
    const std::uint32_t tiny =
        __builtin_bit_cast(std::uint32_t, __builtin_bit_cast(float, magnitude) + 0.5f) - 0x3f000000u;
    const std::uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1)) >> 13;
    std::uint32_t y = magnitude < 0x38800000u ? tiny : normal;
    y = magnitude >= 0x477ff000u ? 0x7c00u : y;  // half a step above the largest finite one: inf
    y = magnitude > 0x7f800000u ? 0x7e00u : y;
    return static_cast<std::uint16_t>(y | (u >> 16 & 0x8000u));
  }
};

// The upper half of a float: 8 bits of exponent, 7 of fraction.
struct bfloat16 {
  std::uint16_t bits;

  bfloat16() = default;
  template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
  [[gnu::always_inline]] bfloat16(T x) : bits(rounded(static_cast<float>(x))) {}

  [[gnu::always_inline]] operator float() const {
    return __builtin_bit_cast(float, std::uint32_t{bits} << 16);
  }

 private:
  [[gnu::always_inline]] static std::uint16_t rounded(float x) {
    const std::uint32_t u = __builtin_bit_cast(std::uint32_t, x);
    const std::uint32_t near = (u + 0x7fffu + ((u >> 16) & 1)) >> 16;
    return static_cast<std::uint16_t>(x != x ? 0x7fc0u : near);
  }
};

template <class T>
inline constexpr bool is_half_v = std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>;

}  // namespace unspool
