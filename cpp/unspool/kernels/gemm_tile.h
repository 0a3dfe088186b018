// The GEMM's micro-kernel: a tile of C held in registers over a stretch of k, and what is done to it
// after the last k. gemm.h cuts the problem into tiles; start there.
//
// Register budget, R rows × V vectors: R·V accumulators, V vectors of B, one broadcast of A.
//   AVX-512 (32 registers): 8×3 = 24 + 3 + 1. Per k: 3 loads + 8 broadcasts feed 24 FMAs (12 cycles).
//   AVX2 (16): 6×2 = 12 + 2 + 1.      Generic (16): 2×4 + 4 + 1, and one for the product.
// A tile's columns are whole bytes of a ReLU mask, of doubles too: so the generic tile is not 4×2.
#pragma once

#include "unspool/kernels/gemm_pack.h"

namespace unspool {
namespace {

#if defined(__AVX512F__)
constexpr int kTileRows = 8, kTileVecs = 3;
#elif defined(__AVX2__)
constexpr int kTileRows = 6, kTileVecs = 2;
#else
constexpr int kTileRows = 2, kTileVecs = 4;
#endif

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

// What a tile asks for on its way, to be used next: three lines each kAheadSteps steps, `line` bytes apart,
// and from then `step` bytes on. All of it at once would hold up what the tile itself waits for
// (docs/gemm.md).
struct Ahead {
  const char* at;  // or nullptr
  int64_t line, step;
  int64_t also;  // so many bytes from each of them another one, or 0
};
constexpr int64_t kAheadSteps = 16;

// The shares that one tile after the other, of so many steps, has in `runs` of contiguous elements, `stride`
// elements apart. Tiles of few steps have none.
class Shares {
 public:
  template <class T>
  UNSPOOL_INLINE Shares(const T* from, int64_t runs, int64_t length, int64_t stride, int64_t steps)
      : now_{reinterpret_cast<const char*>(from), 64, stride * static_cast<int64_t>(sizeof(T)), 0} {
    const int64_t times = steps / kAheadSteps, lines = (length * static_cast<int64_t>(sizeof(T)) + 63) / 64;
    const int64_t bytes = now_.step;
    runs_ = times > 0 ? runs : 0;
    a_tile_ = times;
    if (lines == 1) {  // three runs at once
      a_tile_ = 3 * times;
      now_ = {now_.at, bytes, 3 * bytes, 0};
    } else if (lines > 3 && times > 0) {  // along three runs, by several tiles
      a_tile_ = 3;
      parts_ = (lines + times - 1) / times;
      now_ = {now_.at, bytes, 64, 0};
    }
    part_bytes_ = 64 * times;
    last_bytes_ = a_tile_ * bytes - (parts_ - 1) * part_bytes_;
  }
  UNSPOOL_INLINE Ahead next() {
    if (runs_ <= 0) return {};
    const Ahead share = now_;
    if (++part_ < parts_) {
      now_.at += part_bytes_;
    } else {
      part_ = 0;
      now_.at += last_bytes_;
      runs_ -= a_tile_;
    }
    return share;
  }

