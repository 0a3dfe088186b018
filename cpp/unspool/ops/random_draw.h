// What every fill needs (random_fill.cpp, random_integers.cpp): numbers in [0, 1) from the engine's words,
// written in memory order. Start at write() and draw_unit().
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "unspool/base/error.h"
#include "unspool/base/random.h"
#include "unspool/kernels/view.h"

namespace unspool {

inline constexpr std::int64_t kChunk = 512;  // words or values drawn at once: all of it stays in L1

// As C++ streams print a double, and so as PyTorch's messages do: "1", "0.5", "3e+38".
std::string text(double x);

inline void check_floating(const char* op, const View& v) {
  if (!is_floating(v.dtype))
    fail(ErrorKind::DType, op, ": a floating dtype is needed; the tensor has dtype ", name(v.dtype));
}

// ---- Writing in memory order ---------------------------------------------------------------------------

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

Walk memory_order(const char* op, const View& v);

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

// ---- Words as numbers ----------------------------------------------------------------------------------

inline float unit_of(std::uint32_t word) {
  return static_cast<float>(static_cast<std::int32_t>(word & 0xffffffu)) * 0x1p-24f;
}
inline double unit_of(std::uint32_t first, std::uint32_t second) {
  const double high = static_cast<double>(static_cast<std::int32_t>(first & 0x1fffffu));
  // Through a signed word, which the baseline instruction set converts in vectors.
  const double low = static_cast<double>(static_cast<std::int32_t>(second ^ 0x80000000u)) + 0x1p31;
  return (high * 0x1p32 + low) * 0x1p-53;
}

// Of [0, 1): 24 bits of one word, or 53 bits of two.
void draw_unit(Generator& g, float* out, std::int64_t n);
void draw_unit(Generator& g, double* out, std::int64_t n);
// The same for one number.
inline void draw_one(Generator& g, float& out) { out = unit_of(g.next32()); }
inline void draw_one(Generator& g, double& out) {
  const std::uint32_t first = g.next32();
  out = unit_of(first, g.next32());
}

}  // namespace unspool
