// Matrix products of any strides. Start at gemm(); the micro-kernel is in gemm_tile.h, packing below.
//
// Three paths, one result: each element is the chain that table.h states, whatever the path.
//   direct   B's rows are contiguous and the problem small: tiles read A and B where they lie;
//   small    B's rows are not, but B fits in 16 KiB: it is packed on the stack;
//   blocked  A and B are packed into the workspace, block by block, for the caches.
// A narrow C (n below a vector) is computed as its transpose, Bᵀ·Aᵀ: fma(a, b, c) == fma(b, a, c).
// A masked A is copied onto the stack where it fits, and is masked as it is packed where not.
// Threads share the tiles of C and the panels to pack, never the steps over k.
#pragma once

#include "unspool/kernels/gemm_tile.h"
#include "unspool/kernels/reduce.h"
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
  uint64_t* relu_mask;  // nullptr in what has been transposed, as are a_mask and a_sums
  const uint64_t* a_mask;
  int64_t a_mask_row, a_mask_col;
  T* a_sums;
};

template <class T>
UNSPOOL_INLINE Product<T> product(const GemmCall& g) {
  Product<T> p{g.m,
               g.n,
               g.k,
               static_cast<const T*>(g.a),
               g.a_row,
               g.a_col,
               static_cast<const T*>(g.b),
               g.b_row,
               g.b_col,
               static_cast<T*>(g.c),
               g.c_row,
               g.c_col,
               static_cast<const T*>(g.bias),
               0,
               g.bias_stride,
               g.accumulate,
               g.relu,
               g.relu_mask,
               g.a_mask,
               g.a_mask_row,
               g.a_mask_col,
               static_cast<T*>(g.a_sums)};
  if (p.n >= Vec<T>::kLanes || p.m <= p.n || p.relu_mask != nullptr || p.a_mask != nullptr ||
      p.a_sums != nullptr)
    return p;
  return {p.n,   p.m,     p.k,      p.b,        p.b_col,    p.b_row,      p.a,    p.a_col, p.a_row, p.c,
          p.c_col, p.c_row, p.bias, p.bias_col, p.bias_row, p.accumulate, p.relu, nullptr, nullptr, 0,
          0,     nullptr};
}

constexpr int64_t kStackBytes = 16 * 1024;
constexpr int64_t kDirectBytes = 96 * 1024;  // of B: stays in the second cache, read row by row
constexpr int64_t kDirectRows = 16;          // so few rows of A do not repay packing B

// Block sizes: kc × kTile of B streams past an A panel that stays in the first cache; the sum of the
// three buffers (A, B, and C's unfinished chains) stays below 4 MiB.
template <class T>
struct Blocks {
  static constexpr int kNr = kTileVecs * Vec<T>::kLanes;
  static constexpr int64_t kKc = sizeof(T) == 4 ? 512 : 384;
  static constexpr int64_t kMc = (sizeof(T) == 4 ? 720 : 480) / kTileRows * kTileRows;
  static constexpr int64_t kNc = (sizeof(T) == 4 ? 528 : 264) / kNr * kNr;
  int64_t mc, nc, kc;
  int64_t a_bytes, b_bytes, c_bytes;
};

UNSPOOL_INLINE int64_t round_up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }
UNSPOOL_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

template <class T>
UNSPOOL_INLINE Blocks<T> blocks(const Product<T>& p) {
  using B = Blocks<T>;
  B b;
  b.mc = smaller(B::kMc, round_up(p.m, kTileRows));
  b.nc = smaller(B::kNc, round_up(p.n, B::kNr));
  b.kc = smaller(B::kKc, p.k);
  b.a_bytes = round_up(b.mc * b.kc * sizeof(T), 64);
  b.b_bytes = round_up(b.nc * b.kc * sizeof(T), 64);
  // Chains rest in C itself unless it holds numbers still to be added to, or is scattered.
  b.c_bytes = p.k > b.kc && (p.accumulate || p.c_col != 1) ? b.mc * b.nc * sizeof(T) : 0;
  return b;
}

enum class Path { Direct, Small, Blocked };

template <class T>
UNSPOOL_INLINE Path path_of(const Product<T>& p) {
  if (p.k == 0) return Path::Direct;
  if (p.a_mask != nullptr && p.m * p.k * static_cast<int64_t>(sizeof(T)) > kStackBytes) return Path::Blocked;
  const int64_t b_bytes = p.k * p.n * static_cast<int64_t>(sizeof(T));
  if (p.b_col == 1 || p.n == 1)
    return p.m <= kDirectRows || b_bytes <= kDirectBytes ? Path::Direct : Path::Blocked;
  return p.k * round_up(p.n, Vec<T>::kLanes) * static_cast<int64_t>(sizeof(T)) <= kStackBytes ? Path::Small
                                                                                              : Path::Blocked;
}

