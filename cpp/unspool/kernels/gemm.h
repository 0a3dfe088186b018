// Matrix products of any strides. Start at gemm(). What is multiplied, and by which path in
// blocks of what size, is decided in gemm_product.h; packing is in gemm_pack.h, the micro-kernel in
// gemm_tile.h, and the sums of A's rows beside a product are in gemm_sums.h.
//
// Four paths, one result: each element is the chain that table.h states, whatever the path.
//   direct   B's rows are contiguous and the problem small: tiles read A and B where they lie;
//   small    B's rows are not, and A has few rows or k is short: a panel of B at a time is packed on the
//            stack, and A is read where it lies;
//   rows     a block of A is packed into the workspace, or read where it lies, and of B a panel at a time on
//            the stack;
//   columns  a block of B is packed into the workspace, and of A a panel at a time on the stack, or A is read
//            where it lies; or all of A is packed, too, where more blocks of B follow: C is large beside k,
//            or B has fewer columns than A has rows.
// A narrow C (n below a vector) is computed as its transpose, Bᵀ·Aᵀ: fma(a, b, c) == fma(b, a, c).
// Threads share the tiles of C and the panels to pack, never the steps over k.
#pragma once

#include "unspool/base/alloc.h"
#include "unspool/kernels/gemm_product.h"
#include "unspool/kernels/gemm_sums.h"

