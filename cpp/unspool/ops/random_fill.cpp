// How the engine's words become numbers. Every rule below was compared with PyTorch 2.13 (CPU,
// x86-64) bit by bit; where a choice looks arbitrary, it is PyTorch's.
// In order: writing in memory order, uniforms, the two normal algorithms, integers, the rest.
#include "unspool/ops/random_fill.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>

#include "unspool/base/error.h"
#include "unspool/kernels/table.h"
#include "unspool/ops/box_muller.h"

namespace unspool {
namespace {

constexpr std::int64_t kChunk = 512;  // words or values drawn at once: all of it stays in L1
constexpr double kTwoPi = 6.283185307179586476925286766559;

// As C++ streams print a double, and so as PyTorch's messages do: "1", "0.5", "3e+38".
std::string text(double x) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%g", x);
  return buffer;
}

void check_floating(const char* op, const View& v) {
  if (!is_floating(v.dtype))
    fail(ErrorKind::DType, op, ": a floating dtype is needed; the tensor has dtype ", name(v.dtype));
}

// ---- Writing in memory order ------------------------------------------------------------------

// The dims of a view from the largest stride to the smallest, merged where they continue each other.
struct Walk {
  int ndim = 0;
  std::int64_t numel = 1;
  std::int64_t size[kMaxDims];
  std::int64_t stride[kMaxDims];
  int order[kMaxDims];  // the view's own dims in that order, before merging; those of size 1 left out
  int rank = 0;
  bool row_major = true;  // memory order is index order (gaps allowed)
};

Walk memory_order(const char* op, const View& v) {
  Walk w;
  w.numel = v.numel();
  if (w.numel == 0) return w;
  for (int d = 0; d < v.shape.ndim; ++d) {
    if (v.shape[d] == 1) continue;
    if (v.strides[d] == 0)
      fail(
          ErrorKind::Runtime, op,
          ": unsupported operation: more than one element of the written-to tensor refers to a single memory "
          "location; shape ",
          v.shape, ", strides ", v.strides);
    int at = w.rank++;
    for (; at > 0 && std::abs(v.strides[w.order[at - 1]]) < std::abs(v.strides[d]); --at) {
      w.order[at] = w.order[at - 1];
      w.row_major = false;
    }
    w.order[at] = d;
  }
  for (int i = 0; i < w.rank; ++i) {
    const std::int64_t size = v.shape[w.order[i]], stride = v.strides[w.order[i]];
    if (w.ndim > 0 && w.stride[w.ndim - 1] == size * stride) {
      w.size[w.ndim - 1] *= size;
      w.stride[w.ndim - 1] = stride;
    } else {
      w.size[w.ndim] = size;
      w.stride[w.ndim++] = stride;
    }
  }
  return w;
}

// Lets draw(T* to, int64 n) produce the elements of v, in memory order and a few at a time.
template <class T, class Draw>
void write(const Walk& w, void* data, Draw&& draw) {
  T* const base = static_cast<T*>(data);
  if (w.numel == 0) return;
  if (w.ndim == 0 || (w.ndim == 1 && w.stride[0] == 1)) return draw(base, w.numel);
  T values[kChunk];
  std::int64_t have = 0, used = 0, left = w.numel;
  std::int64_t index[kMaxDims] = {};
  const int inner = w.ndim - 1;
  T* row = base;
  while (left > 0) {
    for (std::int64_t i = 0; i < w.size[inner]; ++i) {
      if (used == have) {
        have = std::min(left, kChunk);
        used = 0;
        draw(values, have);
      }
      row[i * w.stride[inner]] = values[used++];
      --left;
    }
    for (int d = inner - 1; d >= 0; --d) {
      row += w.stride[d];
      if (++index[d] < w.size[d]) break;
      row -= w.size[d] * w.stride[d];
      index[d] = 0;
    }
  }
}

// The 16-bit types take their numbers from floats, rounded.
template <class Fill>
void write_halves(const char* op, const View& out, Fill&& fill) {
  const Walk walk = memory_order(op, out);
  auto floats = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(walk.numel));
  fill(View{floats.get(), DType::Float32, {walk.numel}, {1}});
  const float* from = floats.get();
  visit_half(out.dtype, [&]<class H>() {
    write<H>(walk, out.data, [&](H* x, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) x[i] = H(*from++);
    });
  });
}

// ---- Uniforms ---------------------------------------------------------------------------------

// [0, 1): the low 24 bits of a word.
void draw_unit(Generator& g, float* out, std::int64_t n) {
  std::uint32_t words[kChunk];
  for (std::int64_t at = 0; at < n; at += kChunk) {
    const std::int64_t count = std::min(kChunk, n - at);
    g.fill32(words, count);
    for (std::int64_t i = 0; i < count; ++i)
      out[at + i] = static_cast<float>(static_cast<std::int32_t>(words[i] & 0xffffffu)) * 0x1p-24f;
  }
}