// rows × columns of B to contiguous rows of `width` elements, zeros after the columns.
template <class T>
inline void pack_rows(T* to, int64_t width, const T* b, int64_t b_row, int64_t b_col, int64_t rows,
                      int64_t columns) {
  constexpr int L = Vec<T>::kLanes;
  typedef T Quad __attribute__((vector_size(4 * sizeof(T))));
  if (b_col == 1) {
    for (int64_t p = 0; p < rows; ++p, to += width, b += b_row) {
      int64_t j = 0;
      for (; j + L <= columns; j += L) Vec<T>::load(b + j).store(to + j);
      if (j < columns) Vec<T>::load(b + j, columns - j).store(to + j, columns - j);
      for (j = columns; j < width; ++j) to[j] = 0;
    }
    return;
  }
  int64_t j = 0;
  for (; b_row == 1 && j + 4 <= columns; j += 4) {
    const T* s = b + j * b_col;
    int64_t p = 0;
    for (; p + 4 <= rows; p += 4) {  // 4×4 transposed in registers
      Quad x[4];
      for (int q = 0; q < 4; ++q) __builtin_memcpy(&x[q], s + q * b_col + p, sizeof(Quad));
      const Quad u0 = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5);
      const Quad u1 = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7);
      const Quad u2 = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5);
      const Quad u3 = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
      const Quad y[4] = {
          __builtin_shufflevector(u0, u2, 0, 1, 4, 5), __builtin_shufflevector(u0, u2, 2, 3, 6, 7),
          __builtin_shufflevector(u1, u3, 0, 1, 4, 5), __builtin_shufflevector(u1, u3, 2, 3, 6, 7)};
      for (int q = 0; q < 4; ++q) __builtin_memcpy(to + (p + q) * width + j, &y[q], sizeof(Quad));
    }
    for (; p < rows; ++p)
      for (int q = 0; q < 4; ++q) to[p * width + j + q] = s[q * b_col + p];
  }
  for (; j < columns; ++j)
    for (int64_t p = 0; p < rows; ++p) to[p * width + j] = b[p * b_row + j * b_col];
  for (; j < width; ++j)
    for (int64_t p = 0; p < rows; ++p) to[p * width + j] = 0;
}

// n elements of a line of A; 0 where the line's bit, from number `bit` on, is clear.
template <class T>
inline void copy_masked(T* to, const T* from, int64_t from_step, const uint64_t* mask, int64_t bit,
                        int64_t bit_step, int64_t n) {
  constexpr int L = Vec<T>::kLanes;
  if (from_step != 1 || bit_step != 1) {
    for (int64_t i = 0; i < n; ++i, bit += bit_step)
      to[i] = (mask[bit / 64] >> (bit % 64)) & 1 ? from[i * from_step] : T(0);
    return;
  }
  const Vec<T> zero(0.0);
  for (int64_t i = 0; i < n; i += L, bit += L) {
    const int64_t count = smaller(L, n - i), at = bit % 64;
    uint64_t bits = mask[bit / 64] >> at;
    if (at + count > 64) bits |= mask[bit / 64 + 1] << (64 - at);
    const Mask<T> keep = from_bits_mask<T>(bits);
    if (count == L)
      where(keep, Vec<T>::load(from + i), zero).store(to + i);
    else
      where(keep, Vec<T>::load(from + i, count), zero).store(to + i, count);
  }
}

// rows × k of A from (i, p) on, masked: line by line along p where A's rows are contiguous, else along i.
// `to` has the stride of `along_k` or of `across` from line to line.
template <class T>
UNSPOOL_INLINE void copy_masked_a(const Product<T>& p, int64_t i, int64_t pc, int64_t rows, int64_t k, T* to,
                                  int64_t line) {
  const T* a = p.a + i * p.a_row + pc * p.a_col;
  const int64_t bit = i * p.a_mask_row + pc * p.a_mask_col;
  if (p.a_mask_col == 1)
    for (int64_t r = 0; r < rows; ++r)
      copy_masked(to + r * line, a + r * p.a_row, p.a_col, p.a_mask, bit + r * p.a_mask_row, 1, k);
  else
    for (int64_t q = 0; q < k; ++q)
      copy_masked(to + q * line, a + q * p.a_col, p.a_row, p.a_mask, bit + q * p.a_mask_col, p.a_mask_row,
                  rows);
}

