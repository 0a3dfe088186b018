// Uniform and normal numbers, truncated normals too. Every rule here and in random_integers.cpp was compared
// with PyTorch 2.13 (CPU, x86-64) bit by bit; where a choice looks arbitrary, it is PyTorch's.
#include "unspool/ops/random_fill.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>

#include "unspool/ops/box_muller.h"
#include "unspool/ops/random_draw.h"

namespace unspool {
namespace {

constexpr double kTwoPi = 6.283185307179586476925286766559;

// ---- Uniforms ------------------------------------------------------------------------------------------

template <class T>
void draw_uniform(Generator& g, T* out, std::int64_t n, double from, double to) {
  draw_unit(g, out, n);
  if (from != 0.0 || to != 1.0) stretch(out, n, static_cast<T>(from), static_cast<T>(to));
}

template <class T>
void check_bounds(const char* op, DType dtype, double from, double to) {
  constexpr double kMax = std::numeric_limits<T>::max();
  if (!(from >= -kMax && from <= kMax))
    fail(ErrorKind::Runtime, op, ": from is out of bounds for ", name(dtype), "; found from=", text(from));
  if (!(to >= -kMax && to <= kMax))
    fail(ErrorKind::Runtime, op, ": to is out of bounds for ", name(dtype), "; found to=", text(to));
  if (!(from <= to))
    fail(ErrorKind::Runtime, op, ": expects to return a [from, to) range, but found from=", text(from),
         " > to=", text(to));
  if (!(to - from <= kMax))
    fail(ErrorKind::Runtime, op, ": expects to - from to be at most the largest ", name(dtype),
         ", but found to=", text(to), " and from=", text(from));
}

// ---- Normals -------------------------------------------------------------------------------------------

void check_std(const char* op, double std) {
  if (!(std >= 0.0)) fail(ErrorKind::Runtime, op, ": expects std >= 0.0, but found std ", text(std));
}

// 16 elements or more, contiguous. A length that is no multiple of 16 draws uniforms for all of it,
// transforms the full blocks, then draws the last 16 elements once more and transforms those.
template <class T>
void draw_normal_blocks(Generator& g, T* out, std::int64_t n, double mean, double std) {
  const T m = static_cast<T>(mean), s = static_cast<T>(std);
  for (std::int64_t at = 0; at < n; at += kChunk) {
    const std::int64_t count = std::min(kChunk, n - at);
    draw_unit(g, out + at, count);
    box_muller(out + at, count / 16, m, s);
  }
  if (n % 16 != 0) {
    draw_unit(g, out + n - 16, 16);
    box_muller(out + n - 16, 1, m, s);
  }
}

// Everything else: one by one in float64, whatever the dtype. A pair takes two float64 uniforms; its
// second value stays with the generator for the next scalar draw of any tensor. Roles of u1 and u2
// and log1p differ from the block algorithm's: the same seed gives other numbers for 15 and for 16.
template <class T>
void draw_normal_scalars(Generator& g, T* out, std::int64_t n, double mean, double std) {
  for (std::int64_t i = 0; i < n; ++i) {
    std::optional<double> z = g.take_normal();
    if (!z) {
      double u[2] = {};
      draw_unit(g, u, 2);
      const double radius = std::sqrt(-2.0 * std::log1p(-u[1])), angle = kTwoPi * u[0];
      g.keep_normal(radius * std::sin(angle));
      z = radius * std::cos(angle);
    }
    out[i] = static_cast<T>(std::fma(*z, std, mean));
  }
}

template <class T>
void draw_normal(Generator& g, T* out, std::int64_t n, double mean, double std, bool contiguous) {
  if (n >= 16 && contiguous)
    draw_normal_blocks(g, out, n, mean, std);
  else
    draw_normal_scalars(g, out, n, mean, std);
}

// ---- Truncated normals ---------------------------------------------------------------------------------

// Most of the mass lies in [a, b]: draw all, then draw all again and take what replaces the misses.
template <class T>
void truncate_by_redrawing(Generator& g, T* z, std::int64_t n, double mean, double std, double a, double b,
                           bool contiguous, bool dense_contiguous) {
  const T low = static_cast<T>(a), high = static_cast<T>(b);
  auto missed = [low, high](T x) { return x < low || x > high; };
  draw_normal(g, z, n, mean, std, contiguous);
  std::unique_ptr<T[]> again;
  while (std::any_of(z, z + n, missed)) {
    if (!again) again = std::make_unique_for_overwrite<T[]>(static_cast<std::size_t>(n));
    draw_normal(g, again.get(), n, mean, std, dense_contiguous);
    for (std::int64_t i = 0; i < n; ++i)
      if (missed(z[i])) z[i] = again[i];
  }
}

// [a, b] holds a tail: uniform proposals, accepted with probability density / its peak on [a, b].
// Each product and difference is rounded to T on its own, as PyTorch's tensor operations are.
template <class T>
void truncate_by_rejection(Generator& g, T* z, std::int64_t n, double mean, double std, double a, double b) {
  const double peak = std::max(a, std::min(mean, b)), scaled = (peak - mean) / std;
  const T m = static_cast<T>(mean), s = static_cast<T>(std);
  const T log_peak = static_cast<T>(-0.5 * (scaled * scaled));
  const std::size_t count = static_cast<std::size_t>(n);
  auto proposal = std::make_unique_for_overwrite<T[]>(count);
  auto accept = std::make_unique_for_overwrite<T[]>(count);
  auto pending = std::make_unique_for_overwrite<bool[]>(count);
  std::fill_n(pending.get(), n, true);
  for (bool any = n > 0; any;) {
    draw_uniform(g, proposal.get(), n, a, b);
    draw_unit(g, accept.get(), n);
    any = false;
    for (std::int64_t i = 0; i < n; ++i) {
      if (!pending[i]) continue;
      z[i] = proposal[i];
      const T distance = (z[i] - m) / s;
      const T log_density = (distance * distance) * T(-0.5) - log_peak;
      // Through double: within half an ULP, so that a comparison differs from PyTorch's only where
      // its float logarithm is itself a last place off (about one proposal in 10^7).
      pending[i] = static_cast<T>(std::log(static_cast<double>(accept[i]))) > log_density;
      any |= pending[i];
    }
  }
}

}  // namespace

void fill_uniform(Generator& generator, const View& out, double from, double to) {
  check_floating("uniform_", out);
  if (is_half(out.dtype)) {
    return write_halves("uniform_", out, [&](const View& floats) {
      fill_uniform(generator, floats, from, to);
      // What would round up to `to` becomes `from`, as in PyTorch.
      visit_half(out.dtype, [&]<class H>() {
        float* const x = floats.as<float>();
        for (std::int64_t i = 0, n = floats.numel(); i < n; ++i)
          if (H(x[i]) == H(to)) x[i] = static_cast<float>(from);
      });
    });
  }
  visit_floating(out.dtype, [&]<class T>() {
    check_bounds<T>("uniform_", out.dtype, from, to);
    write<T>(memory_order("uniform_", out), out.data,
             [&](T* x, std::int64_t n) { draw_uniform(generator, x, n, from, to); });
  });
}

void fill_normal(Generator& generator, const View& out, double mean, double std) {
  check_floating("normal_", out);
  check_std("normal_", std);
  if (is_half(out.dtype)) {
    // As float32's, but the last 16 numbers are drawn in place of the incomplete block, not after it.
    return write_halves("normal_", out, [&](const View& v) {
      float* const x = v.as<float>();
      const std::int64_t n = v.numel(), whole = n / 16 * 16;
      const bool blocks = n >= 16 && out.contiguous();
      draw_normal(generator, x, blocks ? whole : n, mean, std, blocks);
      if (blocks && n > whole) draw_normal(generator, x + n - 16, 16, mean, std, true);
    });
  }
  visit_floating(out.dtype, [&]<class T>() {
    const Walk walk = memory_order("normal_", out);
    if (walk.numel >= 16 && out.contiguous())
      draw_normal_blocks(generator, out.as<T>(), walk.numel, mean, std);
    else
      write<T>(walk, out.data,
               [&](T* x, std::int64_t n) { draw_normal_scalars(generator, x, n, mean, std); });
  });
}

void fill_trunc_normal(Generator& generator, const View& out, double mean, double std, double a, double b) {
  check_floating("trunc_normal_", out);
  if (std == 0.0)
    fail(ErrorKind::Runtime, "trunc_normal_: expects std other than 0, but found std ", text(std));
  auto cdf = [](double x) { return (1.0 + std::erf(x / std::sqrt(2.0))) / 2.0; };
  if (is_half(out.dtype))
    return write_halves("trunc_normal_", out,
                        [&](const View& v) { fill_trunc_normal(generator, v, mean, std, a, b); });
  const bool most = cdf((b - mean) / std) - cdf((a - mean) / std) > 0.3;  // false for NaN
  visit_floating(out.dtype, [&]<class T>() {
    if (most)
      check_std("trunc_normal_", std);
    else
      check_bounds<T>("trunc_normal_", out.dtype, a, b);
    const Walk walk = memory_order("trunc_normal_", out);
    if (walk.numel <= 0) return;
    // In memory order, so that one array stands for any strides; redraws go to a dense array, which
    // is contiguous also where `out` is a slice with gaps.
    auto z = std::make_unique_for_overwrite<T[]>(static_cast<std::size_t>(walk.numel));
    if (most)
      truncate_by_redrawing(generator, z.get(), walk.numel, mean, std, a, b, out.contiguous(),
                            walk.row_major);
    else
      truncate_by_rejection(generator, z.get(), walk.numel, mean, std, a, b);
    const T* from = z.get();
    write<T>(walk, out.data, [&](T* x, std::int64_t n) {
      std::copy(from, from + n, x);
      from += n;
    });
  });
}

}  // namespace unspool
