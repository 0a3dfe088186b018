// Integers, orders of integers, and zeros and ones: randint, random_, randperm, bernoulli. Of the rules the
// same holds as of those in random_fill.cpp.
#include <algorithm>
#include <bit>
#include <limits>
#include <memory>
#include <type_traits>
#include <utility>

#include "unspool/kernels/table.h"
#include "unspool/ops/random_draw.h"
#include "unspool/ops/random_fill.h"

namespace unspool {
namespace {

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

}  // namespace

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
        draw_one(generator, u);
        to[o] = static_cast<T>(u < probability[q]);
      });
    });
  });
}

}  // namespace unspool