// The sums over k of A's rows, in the order of reduce.h.
template <class T>
inline void sum_rows(const Product<T>& p) {
  parallel((p.m + kColumnBlock - 1) / kColumnBlock, p.m * p.k * kReduceWork / 16, [&](int64_t c) {
    const int64_t i = c * kColumnBlock, rows = smaller(kColumnBlock, p.m - i);
    int64_t at = 0;
    T line[kColumnBlock];
    typename SumOp<T>::Acc sums[kColumnBlock];
    auto next = [&]() -> const T* {
      const T* a = p.a + i * p.a_row + at * p.a_col;
      const int64_t bit = i * p.a_mask_row + at++ * p.a_mask_col;
      if (p.a_mask == nullptr && p.a_row == 1) return a;
      if (p.a_mask != nullptr)
        copy_masked(line, a, p.a_row, p.a_mask, bit, p.a_mask_row, rows);
      else
        for (int64_t r = 0; r < rows; ++r) line[r] = a[r * p.a_row];
      return line;
    };
    reduce_columns<SumOp<T>>(next, p.k, rows, sums);
    for (int64_t r = 0; r < rows; ++r) p.a_sums[i + r] = SumOp<T>::finish(sums[r]);
  });
}

template <class T>
UNSPOOL_INLINE Tile<T> tile_of(const Product<T>& p) {
  Tile<T> t;
  t.start = nullptr;
  t.start_row = 0;
  t.k = p.k;
  t.a_row = p.a_row;
  t.a_col = p.a_col;
  return t;
}

// The epilogue of the tile at (i, j), which has `columns`.
template <class T>
UNSPOOL_INLINE Finish<T> finish_of(const Product<T>& p, int64_t i, int64_t j, int64_t columns) {
  static_assert(Blocks<T>::kNr % 8 == 0 && Blocks<T>::kNr <= 64);
  Finish<T> f;
  f.c = p.c + i * p.c_row + j * p.c_col;
  f.c_row = p.c_row;
  f.c_col = p.c_col;
  f.bias = p.bias != nullptr ? p.bias + i * p.bias_row + j * p.bias_col : nullptr;
  f.bias_row = p.bias_row;
  f.bias_col = p.bias_col;
  f.accumulate = p.accumulate;
  f.relu = p.relu;
  f.mask = nullptr;
  if (p.relu_mask != nullptr) {
    f.mask_row = (p.n + 63) / 64 * 8;
    f.mask = reinterpret_cast<uint8_t*>(p.relu_mask) + i * f.mask_row + j / 8;
    f.mask_bytes = j + columns == p.n ? f.mask_row - j / 8 : columns / 8;
  }
  return f;
}

// About nanoseconds: 16 multiply-adds each for vectors of 64 bytes and two units.
template <class T>
UNSPOOL_INLINE int64_t gemm_work(int64_t m, int64_t n, int64_t k) {
  return m * n * k / (2 * Vec<T>::kLanes);
}

// Rows and columns in panels of tiles; a chunk is about kChunkTiles of one column panel. The rows are
// dealt out evenly (10 rows as 5 + 5, not 8 + 2): a short tile waits on its chains.
template <class T>
inline void gemm_direct(const Product<T>& p, const T* b, int64_t b_row) {
  constexpr int64_t kNr = Blocks<T>::kNr, kChunkTiles = 8;
  const int64_t pieces = (p.m + kTileRows - 1) / kTileRows;
  const int64_t groups = (pieces + kChunkTiles - 1) / kChunkTiles, panels = (p.n + kNr - 1) / kNr;
  auto run = [&](int64_t j, int64_t from, int64_t to) UNSPOOL_LAMBDA {
    Tile<T> t = tile_of(p);
    t.b_row = b_row;
    t.columns = smaller(kNr, p.n - j);
    t.b = b + j;
    for (int64_t piece = from; piece < to; ++piece) {
      const int64_t i = p.m * piece / pieces, rows = p.m * (piece + 1) / pieces - i;
      t.a = p.a + i * p.a_row;
      run_last_tile(t, finish_of(p, i, j, t.columns), rows);
    }
  };
  const int64_t work = gemm_work<T>(p.m, p.n, p.k);
  if (!worth_sharing(work)) {
    for (int64_t j = 0; j < p.n; j += kNr) run(j, 0, pieces);
    return;
  }
  parallel(groups * panels, work, [&](int64_t c) {
    const int64_t group = c / panels;
    run(c % panels * kNr, pieces * group / groups, pieces * (group + 1) / groups);
  });
}