 private:
  Ahead now_;
  int64_t runs_, a_tile_;  // still to ask for, and those of a tile
  int64_t part_ = 0, parts_ = 1, part_bytes_, last_bytes_;
};

// The chains of one tile, or of several below each other, over a stretch of k, which is at least 1. a and b
// stand at the first row, column and k.
template <class T>
struct Tile {
  static constexpr int64_t kColumns = kTileVecs * Vec<T>::kLanes;  // at most
  int64_t tiles;
  const T* a;
  int64_t a_row, a_col, a_next;  // a_next: from a tile to the one below it
  const T* b;                    // columns contiguous
  int64_t b_row;
  int64_t k;
  int64_t columns;  // valid ones in a tile
  const T* start;   // accumulators of the k before, or nullptr: 0
  int64_t start_row;
  T* to;  // where to leave them
  int64_t to_row;
  Ahead ahead;  // for whole tiles
};

// A whole tile of so many vectors asks for B, which it has from the second cache, so many steps ahead. Of
// AVX-512's tile it is worth a percent; of AVX2's the two instructions cost more than they save
// (docs/gemm.md).
constexpr int kPrefetchVecs = 3;
constexpr int64_t kStepsAhead = 12;

// kAStep, kBStep: what a_col and b_row are where that is known; then the rows of A packed so are 1 apart.
// Tiles below each other share a call: where k is 10 or 40, what a call reads and sets up costs as much as
// the chains. Copies in the callers, of which GCC made some, are 40 kB of the wheel and no faster.
template <class T, int R, int V, bool kTail, int kAStep = 0, int kBStep = 0>
__attribute__((noinline)) inline void tile(const Tile<T>& t) {
  constexpr int L = Vec<T>::kLanes;
  const int64_t last = t.columns - (V - 1) * L;  // columns in the last vector, when kTail
  using Raw = typename Vec<T>::Raw;
  auto load = [&](const T* p, auto v) UNSPOOL_LAMBDA {
    if constexpr (kTail && v.value == V - 1)
      return Vec<T>::load(p + v.value * L, last);
    else
      return Vec<T>::load(p + v.value * L);
  };
  // All of `t` is read before the first store, which may be to it for all that the compiler knows.
  constexpr int64_t kItem = sizeof(T);
  const int64_t row = (kAStep > 1 ? 1 : t.a_row) * kItem, step = (kAStep > 0 ? kAStep : t.a_col) * kItem;
  const int64_t next = t.a_next * kItem, b_row = kBStep > 0 ? kBStep : t.b_row;
  const int64_t start_row = t.start_row, to_row = t.to_row, k = t.k;
  Ahead ahead = t.ahead;
  const char* top = reinterpret_cast<const char*>(t.a);
  const T *const b_top = t.b, *start = t.start;
  T* to = t.to;
  for (int64_t tiles = t.tiles; tiles > 0; --tiles, top += next, to += R * to_row) {
    Raw acc[R][V];
    if (start != nullptr) {
      unrolled<R>([&](auto r) UNSPOOL_LAMBDA {
        unrolled<V>([&](auto v)
                        UNSPOOL_LAMBDA { acc[r.value][v.value] = load(start + r.value * start_row, v).v; });
      });
      start += R * start_row;
    } else {
      unrolled<R>([&](auto r) UNSPOOL_LAMBDA {
        unrolled<V>([&](auto v) UNSPOOL_LAMBDA { acc[r.value][v.value] = Raw{}; });
      });
    }

    // Rows of A by threes: a pointer and an index of one or two strides each, which loads encode.
    constexpr int kBases = (R + 2) / 3;
    const char* a[kBases];
    for (int i = 0; i < kBases; ++i) a[i] = top + 3 * i * row;
    const T* b = b_top;
    auto step_once = [&]() UNSPOOL_LAMBDA {
      Raw bv[V];
      if constexpr (V == kPrefetchVecs && R == kTileRows)
        unrolled<V>([&](auto v)
                        UNSPOOL_LAMBDA { __builtin_prefetch(b + kStepsAhead * b_row + v.value * L); });
      unrolled<V>([&](auto v) UNSPOOL_LAMBDA { bv[v.value] = load(b, v).v; });
      unrolled<R>([&](auto r) UNSPOOL_LAMBDA {
        const Vec<T> x = Vec<T>::all(*reinterpret_cast<const T*>(a[r.value / 3] + r.value % 3 * row));
        unrolled<V>([&](auto v) UNSPOOL_LAMBDA {
          acc[r.value][v.value] = fma(x, Vec<T>(bv[v.value]), Vec<T>(acc[r.value][v.value])).v;
        });
      });
      for (int i = 0; i < kBases; ++i) a[i] += step;
      b += b_row;
    };
    int64_t left = k;
    if constexpr (V == kTileVecs && R == kTileRows && !kTail) {
      if (ahead.at != nullptr) {
        for (const char* soon = ahead.at; left >= kAheadSteps; left -= kAheadSteps, soon += ahead.step) {
          for (int i = 0; i < 3; ++i) __builtin_prefetch(soon + i * ahead.line, 0, 2);
          for (int i = 0; ahead.also != 0 && i < 3; ++i)
            __builtin_prefetch(soon + ahead.also + i * ahead.line, 0, 2);
          for (int64_t p = kAheadSteps; p > 0; --p) step_once();
        }
        ahead.at += R * ahead.step;
      }
    } else if (left < 1) {  // A way around the loop would cost copies of the chains, half of them in memory.
      __builtin_unreachable();
    }
// By fours: 21 instructions a step of AVX2's 6 × 2 tile for 29, which counts where another thread has its
// share of the core's decoders.
#pragma GCC unroll 4
    for (; left > 0; --left) step_once();

    unrolled<R>([&](auto r) UNSPOOL_LAMBDA {
      unrolled<V>([&](auto v) UNSPOOL_LAMBDA {
        T* const at = to + r.value * to_row + v.value * L;
        if constexpr (kTail && v.value == V - 1)
          Vec<T>(acc[r.value][v.value]).store(at, last);
        else
          Vec<T>(acc[r.value][v.value]).store(at);
      });
    });
  }
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

// The chains of tiles of up to kTileRows rows × kTileVecs vectors.
template <class T>
UNSPOOL_INLINE void run_tiles(const Tile<T>& t, int64_t rows) {
  constexpr int L = Vec<T>::kLanes;
  const int64_t vecs = (t.columns + L - 1) / L;
  if (t.columns > t.kColumns) return tile<T, 1, 8, false>(t);                   // of gemm_row
  if (rows == kTileRows && t.columns == t.kColumns && t.b_row == t.kColumns) {  // of a packed panel of B
    constexpr int kB = Tile<T>::kColumns;
    if (t.a_col == 1) return tile<T, kTileRows, kTileVecs, false, 1, kB>(t);
    if (t.a_col == kTileRows && t.a_row == 1) return tile<T, kTileRows, kTileVecs, false, kTileRows, kB>(t);
  }
  kTiles<T>.fn[rows - 1][vecs - 1][t.columns != vecs * L](t);
}

// What becomes of finished chains: the epilogue, with its pointers at the tile's first element.
template <class T>
struct Finish {
  T* c;
  int64_t c_row, c_col;
  const T* bias;  // or nullptr
  int64_t bias_row, bias_col;
  bool accumulate, relu;
  uint8_t* mask;       // where the tile's first bit goes, or nullptr
  int64_t mask_row;    // in bytes
  int64_t mask_bytes;  // of a row; the last tile of a row fills its last word up with zeros
  UNSPOOL_INLINE bool stores_only() const { return c_col == 1 && bias == nullptr && !accumulate && !relu; }
};

// The bits of a tile's row. Tiles begin at whole bytes, so no two of them share one (x86 and ARM keep the
// lowest bits of a word in its first byte).
UNSPOOL_INLINE void store_bits(uint8_t* to, uint64_t bits, int64_t columns, int64_t bytes) {
  bits &= ~uint64_t{0} >> (64 - columns);  // lanes past the end may hold anything
  if (bytes >= 8) {                        // up to 14: the end of a row's last word
    __builtin_memcpy(to, &bits, 8);
    to += 8;
    bits = 0;
  }
  for (int64_t part = 4; part > 0; part /= 2) {  // 48 columns have 6
    if ((bytes & part) == 0) continue;
    __builtin_memcpy(to, &bits, static_cast<std::size_t>(part));
    to += part;
    bits >>= 8 * part;
  }
}

// A layer's epilogue, where neighbours in a row lie side by side: a bias for all rows, and perhaps ReLU.
template <class T, bool kRelu, int V>
inline void finish_layer(const Finish<T>& f, const T* acc, int64_t rows, int64_t columns) {
  constexpr int L = Vec<T>::kLanes;
  const int64_t last = columns - (V - 1) * L;  // in the last vector
  const int64_t c_row = f.c_row, mask_row = f.mask_row, mask_bytes = f.mask_bytes;
  T* c = f.c;
  uint8_t* mask = f.mask;
  Vec<T> bias[V];
  unrolled<V - 1>([&](auto v) UNSPOOL_LAMBDA { bias[v.value] = Vec<T>::load(f.bias + v.value * L); });
  bias[V - 1] = last == L ? Vec<T>::load(f.bias + (V - 1) * L) : Vec<T>::load(f.bias + (V - 1) * L, last);
  for (int64_t r = 0; r < rows; ++r, acc += Tile<T>::kColumns, c += c_row) {
    uint64_t bits = 0;
    auto finished = [&](auto v) UNSPOOL_LAMBDA {
      const Vec<T> x = Vec<T>::load(acc + v.value * L) + bias[v.value];
      if constexpr (!kRelu) return x;
      bits |= passing(x) << v.value * L;
      return relu_of(x);
    };
    unrolled<V - 1>([&](auto v) UNSPOOL_LAMBDA { finished(v).store(c + v.value * L); });
    const Vec<T> x = finished(Index<V - 1>{});
    if (last == L)
      x.store(c + (V - 1) * L);
    else
      x.store(c + (V - 1) * L, last);
    if (kRelu && mask != nullptr) store_bits(mask + r * mask_row, bits, columns, mask_bytes);
  }
}
template <class T, bool kRelu, int V = kTileVecs>
UNSPOOL_INLINE void finish_layer_of(int64_t vecs, const Finish<T>& f, const T* acc, int64_t rows,
                                    int64_t columns) {
  if constexpr (V > 1)
    if (vecs != V) return finish_layer_of<T, kRelu, V - 1>(vecs, f, acc, rows, columns);
  finish_layer<T, kRelu, V>(f, acc, rows, columns);
}

// A narrow C, whose transpose is the product: what does not look at C is done to the chains, which are then
// turned.
template <class T>
inline void finish_turned(const Finish<T>& f, T* acc, int64_t rows, int64_t columns) {
  constexpr int64_t L = Vec<T>::kLanes;
  if (f.bias != nullptr || f.relu)
    for (int64_t r = 0; r < rows; ++r)
      for (T *x = acc + r * Tile<T>::kColumns, *end = x + columns; x < end; x += L) {
        Vec<T> y = Vec<T>::load(x);
        if (f.bias != nullptr) y = y + Vec<T>::all(f.bias[r * f.bias_row]);
        (f.relu ? relu_of(y) : y).store(x);
      }
  pack_rows(f.c, f.c_col, acc, 1, Tile<T>::kColumns, columns, rows);
}

// Bias, accumulation and ReLU, each with its own rounding. One function for all tiles, which left their
// chains in `acc`, so many rows of kColumns: unrolled into every tile it made them four times as long.
template <class T>
__attribute__((noinline)) inline void finish_tile(const Finish<T>& f, T* acc, int64_t rows, int64_t columns) {
  constexpr int64_t L = Vec<T>::kLanes;
  const int64_t vecs = (columns + L - 1) / L;  // more than a tile's in gemm_row
  if (f.c_col == 1 && f.bias != nullptr && f.bias_col == 1 && f.bias_row == 0 && !f.accumulate &&
      vecs <= kTileVecs) {
    return f.relu ? finish_layer_of<T, true>(vecs, f, acc, rows, columns)
                  : finish_layer_of<T, false>(vecs, f, acc, rows, columns);
  }
  if (f.c_row == 1 && f.mask == nullptr && (f.bias == nullptr || f.bias_col == 0) && !f.accumulate &&
      vecs <= kTileVecs)
    return finish_turned(f, acc, rows, columns);
  for (int64_t r = 0; r < rows; ++r, acc += Tile<T>::kColumns) {
    T* c = f.c + r * f.c_row;
    const T* bias = f.bias == nullptr ? nullptr : f.bias + r * f.bias_row;
    uint64_t bits = 0;
    if (f.c_col == 1 && (f.bias == nullptr || f.bias_col == 1)) {
      for (int64_t j = 0; j < columns; j += L) {
        const int64_t n = columns - j;
        Vec<T> x = Vec<T>::load(acc + j);
        if (f.bias != nullptr) x = x + (n < L ? Vec<T>::load(bias + j, n) : Vec<T>::load(bias + j));
        if (f.accumulate) x = (n < L ? Vec<T>::load(c + j, n) : Vec<T>::load(c + j)) + x;
        if (f.relu) {
          bits |= passing(x) << j;
          x = relu_of(x);
        }
        if (n < L)
          x.store(c + j, n);
        else
          x.store(c + j);
      }
    } else {  // lane by lane: the same operations, so the same bits
      for (int64_t j = 0; j < columns; ++j) {
        T x = acc[j];
        if (f.bias != nullptr) x += bias[j * f.bias_col];
        if (f.accumulate) x = c[j * f.c_col] + x;
        if (f.mask != nullptr)
          bits |= static_cast<uint64_t>(!(x <= 0)) << j;  // a row of 128 columns has none
        c[j * f.c_col] = f.relu && x < 0 ? 0 : x;
      }
    }
    if (f.mask != nullptr) store_bits(f.mask + r * f.mask_row, bits, columns, f.mask_bytes);
  }
}

// Chains over the last stretch of k, and the epilogue, of so many tiles of equally many rows, below each
// other. What is left in `t` is of no use.
template <class T>
UNSPOOL_INLINE void run_last_tiles(Tile<T>& t, Finish<T>& f, int64_t rows, int64_t tiles) {
  if (f.stores_only()) {
    t.tiles = tiles;
    t.to = f.c;
    t.to_row = f.c_row;
    return run_tiles(t, rows);
  }
  constexpr int64_t kRows = 4 * kTileRows;
  alignas(64) T acc[kRows * Tile<T>::kColumns];
  const int64_t most = kRows / rows;
  t.to = acc;
  t.to_row = Tile<T>::kColumns;
  for (;; tiles -= most) {
    t.tiles = tiles < most ? tiles : most;
    const int64_t done = rows * t.tiles;
    run_tiles(t, rows);
    finish_tile(f, acc, done, t.columns);
    if (tiles <= most) return;
    t.a += t.tiles * t.a_next;
    if (t.start != nullptr) t.start += done * t.start_row;
    f.c += done * f.c_row;
    if (f.bias != nullptr) f.bias += done * f.bias_row;
    if (f.mask != nullptr) f.mask += done * f.mask_row;
  }
}

}  // namespace
}  // namespace unspool