// [0, 1): the low 53 bits of two words, high word first. Both halves and their sum are exact doubles.
void draw_unit(Generator& g, double* out, std::int64_t n) {
  std::uint32_t words[2 * kChunk];
  for (std::int64_t at = 0; at < n; at += kChunk) {
    const std::int64_t count = std::min(kChunk, n - at);
    g.fill32(words, 2 * count);
    for (std::int64_t i = 0; i < count; ++i) {
      const double high = static_cast<double>(static_cast<std::int32_t>(words[2 * i] & 0x1fffffu));
      // Through a signed word, which the baseline instruction set converts in vectors.
      const double low =
          static_cast<double>(static_cast<std::int32_t>(words[2 * i + 1] ^ 0x80000000u)) + 0x1p31;
      out[at + i] = (high * 0x1p32 + low) * 0x1p-53;
    }
  }
}

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

// ---- Normals ----------------------------------------------------------------------------------

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

// ---- Integers ---------------------------------------------------------------------------------

// Ranges of 2^28 and more take a 64-bit draw (not 2^32: the remainder would be skewed by up to 1/16
// just below it). Range 0 stands for 2^64.
template <class T>
void draw_integers(Generator& g, T* out, std::int64_t n, std::uint64_t range, std::int64_t low) {
  const std::uint64_t base = static_cast<std::uint64_t>(low);
  auto convert = [](std::uint64_t x) { return static_cast<T>(static_cast<std::int64_t>(x)); };
  if (range == 0) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = convert(g.next64());
  } else if (range >= (std::uint64_t{1} << 28)) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = convert(g.next64() % range + base);
  } else {
    const std::uint32_t narrow = static_cast<std::uint32_t>(range);
    for (std::int64_t i = 0; i < n; ++i) out[i] = convert(g.next32() % narrow + base);
  }
}

// The largest value that random_() gives; for floats the last of the consecutive integers.
template <class T>
constexpr std::int64_t largest() {
  if constexpr (std::is_floating_point_v<T>)
    return std::int64_t{1} << std::numeric_limits<T>::digits;
  else
    return static_cast<std::int64_t>(std::numeric_limits<T>::max());
}

// The integer that x becomes in T. Where T rounds it up to 2^63 the answer is the smallest integer:
// what x86's conversion gives and the callers' comparisons expect.
template <class T>
std::int64_t through(std::int64_t x) {
  const T y = static_cast<T>(x);
  return y >= static_cast<T>(0x1p63) ? std::numeric_limits<std::int64_t>::min()
                                     : static_cast<std::int64_t>(y);
}

// Moves bounds inwards where T is too coarse for them, so that no draw is rounded out of [low, high).
template <class T>
void fit_bounds(std::int64_t& low, std::int64_t* high) {
  auto step = [](std::int64_t x) {
    const std::uint64_t magnitude = static_cast<std::uint64_t>(x < 0 ? -x : x);
    const int beyond = static_cast<int>(std::bit_width(magnitude)) - std::numeric_limits<T>::digits;
    return std::int64_t{1} << std::max(beyond, 0);
  };
  const std::int64_t first = through<T>(low + 1);
  if (first < low) low = first + step(low + 1);
  if (high != nullptr) {
    const std::int64_t last = through<T>(*high - 1);
    if (last >= *high) *high = last - step(*high - 1);
  }
}

template <class T>
void check_integer(const char* what, std::int64_t x, DType dtype) {
  bool inside = true;  // every int64 is within the floats' range
  if constexpr (!std::is_floating_point_v<T>)
    inside = x >= static_cast<std::int64_t>(std::numeric_limits<T>::lowest()) &&
             x <= static_cast<std::int64_t>(std::numeric_limits<T>::max());
  if (!inside)
    fail(ErrorKind::Runtime, "random_: ", what, " is out of bounds for ", name(dtype), "; found ", x);
}

// ---- Truncated normals ------------------------------------------------------------------------

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

void fill_randint(Generator& generator, const View& out, std::int64_t low, std::optional<std::int64_t> high) {
  if (high && low >= *high)
    fail(ErrorKind::Runtime, "random_: expects 'from' to be less than 'to', but got from=", low,
         " >= to=", *high);
  if (is_half(out.dtype))
    return write_halves("random_", out, [&](const View& v) { fill_randint(generator, v, low, high); });
  visit_dtype(out.dtype, [&]<class T>() {
    constexpr bool kWide = std::is_floating_point_v<T> || std::is_same_v<T, std::int64_t>;
    std::uint64_t range = 0;
    if (high || low != std::numeric_limits<std::int64_t>::min()) {
      std::int64_t last = largest<T>();
      if constexpr (std::is_floating_point_v<T>) {
        fit_bounds<T>(low, high ? &*high : nullptr);
        if (high ? low >= *high : low >= last)
          fail(ErrorKind::Runtime,
               "random_: expects 'from' casted to dtype to be less than 'to' casted to dtype; ",
               "the dtype is ", name(out.dtype), ", but got from=", low, " >= to=", high ? *high : last);
      }
      if (high) last = *high - 1;
      check_integer<T>("from", low, out.dtype);
      check_integer<T>("to - 1", last, out.dtype);
      range = static_cast<std::uint64_t>(last) - static_cast<std::uint64_t>(low) + 1;
    } else if (!kWide && out.numel() > 0) {
      fail(ErrorKind::Runtime,
           "random_: the full 64-bit range needs int64, float32 or float64; the tensor has dtype ",
           name(out.dtype));
    }
    write<T>(memory_order("random_", out), out.data,
             [&](T* x, std::int64_t n) { draw_integers(generator, x, n, range, low); });
  });
}