template <class T>
inline void gemm_small(const Product<T>& p) {
  alignas(64) T packed[kStackBytes / sizeof(T)];
  const int64_t width = round_up(p.n, Vec<T>::kLanes);
  pack_rows(packed, width, p.b, p.b_row, p.b_col, p.k, p.n);
  gemm_direct(p, packed, width);
}

// One block of C over one stretch of k: rows [ic, ic+mb), columns [jc, jc+nb), k in [pc, pc+tile.k).
template <class T>
struct Block {
  const Product<T>& p;
  Tile<T> tile;
  T *a, *b;   // where they are packed
  T* chains;  // unfinished elements of C
  int64_t chains_row;
  int64_t ic, jc, pc, mb, nb;
  static constexpr int64_t kNr = Blocks<T>::kNr;

  inline void pack_a(int64_t i) const {  // a panel of A is rows of Aᵀ
    if (p.a_mask != nullptr) {
      const int64_t rows = smaller(int64_t{kTileRows}, mb - i);
      if (p.a_mask_col == 1) {
        T lines[kTileRows * Blocks<T>::kKc];
        copy_masked_a(p, ic + i, pc, rows, tile.k, lines, tile.k);
        pack_rows(a + i * tile.k, int64_t{kTileRows}, lines, int64_t{1}, tile.k, tile.k, rows);
      } else {
        T* to = a + i * tile.k;
        copy_masked_a(p, ic + i, pc, rows, tile.k, to, int64_t{kTileRows});
        for (int64_t q = 0; q < tile.k; ++q)
          for (int64_t r = rows; r < kTileRows; ++r) to[q * kTileRows + r] = 0;
      }
      return;
    }
    pack_rows(a + i * tile.k, int64_t{kTileRows}, p.a + (ic + i) * p.a_row + pc * p.a_col, p.a_col, p.a_row,
              tile.k, smaller(kTileRows, mb - i));
  }
  UNSPOOL_INLINE void pack_b(int64_t j) const {
    pack_rows(b + j * tile.k, kNr, p.b + pc * p.b_row + (jc + j) * p.b_col, p.b_row, p.b_col, tile.k,
              smaller(kNr, nb - j));
  }
  UNSPOOL_INLINE void run(int64_t i, int64_t j) const {
    Tile<T> t = tile;
    t.b_row = kNr;
    t.a_row = 1;
    t.a_col = kTileRows;
    t.start_row = chains_row;
    t.columns = smaller(kNr, nb - j);
    t.a = a + i * t.k;
    t.b = b + j * t.k;
    T* const unfinished = chains + i * chains_row + j;
    t.start = pc == 0 ? nullptr : unfinished;
    const int64_t rows = smaller(kTileRows, mb - i);
    if (pc + t.k == p.k) return run_last_tile(t, finish_of(p, ic + i, jc + j, t.columns), rows);
    t.to = unfinished;
    t.to_row = chains_row;
    run_tile(t, rows);
  }
};

// B is packed by all. Then a chunk is a row of tiles, with the packing of its panel of A: the panel
// stays in the first cache of the thread that packed it, and B streams past. Where the rows of tiles
// are few, a chunk is a tile.
template <class T>
inline void run_block(const Block<T>& block, bool b_is_packed) {
  constexpr int64_t kManyRows = 16;
  const int64_t rows = (block.mb + kTileRows - 1) / kTileRows,
                panels = (block.nb + block.kNr - 1) / block.kNr;
  const int64_t work = gemm_work<T>(block.mb, block.nb, block.tile.k);
  const int64_t b_panels = b_is_packed ? 0 : panels;
  if (rows >= kManyRows || !worth_sharing(work)) {
    parallel(b_panels, work, [&](int64_t c) { block.pack_b(c * block.kNr); });
    parallel(rows, work, [&](int64_t c) {
      block.pack_a(c * kTileRows);
      for (int64_t j = 0; j < block.nb; j += block.kNr) block.run(c * kTileRows, j);
    });
    return;
  }
  parallel(b_panels + rows, work, [&](int64_t c) {
    if (c < b_panels)
      block.pack_b(c * block.kNr);
    else
      block.pack_a((c - b_panels) * kTileRows);
  });
  parallel(rows * panels, work,
           [&](int64_t c) { block.run(c / panels * kTileRows, c % panels * block.kNr); });
}

