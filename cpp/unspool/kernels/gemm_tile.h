// The GEMM's micro-kernel: a tile of C held in registers over a stretch of k, and what is done to it
// after the last k. gemm.h cuts the problem into tiles; start there.
//
// Register budget, R rows × V vectors: R·V accumulators, V vectors of B, one broadcast of A.
//   AVX-512 (32 registers): 8×3 = 24 + 3 + 1. Per k: 3 loads + 8 broadcasts feed 24 FMAs (12 cycles).
//   AVX2 (16): 6×2 = 12 + 2 + 1.      Generic (16): 2×4 + 4 + 1, and one for the product.
// A tile's columns are whole bytes of a ReLU mask, of doubles too: so the generic tile is not 4×2.
#pragma once

#include "unspool/kernels/simd.h"

namespace unspool {
namespace {

#if defined(__AVX512F__)
constexpr int kTileRows = 8, kTileVecs = 3;
#elif defined(__AVX2__)
constexpr int kTileRows = 6, kTileVecs = 2;
#else
constexpr int kTileRows = 2, kTileVecs = 4;
#endif

#define UNSPOOL_LAMBDA __attribute__((always_inline))

template <int I>
struct Index {
  static constexpr int value = I;
};
// f(Index<0>), … f(Index<N - 1>): unrolled whatever the compiler's mood, so that arrays indexed by them
// live in registers.
template <int N, class F>
UNSPOOL_INLINE void unrolled(const F& f) {
  if constexpr (N > 0) {
    unrolled<N - 1>(f);
    f(Index<N - 1>{});
  }
}

// One tile's work. a and b stand at its first row, column and k.
template <class T>
struct Tile {
  const T* a;
  int64_t a_row, a_col;
  const T* b;  // columns contiguous
  int64_t b_row;
  int64_t k;
  int64_t columns;  // valid ones in the tile
  const T* start;   // accumulators of the k before, or nullptr: 0
  int64_t start_row;
  T* raw;  // where to leave the accumulators for the k to come, or nullptr: finish
  int64_t raw_row;
  T* c;
  int64_t c_row, c_col;
  const T* bias;  // or nullptr
  int64_t bias_row, bias_col;
  bool accumulate;
  bool relu;
  uint8_t* mask;       // where the tile's first bit goes, or nullptr
  int64_t mask_row;    // in bytes
  int64_t mask_bytes;  // of a row; the last tile of a row fills its last word up with zeros
};

// The bits of a tile's row. Tiles begin at whole bytes, so no two of them share one (x86 and ARM keep the
// lowest bits of a word in its first byte).
UNSPOOL_INLINE void store_bits(uint8_t* to, uint64_t bits, int64_t columns, int64_t bytes) {
  bits &= ~uint64_t{0} >> (64 - columns);  // lanes past the end may hold anything
  for (int64_t i = 0; i < bytes; ++i, bits >>= 8) to[i] = static_cast<uint8_t>(bits);
}

// Applies bias, accumulation and ReLU to one row, each with its own rounding, and stores it: lane by lane,
// for a C that is not contiguous along the row. The same operations, so the same bits.
template <class T>
inline void finish_scattered(const Tile<T>& t, int64_t row, const T* acc) {
  uint64_t bits = 0;
  for (int64_t j = 0; j < t.columns; ++j) {
    T x = acc[j];
    if (t.bias != nullptr) x += t.bias[row * t.bias_row + j * t.bias_col];
    T* c = t.c + row * t.c_row + j * t.c_col;
    if (t.accumulate) x = *c + x;
    bits |= static_cast<uint64_t>(!(x <= 0)) << j;
    *c = t.relu && x < 0 ? 0 : x;
  }
  if (t.mask != nullptr) store_bits(t.mask + row * t.mask_row, bits, t.columns, t.mask_bytes);
}

template <class T, int R, int V, bool kTail>
inline void tile(const Tile<T>& t) {
  constexpr int L = Vec<T>::kLanes;
  const int64_t last = t.columns - (V - 1) * L;  // columns in the last vector, when kTail
  using Raw = typename Vec<T>::Raw;
  auto load = [&](const T* p, auto v) UNSPOOL_LAMBDA {
    if constexpr (kTail && v.value == V - 1)
      return Vec<T>::load(p + v.value * L, last);
    else
      return Vec<T>::load(p + v.value * L);
  };
  auto store = [&](Vec<T> x, T* p, auto v) UNSPOOL_LAMBDA {
    if constexpr (kTail && v.value == V - 1)
      x.store(p + v.value * L, last);
    else
      x.store(p + v.value * L);
  };
  Raw acc[R][V];
  if (t.start != nullptr)
    unrolled<R>([&](auto r) UNSPOOL_LAMBDA {
      unrolled<V>([&](auto v)
                      UNSPOOL_LAMBDA { acc[r.value][v.value] = load(t.start + r.value * t.start_row, v).v; });
    });
  else
    unrolled<R>([&](auto r) UNSPOOL_LAMBDA {
      unrolled<V>([&](auto v) UNSPOOL_LAMBDA { acc[r.value][v.value] = Raw{}; });
    });

  const T* a = t.a;
  const T* b = t.b;
  const int64_t a_row = t.a_row, a_col = t.a_col, b_row = t.b_row;
  for (int64_t p = 0; p < t.k; ++p, a += a_col, b += b_row) {
    Raw bv[V];
    unrolled<V>([&](auto v) UNSPOOL_LAMBDA { bv[v.value] = load(b, v).v; });
    unrolled<R>([&](auto r) UNSPOOL_LAMBDA {
      const Vec<T> x = Vec<T>::all(a[r.value * a_row]);
      unrolled<V>([&](auto v) UNSPOOL_LAMBDA {
        acc[r.value][v.value] = fma(x, Vec<T>(bv[v.value]), Vec<T>(acc[r.value][v.value])).v;
      });
    });
  }

  if (t.raw != nullptr) {
    unrolled<R>([&](auto r) UNSPOOL_LAMBDA {
      unrolled<V>([&](auto v) UNSPOOL_LAMBDA {
        store(Vec<T>(acc[r.value][v.value]), t.raw + r.value * t.raw_row, v);
      });
    });
    return;
  }
  if (t.c_col != 1 || (t.bias != nullptr && t.bias_col != 1)) {
    unrolled<R>([&](auto r) UNSPOOL_LAMBDA {
      T row[V * L];
      unrolled<V>([&](auto v) UNSPOOL_LAMBDA { Vec<T>(acc[r.value][v.value]).store(row + v.value * L); });
      finish_scattered(t, r.value, row);
    });
    return;
  }
  const Vec<T> zero(0.0);
  unrolled<R>([&](auto r) UNSPOOL_LAMBDA {
    uint64_t bits = 0;
    unrolled<V>([&](auto v) UNSPOOL_LAMBDA {
      T* c = t.c + r.value * t.c_row;
      Vec<T> x(acc[r.value][v.value]);
      if (t.bias != nullptr) x = x + load(t.bias + r.value * t.bias_row, v);
      if (t.accumulate) x = load(c, v) + x;
      if (t.relu) {
        bits |= to_bits(!(x <= zero)) << (v.value * L);
        x = where(x < zero, zero, x);
      }
      store(x, c, v);
    });
    if (t.mask != nullptr) store_bits(t.mask + r.value * t.mask_row, bits, t.columns, t.mask_bytes);
  });
}

template <class T>
using TileFn = void (*)(const Tile<T>&);

// [rows - 1][vectors - 1][tail]
template <class T>
struct Tiles {
  TileFn<T> fn[kTileRows][kTileVecs][2];
};
template <class T, int R, int V>
constexpr void fill_tiles(Tiles<T>& tiles) {
  tiles.fn[R - 1][V - 1][0] = tile<T, R, V, false>;
  tiles.fn[R - 1][V - 1][1] = tile<T, R, V, true>;
  if constexpr (V > 1)
    fill_tiles<T, R, V - 1>(tiles);
  else if constexpr (R > 1)
    fill_tiles<T, R - 1, kTileVecs>(tiles);
}
template <class T>
constexpr Tiles<T> all_tiles() {
  Tiles<T> tiles{};
  fill_tiles<T, kTileRows, kTileVecs>(tiles);
  return tiles;
}
template <class T>
constexpr Tiles<T> kTiles = all_tiles<T>();

// Runs a tile of up to kTileRows rows × kTileVecs vectors.
template <class T>
UNSPOOL_INLINE void run_tile(const Tile<T>& t, int64_t rows) {
  constexpr int L = Vec<T>::kLanes;
  const int64_t vecs = (t.columns + L - 1) / L;
  kTiles<T>.fn[rows - 1][vecs - 1][t.columns != vecs * L](t);
}

}  // namespace
}  // namespace unspool