void fill_random(Generator& generator, const View& out) {
  if (is_half(out.dtype))
    return write_halves("random_", out, [&](const View& v) { fill_random(generator, v); });
  visit_dtype(out.dtype, [&]<class T>() {
    // The range holds the largest value; 8-byte types take two words, the others one, whatever the range.
    constexpr std::uint64_t kRange = static_cast<std::uint64_t>(largest<T>()) + 1;
    write<T>(memory_order("random_", out), out.data, [&](T* x, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) {
        const std::uint64_t word = sizeof(T) == 8 ? generator.next64() : generator.next32();
        x[i] = static_cast<T>(word % kRange);
      }
    });
  });
}

void fill_randperm(Generator& generator, std::int64_t* out, std::int64_t n) {
  if (n < 0) fail(ErrorKind::Runtime, "randperm: n must be non-negative, but got n=", n);
  // From here on 32 bits would make the remainder visibly uneven, and the order of swaps changes too.
  constexpr std::int64_t kWideDraws = std::numeric_limits<std::uint32_t>::max() / 20;
  if (n >= kWideDraws) {
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t z =
          static_cast<std::int64_t>(generator.next64() % static_cast<std::uint64_t>(i + 1));
      out[i] = i;
      out[i] = out[z];
      out[z] = i;
    }
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) out[i] = i;
  for (std::int64_t i = 0; i + 1 < n; ++i) {
    const std::uint32_t z = generator.next32() % static_cast<std::uint32_t>(n - i);
    std::swap(out[i], out[i + z]);
  }
}

// The same draws stand behind dropout: its mask is bernoulli_(1 - p), so PyTorch 2.13's dropout is
// reproducible too. (PyTorch builds that link Intel's VSL took this one from another generator.)
void fill_bernoulli(Generator& generator, const View& out, double p) {
  if (!(p >= 0.0 && p <= 1.0))
    fail(ErrorKind::Runtime, "bernoulli_: expects p to be in [0, 1], but got p=", text(p));
  if (is_half(out.dtype))
    return write_halves("bernoulli_", out, [&](const View& v) { fill_bernoulli(generator, v, p); });
  visit_dtype(out.dtype, [&]<class T>() {
    write<T>(memory_order("bernoulli_", out), out.data, [&](T* x, std::int64_t n) {
      double u[kChunk];
      for (std::int64_t at = 0; at < n; at += kChunk) {
        const std::int64_t count = std::min(kChunk, n - at);
        draw_unit(generator, u, count);
        for (std::int64_t i = 0; i < count; ++i) x[at + i] = static_cast<T>(u[i] < p);
      }
    });
  });
}

void fill_bernoulli(Generator& generator, const View& out, const View& p) {
  if (!is_floating(p.dtype))
    fail(ErrorKind::DType, "bernoulli: probabilities need a floating dtype; p has dtype ", name(p.dtype));
  if (!(p.shape == out.shape))
    fail(ErrorKind::Shape, "bernoulli: p must have the output's shape; p has shape ", p.shape,
         ", the output has shape ", out.shape);
  const Walk walk = memory_order("bernoulli", out);
  if (walk.numel == 0) return;
  if (is_half(out.dtype)) {
    auto floats = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(walk.numel));
    const View dense{floats.get(), DType::Float32, out.shape, contiguous_strides(out.shape)};
    fill_bernoulli(generator, dense, p);
    kernels().copy(out, dense);
    return;
  }
  auto each = [&](auto&& visit) {  // visit(offset in out, offset in p), in the order of out's memory
    std::int64_t index[kMaxDims] = {};
    std::int64_t o = 0, q = 0;
    for (std::int64_t left = walk.numel; left > 0; --left) {
      visit(o, q);
      for (int i = walk.rank - 1; i >= 0; --i) {
        const int d = walk.order[i];
        o += out.strides[d];
        q += p.strides[d];
        if (++index[i] < out.shape[d]) break;
        o -= out.shape[d] * out.strides[d];
        q -= out.shape[d] * p.strides[d];
        index[i] = 0;
      }
    }
  };
  visit_floating(p.dtype, [&]<class P>() {
    const P* const probability = p.as<const P>();
    each([&](std::int64_t, std::int64_t q) {
      const P x = probability[q];
      if (!(x >= 0 && x <= 1))
        fail(ErrorKind::Runtime, "bernoulli: expects every p to be in [0, 1], but found p=", text(x));
    });
    visit_dtype(out.dtype, [&]<class T>() {
      T* const to = out.as<T>();
      each([&](std::int64_t o, std::int64_t q) {
        P u;
        draw_unit(generator, &u, 1);
        to[o] = static_cast<T>(u < probability[q]);
      });
    });
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