template <class T>
inline void gemm_blocked(const Product<T>& p, void* workspace) {
  const Blocks<T> size = blocks(p);
  char* memory = static_cast<char*>(workspace);
  T* const a = reinterpret_cast<T*>(memory);
  T* const b = reinterpret_cast<T*>(memory + size.a_bytes);
  T* const scratch = reinterpret_cast<T*>(memory + size.a_bytes + size.b_bytes);
  Tile<T> t = tile_of(p);
  for (int64_t jc = 0; jc < p.n; jc += size.nc)
    for (int64_t ic = 0; ic < p.m; ic += size.mc)
      for (int64_t pc = 0; pc < p.k; pc += size.kc) {
        t.k = smaller(size.kc, p.k - pc);
        T* const chains = size.c_bytes != 0 ? scratch : p.c + ic * p.c_row + jc;
        const Block<T> block{p,
                             t,
                             a,
                             b,
                             chains,
                             size.c_bytes != 0 ? size.nc : p.c_row,
                             ic,
                             jc,
                             pc,
                             smaller(size.mc, p.m - ic),
                             smaller(size.nc, p.n - jc)};
        run_block(block, ic > 0 && size.kc >= p.k);  // with one stretch of k, B serves every ic
      }
}

// Integers: plain loops that wrap.
template <class T, class U>
inline void gemm_integer(const GemmCall& g) {
  const T* a = static_cast<const T*>(g.a);
  const T* b = static_cast<const T*>(g.b);
  const T* bias = static_cast<const T*>(g.bias);
  T* c = static_cast<T*>(g.c);
  auto element = [&](int64_t i, int64_t j) UNSPOOL_LAMBDA {
    U acc = 0;
    for (int64_t p = 0; p < g.k; ++p)
      acc += static_cast<U>(a[i * g.a_row + p * g.a_col]) * static_cast<U>(b[p * g.b_row + j * g.b_col]);
    if (bias != nullptr) acc += static_cast<U>(bias[j * g.bias_stride]);
    T* to = c + i * g.c_row + j * g.c_col;
    *to = static_cast<T>(g.accumulate ? static_cast<U>(*to) + acc : acc);
  };
  parallel_ranges(g.m, 1, g.m * g.n * g.k, [&](int64_t first, int64_t count) {
    for (int64_t i = first; i < first + count; ++i)
      for (int64_t j = 0; j < g.n; ++j) element(i, j);
  });
}

template <class T>
inline void gemm_on_path(const Product<T>& p, Path path, void* workspace) {
  switch (path) {
    case Path::Direct:
      return gemm_direct(p, p.b, p.b_row);
    case Path::Small:
      return gemm_small(p);
    case Path::Blocked:
      return gemm_blocked(p, workspace);
  }
}

// The product of a masked copy of A.
template <class T>
inline void gemm_of_copy(Product<T> p, Path path) {
  alignas(64) T copy[kStackBytes / sizeof(T)];
  const bool along_k = p.a_mask_col == 1;
  copy_masked_a(p, 0, 0, p.m, p.k, copy, along_k ? p.k : p.m);
  p.a = copy;
  p.a_row = along_k ? p.k : 1;
  p.a_col = along_k ? 1 : p.m;
  p.a_mask = nullptr;
  if (p.a_sums != nullptr) sum_rows(p);
  gemm_on_path(p, path, nullptr);
}

template <class T>
inline void gemm_floating(const GemmCall& g) {
  const Product<T> p = product<T>(g);
  const Path path = path_of(p);
  if (p.a_mask != nullptr && path != Path::Blocked) return gemm_of_copy(p, path);
  if (p.a_sums != nullptr) sum_rows(p);
  gemm_on_path(p, path, g.workspace);
}

void gemm(const GemmCall& g) {
  if (g.m == 0 || (g.n == 0 && g.a_sums == nullptr)) return;
  switch (g.dtype) {
    case DType::Float32:
      return gemm_floating<float>(g);
    case DType::Float64:
      return gemm_floating<double>(g);
    case DType::Int32:
      return gemm_integer<int32_t, uint32_t>(g);
    default:
      return gemm_integer<int64_t, uint64_t>(g);
  }
}

template <class T>
inline std::size_t workspace_of(const GemmCall& g) {
  const Product<T> p = product<T>(g);
  if (path_of(p) != Path::Blocked) return 0;
  const Blocks<T> b = blocks(p);
  return static_cast<std::size_t>(b.a_bytes + b.b_bytes + b.c_bytes);
}

std::size_t gemm_workspace(const GemmCall& g) {
  if (g.m == 0 || g.n == 0) return 0;
  if (g.dtype == DType::Float32) return workspace_of<float>(g);
  if (g.dtype == DType::Float64) return workspace_of<double>(g);
  return 0;
}

}  // namespace
}  // namespace unspool