namespace unspool {
namespace {

template <class T>
UNSPOOL_INLINE Tile<T> tile_of(const Product<T>& p) {
  Tile<T> t;
  t.tiles = 1;
  t.a_next = 0;
  t.start = nullptr;
  t.start_row = 0;
  t.k = p.k;
  t.a_row = p.a_row;
  t.a_col = p.a_col;
  t.ahead = {};
  return t;
}

// The epilogue of the tile at (i, j), which has `columns`.
template <class T>
UNSPOOL_INLINE Finish<T> finish_of(const Product<T>& p, int64_t i, int64_t j, int64_t columns) {
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

// The rows of C are dealt out evenly to tiles (10 rows as 5 + 5, not 8 + 2): a short tile waits on its
// chains. The first `longer` tiles have a row more than the others.
struct Deal {
  int64_t tiles, rows, longer;
  UNSPOOL_INLINE explicit Deal(int64_t m)
      : tiles((m + kTileRows - 1) / kTileRows), rows(m / tiles), longer(m - rows * tiles) {}
  UNSPOOL_INLINE int64_t row(int64_t tile) const { return tile * rows + smaller(tile, longer); }

  // f(i, rows, tiles) for the tiles `from` to `to`: at most two runs of equally many rows, at least one tile
  // each.
  template <class F>
  UNSPOOL_INLINE void each_run(int64_t from, int64_t to, const F& f) const {
    const int64_t turn = smaller(to, longer);
    int64_t i = row(from);
    if (from < turn) {
      f(i, rows + 1, turn - from);
      i += (turn - from) * (rows + 1);
      from = turn;
    }
    if (from < to) f(i, rows, to - from);
  }
};

// f(j, columns, first tile, tiles' end) for panels of columns by groups of at most `most` tiles, which
// threads share.
template <class T, class F>
UNSPOOL_INLINE void each_panel(const Product<T>& p, int64_t tiles, int64_t most, const F& f) {
  const Panels<T> panels{p.n, panel_width(p)};
  const int64_t work = gemm_work<T>(p.m, p.n, p.k);
  if (tiles <= most && !worth_sharing(work)) {
    for (int64_t j = 0, columns; j < p.n; j += columns) f(j, columns = panels.columns(j), int64_t{0}, tiles);
    return;
  }
  const int64_t groups = (tiles + most - 1) / most, count = panels.count();
  parallel(groups * count, work, [&](int64_t c) {
    const int64_t group = c / count, j = panels.at(c % count);
    f(j, panels.columns(j), tiles * group / groups, tiles * (group + 1) / groups);
  });
}

// One row of C: panels of 8 vectors, as many chains as hide their latency, and rows of B in longer pieces.
template <class T>
inline void gemm_row(const Product<T>& p) {
  constexpr int64_t L = Vec<T>::kLanes, kWide = 8 * L;
  const int64_t work = gemm_work<T>(1, p.n, p.k);
  parallel((p.n + kWide - 1) / kWide, work, [&](int64_t c) {
    Tile<T> t = tile_of(p);
    t.a = p.a;
    t.b_row = p.b_row;
    for (int64_t j = c * kWide, end = smaller(j + kWide, p.n); j < end; j += t.columns) {
      t.columns = end - j == kWide ? kWide : smaller(t.kColumns, end - j);
      t.b = p.b + j;
      Finish<T> f = finish_of(p, 0, j, t.columns);
      run_last_tiles(t, f, 1, 1);
    }
  });
}

template <class T>
inline void gemm_direct(const Product<T>& p) {
  if (p.m == 1 && !p.relu) return gemm_row(p);  // a mask's bits come 64 at a time
  const Deal deal(p.m);
  const bool is_done = done_in_parts(p, GemmPath::Direct);
  each_panel(p, deal.tiles, worth_sharing(gemm_work<T>(p.m, p.n, p.k)) ? 8 : INT64_MAX,
             [&](int64_t j, int64_t columns, int64_t from, int64_t to) UNSPOOL_LAMBDA {
               Tile<T> t = tile_of(p);
               t.b_row = p.b_row;
               t.columns = columns;
               t.b = p.b + j;
               deal.each_run(from, to, [&](int64_t i, int64_t rows, int64_t tiles) UNSPOOL_LAMBDA {
                 t.a = p.a + i * p.a_row;
                 t.a_next = rows * p.a_row;
                 if (is_done) t.ahead = read_beside<T>(*p.call, i, j);
                 Finish<T> f = finish_of(p, i, j, t.columns);
                 run_last_tiles(t, f, rows, tiles);
               });
               if (is_done)
                 p.call->done(p.call->done_context, deal.row(from), j, deal.row(to) - deal.row(from),
                              columns);
             });
}

template <class T>
struct SmallPanel {
  static constexpr int64_t kChainTiles = kDirectRows / kTileRows;
  alignas(64) T b[kSmallK * Tile<T>::kColumns];
  alignas(64) T chains[kChainTiles * kTileRows * Tile<T>::kColumns];
};

// A panel of B is packed for so many tiles that packing is little; where k takes several stretches, for as
// many as have their chains on the stack.
template <class T>
inline void gemm_small(const Product<T>& p) {
  const int64_t kc = even_part(p.k, p.trial != nullptr ? p.trial->kc : kSmallK, 1);
  const Deal deal(p.m);
  const int64_t most = p.k > kc ? SmallPanel<T>::kChainTiles : 32;
  each_panel(p, deal.tiles, most, [&](int64_t j, int64_t columns, int64_t from, int64_t to) {
    SmallPanel<T> panel;
    Tile<T> t = tile_of(p);
    t.b = panel.b;
    t.columns = columns;
    t.b_row = round_up(t.columns, Vec<T>::kLanes);
    t.start_row = t.kColumns;
    for (int64_t pc = 0; pc < p.k; pc += kc) {
      t.k = smaller(kc, p.k - pc);
      pack_rows(panel.b, t.b_row, p.b + pc * p.b_row + j * p.b_col, p.b_row, p.b_col, t.k, t.columns);
      T* unfinished = panel.chains;
      deal.each_run(from, to, [&](int64_t i, int64_t rows, int64_t tiles) UNSPOOL_LAMBDA {
        t.a = p.a + i * p.a_row + pc * p.a_col;
        t.a_next = rows * p.a_row;
        t.start = pc == 0 ? nullptr : unfinished;
        if (pc + t.k == p.k) {
          Finish<T> f = finish_of(p, i, j, t.columns);
          run_last_tiles(t, f, rows, tiles);
        } else {
          t.to = unfinished;
          t.to_row = t.kColumns;
          t.tiles = tiles;
          run_tiles(t, rows);
        }
        unfinished += tiles * rows * t.kColumns;
      });
    }
  });
}

// One block of C over one stretch of k: rows [ic, ic+mb), columns [jc, jc+nb), k in [pc, pc+tile.k).
template <class T>
struct Block {
  const Product<T>& p;
  Tile<T> tile;
  T* shared;  // where A or B is packed
  T* chains;  // unfinished elements of C
  int64_t chains_row;
  int64_t nr, ic, jc, pc, mb, nb;

  // A panel of A is rows of Aᵀ. As many at once as two cache lines of those reach across.
  static constexpr int64_t kPanels = 16 / sizeof(T);
  static constexpr int64_t kPanelsRows = kPanels * kTileRows;
  static constexpr int64_t kTwoTiles = 2 * kTileRows;  // rows that `done` is told of together
  inline void pack_a(T* to, int64_t i) const {
    const int64_t end = smaller(i + kPanelsRows, mb);
    if (p.a_row == 1 && end - i == kPanelsRows)
      return pack_side_by_side<kPanels, kTileRows>(to, a_at(i), p.a_col, tile.k);
    for (; i < end; i += kTileRows, to += kTileRows * tile.k)
      pack_rows(to, int64_t{kTileRows}, a_at(i), p.a_col, p.a_row, tile.k,
                smaller(int64_t{kTileRows}, mb - i));
  }
  const T* a_at(int64_t i) const { return p.a + (ic + i) * p.a_row + pc * p.a_col; }
  void a_is_packed() {
    tile.a_row = 1;
    tile.a_col = kTileRows;
  }
  UNSPOOL_INLINE Panels<T> panels() const { return {nb, nr}; }
  inline void pack_b(T* to, int64_t j) const {
    const int64_t columns = panels().columns(j);
    pack_rows(to, whole_vectors<T>(columns), p.b + pc * p.b_row + (jc + j) * p.b_col, p.b_row, p.b_col,
              tile.k, columns);
  }
  // Shares in the panel of B at j, and in rows of A from i on; of A only where stretches are long: of
  // short ones they cost what they save.
  UNSPOOL_INLINE Shares shares_of_b(int64_t j) const {
    const T* const b = p.b + pc * p.b_row + (jc + j) * p.b_col;
    const int64_t columns = j < nb ? panels().columns(j) : 0;
    return p.b_col == 1 ? Shares(b, j < nb ? tile.k : 0, columns, p.b_row, tile.k)
                        : Shares(b, columns, tile.k, p.b_col, tile.k);
  }
  UNSPOOL_INLINE Shares shares_of_a(int64_t i) const {
    constexpr int64_t kLong = 256;
    const int64_t rows = tile.k < kLong ? 0 : smaller(kPanelsRows, mb - i);
    return p.a_col == 1 ? Shares(a_at(i), rows, tile.k, p.a_row, tile.k)
                        : Shares(a_at(i), rows > 0 ? tile.k : 0, rows, p.a_col, tile.k);
  }
  // Shares in the packed panels from the one of the rows at i on: as many as are run together.
  UNSPOOL_INLINE Shares shares_of_packed_a(const T* packed, int64_t i) const {
    constexpr int64_t kLine = 64 / sizeof(T);
    const int64_t lines = (smaller(kTileRows, mb - i) * tile.k + kLine - 1) / kLine;
    return Shares(packed + i * tile.k, lines, kLine, kLine, tile.k);
  }
  // Asks for where the chains of the tile at (i, j) will go, and for what they start from.
  UNSPOOL_INLINE void expect(int64_t i, int64_t j) const {
    const int64_t columns = panels().columns(j);
    const T* const at = chains + i * chains_row + j;
    for (int64_t r = 0, rows = smaller(kTileRows, mb - i); r < rows; ++r)
      for (int64_t x = 0; x < columns; x += 64 / sizeof(T)) __builtin_prefetch(at + r * chains_row + x, 1, 2);
  }
  // The tile at (i, j), of a packed panel of B; A's strides are those of `t`, a copy of the block's.
  UNSPOOL_INLINE void run(Tile<T>& t, const T* a, const T* b, int64_t i, int64_t j) const {
    t.a = a;
    t.b = b;
    t.columns = panels().columns(j);
    t.b_row = whole_vectors<T>(t.columns);
    T* const unfinished = chains + i * chains_row + j;
    t.start = pc == 0 ? nullptr : unfinished;
    t.to = unfinished;
    const int64_t rows = smaller(kTileRows, mb - i);
    if (pc + t.k == p.k) {
      Finish<T> f = finish_of(p, ic + i, jc + j, t.columns);
      run_last_tiles(t, f, rows, 1);
    } else {
      run_tiles(t, rows);
    }
  }
};

// What is shared is packed by all; then a chunk is a panel of the other, which stays in the caches of the
// thread that packed it.
template <class T>
inline void run_rows(Block<T> block) {
  const int64_t k = block.tile.k, work = gemm_work<T>(block.mb, block.nb, k);
  const T* a = block.a_at(0);
  int64_t a_step = block.p.a_row;
  if (!block.p.a_in_place()) {
    constexpr int64_t kRows = Block<T>::kPanelsRows;
    parallel((block.mb + kRows - 1) / kRows, work,
             [&](int64_t c) { block.pack_a(block.shared + c * kRows * k, c * kRows); });
    block.a_is_packed();
    a = block.shared;
    a_step = k;
  }
  parallel(block.panels().count(), work, [&](int64_t c) {
    alignas(64) T panel[Blocks<T>::kKc * Tile<T>::kColumns];
    const int64_t j = block.panels().at(c);
    block.pack_b(panel, j);
    Tile<T> t = block.tile;
    Shares shares = block.shares_of_b(block.panels().at(c + 1));
    for (int64_t i = 0; i < block.mb; i += kTileRows) {
      t.ahead = shares.next();
      block.run(t, a + i * a_step, panel, i, j);
    }
  });
}
// Panels of A go to `packed_a`, where that is not null, when they meet the first block of B.
template <class T>
inline void run_columns(Block<T> block, T* packed_a) {
  const bool in_place = packed_a == nullptr && block.p.a_in_place();
  const bool packs = packed_a != nullptr ? block.jc == 0 : !in_place;
  if (!in_place) block.a_is_packed();
  const int64_t k = block.tile.k, work = gemm_work<T>(block.mb, block.nb, k);
  parallel(block.panels().count(), work, [&](int64_t c) {
    const int64_t j = block.panels().at(c);
    block.pack_b(block.shared + j * k, j);
  });
  const bool is_done = done_in_parts(block.p, GemmPath::Columns) && block.pc + k == block.p.k;
  const bool reads = is_done && block.p.call->done_reads[0] != nullptr;
  constexpr int64_t kRows = Block<T>::kPanelsRows, kTwo = Block<T>::kTwoTiles;
  parallel((block.mb + kRows - 1) / kRows, work, [&](int64_t c) {
    alignas(64) T on_stack[Blocks<T>::kKc * kRows];
    T* const panels = packed_a != nullptr ? packed_a + c * kRows * k : on_stack;
    if (packs) block.pack_a(panels, c * kRows);
    Tile<T> t = block.tile;
    const int64_t end = smaller((c + 1) * kRows, block.mb);
    Shares shares = block.shares_of_a(end);
    for (int64_t i = c * kRows; i < end; i += kTileRows) {
      if (!packs && !in_place) shares = block.shares_of_packed_a(packed_a, i + kTileRows);
      const T* const a = in_place ? block.a_at(i) : panels + (i - c * kRows) * k;
      for (int64_t j = 0, next; j < block.nb; j = next) {
        next = j + block.panels().columns(j);
        const bool is_last = next >= block.nb;
        t.ahead = reads ? read_beside<T>(*block.p.call, block.ic + i, block.jc + j) : shares.next();
        block.expect(is_last ? i + kTileRows : i, is_last ? 0 : next);
        block.run(t, a, block.shared + j * k, i, j);
      }
      const int64_t first = i / kTwo * kTwo, past = i + kTileRows;
      if (is_done && (past % kTwo == 0 || past >= end))
        block.p.call->done(block.p.call->done_context, block.ic + first, block.jc, smaller(past, end) - first,
                           block.nb);
    }
  });
}

template <class T>
inline void gemm_blocked(const Product<T>& p, GemmPath path) {
  const Blocks<T> size = blocks(p, path);
  // Nothing throws before it is given back, and a destructor would make a weak symbol here.
  const auto bytes = static_cast<std::size_t>(size.shared_bytes + size.chains_bytes + size.a_bytes);
  char* const memory = static_cast<char*>(allocate(bytes));
  T* const scratch = reinterpret_cast<T*>(memory + size.shared_bytes);
  T* const packed_a = size.a_bytes == 0 ? nullptr : scratch;  // never beside chains
  Tile<T> t = tile_of(p);
  auto run = [&](int64_t ic, int64_t jc, int64_t pc) UNSPOOL_LAMBDA {
    t.k = smaller(size.kc, p.k - pc);
    t.start_row = t.to_row = size.apart ? size.nc : p.c_row;
    const Block<T> block{p,
                         t,
                         reinterpret_cast<T*>(memory),
                         size.apart ? scratch : p.c + ic * p.c_row + jc,
                         size.apart ? size.nc : p.c_row,
                         size.nr,
                         ic,
                         jc,
                         pc,
                         smaller(size.mc, p.m - ic),
                         smaller(size.nc, p.n - jc)};
    if (path == GemmPath::Rows)
      run_rows(block);
    else
      run_columns(block, packed_a);
  };
  if (size.apart) {  // a block's chains are finished before those of the next one
    for (int64_t jc = 0; jc < p.n; jc += size.nc)
      for (int64_t ic = 0; ic < p.m; ic += size.mc)
        for (int64_t pc = 0; pc < p.k; pc += size.kc) run(ic, jc, pc);
  } else {  // what is packed of A serves all columns
    for (int64_t ic = 0; ic < p.m; ic += size.mc)
      for (int64_t pc = 0; pc < p.k; pc += size.kc)
        for (int64_t jc = 0; jc < p.n; jc += size.nc) run(ic, jc, pc);
  }
  deallocate(memory, bytes);
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
inline void gemm_on_path(const Product<T>& p, GemmPath path) {
  switch (path) {
    case GemmPath::Direct:
      return gemm_direct(p);
    case GemmPath::Small:
      return gemm_small(p);
    default:
      return gemm_blocked(p, path);
  }
}

template <class T>
inline void gemm_floating(const GemmCall& g) {
  if (g.k == 0) {  // chains of no step are +0, and so is one step of zeros, which tiles need not tell apart
    static constexpr T kZero = 0;
    GemmCall one = g;
    one.k = 1;
    one.a = one.b = &kZero;
    one.a_row = one.a_col = one.b_row = one.b_col = 0;
    return gemm_floating<T>(one);
  }
  const Product<T> p = product<T>(g);
  const GemmPath path = path_of(p);
  if (g.a_sums != nullptr)
    sum_rows<T>({g.m, g.k, static_cast<const T*>(g.a), g.a_row, g.a_col, static_cast<T*>(g.a_sums)});
  gemm_on_path(p, path);
  if (g.done != nullptr && !done_in_parts(p, path)) g.done(g.done_context, 0, 0, g.m, g.n);
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

}  // namespace
}  // namespace unspool
