// A call of the GEMM as its kernels see it, the path it takes and the blocks it is cut into. See gemm.h.
#pragma once

#include "unspool/kernels/gemm_pack.h"
#include "unspool/kernels/gemm_tile.h"
#include "unspool/kernels/table.h"

namespace unspool {
namespace {

// GemmCall with its element type, its bias as a matrix of strides, and the right to be transposed.
template <class T>
struct Product {
  int64_t m, n, k;
  const T* a;
  int64_t a_row, a_col;
  const T* b;
  int64_t b_row, b_col;
  T* c;
  int64_t c_row, c_col;
  const T* bias;
  int64_t bias_row, bias_col;
  bool accumulate, relu;
  uint64_t* relu_mask;  // nullptr in what has been transposed
  const GemmTrial* trial;
  const GemmCall* call;  // nullptr in what has been transposed

  // Whether tiles of packed panels of B read A where it lies. Rows a multiple of 4 KiB apart fall into one
  // set of the first cache, where a tile's 8 and B do not fit.
  UNSPOOL_INLINE bool a_in_place() const {
    return a_col == 1 && a_row * static_cast<int64_t>(sizeof(T)) % 4096 != 0;
  }
};

// Whether Bᵀ·Aᵀ fills vectors that A·B leaves empty. One of the vectors of a row of C may be half full before
// turning C costs less, and only where B' = Aᵀ need not be packed for it.
template <class T>
UNSPOOL_INLINE bool better_turned(const GemmCall& g) {
  constexpr int64_t L = Vec<T>::kLanes;
  if (g.relu_mask != nullptr || g.m <= g.n || g.n == 0 || g.n >= 2 * L) return false;
  if (g.n < L) return true;
  const int64_t steps = (g.n + L - 1) / L * g.m, turned = (g.m + L - 1) / L * g.n;
  return g.a_row == 1 && 4 * turned <= 3 * steps;
}

// Each of the two is made where it stays: copies of it wait for the numbers that have just been written.
template <class T>
UNSPOOL_INLINE Product<T> product(const GemmCall& g) {
  const T *a = static_cast<const T*>(g.a), *b = static_cast<const T*>(g.b);
  T* const c = static_cast<T*>(g.c);
  const T* const bias = static_cast<const T*>(g.bias);
  if (better_turned<T>(g))
    return {g.n,     g.m,  g.k,           b, g.b_col,      g.b_row, a,       g.a_col, g.a_row, c, g.c_col,
            g.c_row, bias, g.bias_stride, 0, g.accumulate, g.relu,  nullptr, g.trial, nullptr};
  return {g.m,     g.n,     g.k,  a, g.a_row,       g.a_col,      b,      g.b_row,     g.b_col, c,
          g.c_row, g.c_col, bias, 0, g.bias_stride, g.accumulate, g.relu, g.relu_mask, g.trial, &g};
}

constexpr int64_t kDirectBytes = 96 * 1024;  // of B, read row by row, where A's columns are contiguous
constexpr int64_t kDirectMost = 1 << 20;     // and of both, where A's rows are: they stay in the second cache
constexpr int64_t kDirectC = 12 << 20;  // of C then; of a transposed A's, all three are below kDirectMost
constexpr int64_t kDirectRows = 16;     // so few rows of A do not repay packing B

// So many columns, and what fills their last vector and the last byte of a ReLU mask.
template <class T>
UNSPOOL_INLINE int64_t whole_vectors(int64_t columns) {
  return round_up(round_up(columns, Vec<T>::kLanes), 8);
}

// The panels that n columns are cut into, of at most `width`: whole vectors, dealt out evenly where there are
// two (64 columns as 32 + 32, not 48 + 16), for a tile of one vector waits on its chains; of more, the last
// two.
template <class T>
struct Panels {
  int64_t n, width;
  UNSPOOL_INLINE int64_t count() const { return (n + width - 1) / width; }
  UNSPOOL_INLINE int64_t columns(int64_t j) const {  // of the panel at j
    const int64_t left = n - j;
    return left <= width || left >= 2 * width ? smaller(width, left) : whole_vectors<T>((left + 1) / 2);
  }
  UNSPOOL_INLINE int64_t at(int64_t c) const {  // the first column of the panel number c
    const int64_t before = (c - 1) * width;
    return c > 0 && c + 1 == count() ? before + columns(before) : c * width;
  }
};
template <class T>
UNSPOOL_INLINE int64_t panel_width(const Product<T>& p) {
  static_assert(Tile<T>::kColumns % 8 == 0 && Tile<T>::kColumns <= 64);
  return p.trial != nullptr && p.trial->narrow ? whole_vectors<T>(1) : Tile<T>::kColumns;
}

// Sizes of blocks: what is shared is kBBytes of B or kRows × kc of A. docs/gemm.md says how they were chosen.
// kMc and kNc bound the chains that cannot rest in C; of more than kNc columns, a B below A's rows goes by
// rows.
template <class T>
struct Blocks {
  static constexpr int64_t kKc = sizeof(T) == 4 ? 512 : 384;
  static constexpr int64_t kMc = 720;
  static constexpr int64_t kNc = sizeof(T) == 4 ? 528 : 264;
  static constexpr int64_t kRows = 512;
  static constexpr int64_t kBBytes = 576 << 10;
  static constexpr int64_t kABytes = 4 << 20;                        // packed, for the blocks of B to come
  static constexpr int64_t kLongRows = sizeof(T) == 4 ? 1024 : 512;  // elements of C for each step of k
  int64_t nr;
  int64_t mc, nc, kc;
  bool apart;  // chains rest in the workspace
  int64_t shared_bytes, chains_bytes, a_bytes;
};

// The largest even part of n that is no more than `most`, in multiples of `grain`.
UNSPOOL_INLINE int64_t even_part(int64_t n, int64_t most, int64_t grain) {
  const int64_t parts = (n + most - 1) / most;
  return parts <= 1 ? round_up(n, grain) : round_up((n + parts - 1) / parts, grain);
}

template <class T>
UNSPOOL_INLINE Blocks<T> blocks(const Product<T>& p, GemmPath path) {
  Blocks<T> b;
  const GemmTrial* trial = p.trial;
  b.nr = panel_width(p);
  b.kc = even_part(p.k, trial != nullptr ? trial->kc : b.kKc, 1);
  // Chains rest in C itself unless it holds numbers still to be added to, or is scattered.
  b.apart = p.k > b.kc && (p.accumulate || p.c_col != 1);
  const bool columns = path == GemmPath::Columns;
  const int64_t row_bytes = b.kc * static_cast<int64_t>(sizeof(T));
  b.nc = trial != nullptr ? trial->nc : b.apart ? b.kNc : columns ? b.kBBytes / row_bytes : INT64_MAX / 2;
  b.nc = even_part(p.n, b.nc / b.nr * b.nr, b.nr);
  const bool again = columns && !b.apart && b.nc < p.n;  // A is wanted for more than one block of B
  b.mc = trial != nullptr ? trial->mc
         : !columns       ? b.kRows
         : b.apart        ? b.kMc
         : again          ? b.kABytes / row_bytes
                          : INT64_MAX / 2;
  b.mc = even_part(p.m, b.mc / kTileRows * kTileRows, kTileRows);
  b.shared_bytes = round_up((columns ? b.nc : p.a_in_place() ? 0 : b.mc) * row_bytes, 64);
  b.chains_bytes = b.apart ? round_up(b.mc * b.nc * sizeof(T), 64) : 0;
  b.a_bytes = again ? b.mc * row_bytes : 0;
  return b;
}

UNSPOOL_INLINE bool on_workspace(GemmPath path) {
  return path == GemmPath::Rows || path == GemmPath::Columns;
}

template <class T>
UNSPOOL_INLINE GemmPath path_of(const Product<T>& p) {
  const bool in_rows = p.b_col == 1 || p.n == 1;
  if (p.trial != nullptr && (on_workspace(p.trial->path) || in_rows || p.trial->path == GemmPath::Small))
    return p.trial->path;
  const int64_t b_bytes = p.k * p.n * static_cast<int64_t>(sizeof(T));
  const int64_t a_bytes = p.m * p.k * static_cast<int64_t>(sizeof(T));
  const int64_t c_bytes = p.m * p.n * static_cast<int64_t>(sizeof(T));
  const int64_t c_most = p.a_col == 1 ? kDirectC : p.a_row == 1 ? kDirectMost : 0;
  const bool cached = b_bytes < kDirectMost && a_bytes < kDirectMost && c_bytes < c_most;
  if (in_rows && (p.m <= kDirectRows || b_bytes <= kDirectBytes || cached)) return GemmPath::Direct;
  if (!in_rows && (p.m <= kDirectRows || p.k <= kSmallK)) return GemmPath::Small;
  // By columns C is written along its rows. That decides where C is large and k short.
  if (p.m * p.n >= Blocks<T>::kLongRows * p.k) return GemmPath::Columns;
  return p.n > Blocks<T>::kNc || p.n >= p.m ? GemmPath::Rows : GemmPath::Columns;
}

// Whether `done` is told of C part by part: where it stays in the first cache, once is enough.
template <class T>
UNSPOOL_INLINE bool done_in_parts(const Product<T>& p, GemmPath path) {
  constexpr int64_t kCached = 32 * 1024 / sizeof(T);
  return p.call != nullptr && p.call->done != nullptr &&
         (path == GemmPath::Columns || (path == GemmPath::Direct && p.m > 1 && p.m * p.n > kCached));
}

// What `done` will read beside the tile at (i, j), of one array and perhaps of another.
template <class T>
UNSPOOL_INLINE Ahead read_beside(const GemmCall& g, int64_t i, int64_t j) {
  if (g.done_reads[0] == nullptr) return {};
  const auto* first = static_cast<const T*>(g.done_reads[0]) + i * g.c_row + j;
  const void* const second = g.done_reads[1];
  return {
      reinterpret_cast<const char*>(first), 64, g.c_row * static_cast<int64_t>(sizeof(T)),
      second == nullptr ? 0 : static_cast<const char*>(second) - static_cast<const char*>(g.done_reads[0])};
}

}  // namespace
}  // namespace unspool
