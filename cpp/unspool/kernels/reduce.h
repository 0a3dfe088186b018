// Reductions over any set of dims. Start at Sequence, then reduce().
//
// One order for all layouts. The reduced elements of one output, in row-major order, are cut into chunks
// of kChunk; in a chunk, element i goes to lane i mod kLanes; the lanes are combined by halves
// (l with l + 8, then + 4, …), and chunk results pairwise, as a binary counter carries. So the bits
// depend on the sequence of numbers alone: not on strides, on which dims were reduced, or on the width
// of a register. float sums run in double lanes: 1e7 numbers err by less than one rounding of the result.
#pragma once

#include "unspool/kernels/parallel.h"
#include "unspool/kernels/table.h"

namespace unspool {

extern const KernelTable kernel_table_avx2;

namespace {

// Reductions of bools and integers are four of six instances, and no faster in registers of 64 bytes than of
// 32: AVX-512's table hands them to AVX2's, which every such CPU has.
#if defined(__AVX512F__)
#define UNSPOOL_WHOLE_NUMBERS_ELSEWHERE(DTYPE, CALL) \
  if (DTYPE != DType::Float32 && DTYPE != DType::Float64) return kernel_table_avx2.CALL;
template <class F>
UNSPOOL_INLINE void with_own_dtype(DType d, const F& f) {
  with_floating(d, f);
}
#else
#define UNSPOOL_WHOLE_NUMBERS_ELSEWHERE(DTYPE, CALL)
template <class F>
UNSPOOL_INLINE void with_own_dtype(DType d, const F& f) {
  with_dtype(d, f);
}
#endif

constexpr int64_t kChunk = 512;
constexpr int kLanes = 32;   // four registers of doubles with AVX-512: one addition's latency keeps two busy
constexpr int kLevels = 52;  // binary digits of a count of chunks
constexpr int64_t kGather = 512;  // elements gathered at a time; divides kChunk
constexpr int64_t kColumnBlock = 64;

// Vec<Acc>::kLanes consecutive In as Acc.
template <class In, class Acc>
UNSPOOL_INLINE Vec<Acc> load_as(const lane_t<In>* p) {
  if constexpr (kSame<lane_t<In>, Acc>) {
    return Vec<Acc>::load(p);
  } else if constexpr (kSame<In, float> && kSame<Acc, double>) {
    using Raw = typename Vec<double>::Raw;
    // Spelt out: GCC 12 converts halves of the general form below and joins them, at half the speed.
#if defined(__AVX512F__)
    return Vec<double>((Raw)_mm512_maskz_cvtps_pd(0xff, _mm256_loadu_ps(p)));
#elif defined(__AVX2__)
    return Vec<double>((Raw)_mm256_cvtps_pd(_mm_loadu_ps(p)));
#else
    return Vec<double>(Raw{p[0], p[1]});
#endif
  } else {
    typedef lane_t<In> Narrow __attribute__((vector_size(sizeof(lane_t<In>) * Vec<Acc>::kLanes)));
    Narrow x;
    __builtin_memcpy(&x, p, sizeof x);
    return Vec<Acc>(__builtin_convertvector(x, typename Vec<Acc>::Raw));
  }
}

template <bool, class A, class B>
struct PickOf {
  using type = A;
};
template <class A, class B>
struct PickOf<false, A, B> {
  using type = B;
};
template <bool kFirst, class A, class B>
using Pick = typename PickOf<kFirst, A, B>::type;

// An operation: what a lane holds (Acc), how an element enters (lift), how two lanes join, how a result
// leaves. The identity leaves the bits of what it is joined with.
template <class T>
struct SumOp {
  using In = T;
  using Acc = Pick<kFloating<T>, double, int64_t>;
  using Out = Pick<kFloating<T>, T, int64_t>;
  static constexpr Acc identity() { return 0; }
  static UNSPOOL_INLINE Vec<Acc> lift(const lane_t<T>* p) { return load_as<T, Acc>(p); }
  static UNSPOOL_INLINE Acc lift_one(lane_t<T> x) { return static_cast<Acc>(x); }
  static UNSPOOL_INLINE Vec<Acc> join(Vec<Acc> a, Vec<Acc> b) { return a + b; }
  static UNSPOOL_INLINE Acc join(Acc a, Acc b) {
    if constexpr (kFloating<T>)
      return a + b;
    else
      return static_cast<Acc>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  }
  static UNSPOOL_INLINE Out finish(Acc a) { return static_cast<Out>(a); }
};

template <class T>
struct ProdOp : SumOp<T> {
  using Acc = typename SumOp<T>::Acc;
  static constexpr Acc identity() { return 1; }
  static UNSPOOL_INLINE Vec<Acc> join(Vec<Acc> a, Vec<Acc> b) { return a * b; }
  static UNSPOOL_INLINE Acc join(Acc a, Acc b) {
    if constexpr (kFloating<T>)
      return a * b;
    else
      return static_cast<Acc>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  }
};

template <class T, bool kMax>
struct ExtremeOp {
  using In = T;
  using Acc = Pick<sizeof(T) == 1, int32_t, T>;
  using Out = lane_t<T>;
  static constexpr Acc identity() {
    if constexpr (kFloating<T>)
      return kMax ? -static_cast<T>(__builtin_inf()) : static_cast<T>(__builtin_inf());
    else if constexpr (sizeof(Acc) == 4)
      return kMax ? INT32_MIN : INT32_MAX;
    else
      return kMax ? INT64_MIN : INT64_MAX;
  }
  static UNSPOOL_INLINE Vec<Acc> lift(const lane_t<T>* p) { return load_as<T, Acc>(p); }
  static UNSPOOL_INLINE Acc lift_one(lane_t<T> x) { return static_cast<Acc>(x); }
  static UNSPOOL_INLINE Vec<Acc> join(Vec<Acc> a, Vec<Acc> b) {
    if constexpr (kMax)
      return max(a, b);
    else
      return min(a, b);
  }
  static UNSPOOL_INLINE Acc join(Acc a, Acc b) {
    if constexpr (kMax)
      return a > b || a != a ? a : b;
    else
      return a < b || a != a ? a : b;
  }
  static UNSPOOL_INLINE Out finish(Acc a) { return static_cast<Out>(a); }
};
template <class T>
using MaxOp = ExtremeOp<T, true>;
template <class T>
using MinOp = ExtremeOp<T, false>;

// Truth as lanes of all ones or zeros.
template <class T, bool kAny>
struct TruthOp {
  using In = T;
  using Acc = Pick<sizeof(T) == 8, int64_t, int32_t>;
  using Out = uint8_t;
  static constexpr Acc identity() { return kAny ? 0 : -1; }
  static UNSPOOL_INLINE Vec<Acc> lift(const lane_t<T>* p) {
    if constexpr (sizeof(T) == 1)
      return Vec<Acc>((typename Vec<Acc>::Raw)(load_as<T, Acc>(p) != 0.0).m);
    else
      return Vec<Acc>((typename Vec<Acc>::Raw)(Vec<T>::load(p) != 0.0).m);
  }
  static UNSPOOL_INLINE Acc lift_one(lane_t<T> x) { return x != lane_t<T>(0) ? -1 : 0; }
  static UNSPOOL_INLINE Vec<Acc> join(Vec<Acc> a, Vec<Acc> b) {
    return Vec<Acc>(kAny ? (a.v | b.v) : (a.v & b.v));
  }
  static UNSPOOL_INLINE Acc join(Acc a, Acc b) { return kAny ? (a | b) : (a & b); }
  static UNSPOOL_INLINE Out finish(Acc a) { return a != 0; }
};
template <class T>
using AnyOp = TruthOp<T, true>;
template <class T>
using AllOp = TruthOp<T, false>;

// The running result of one sequence. Feed it pieces; all but the last are multiples of kLanes and
// together fill chunks exactly.
template <class Op>
struct Sequence {
  using Acc = typename Op::Acc;
  static constexpr int kWidth = Vec<Acc>::kLanes, kVecs = kLanes / kWidth;
  Vec<Acc> lane[kVecs];
  int64_t in_chunk = 0;
  uint64_t chunks = 0;
  Acc level[kLevels];

  UNSPOOL_INLINE Sequence() { clear(); }
  UNSPOOL_INLINE void clear() {
    for (int v = 0; v < kVecs; ++v) lane[v] = Vec<Acc>::all(Op::identity());
  }

  // Of a long piece what comes kAhead bytes on is asked for: the processor does so by itself no further than
  // a page. The sum of a Trainer's 8 MB, before its first step, takes 0.7 of the time (Emerald Rapids).
  [[gnu::noinline]] void feed(const lane_t<typename Op::In>* p, int64_t n) {
    constexpr int64_t kAhead = 4096, kStep = kLanes * sizeof(*p);
    while (n > 0) {
      const int64_t m = n < kChunk - in_chunk ? n : kChunk - in_chunk;
      const int64_t ahead = n * static_cast<int64_t>(sizeof(*p)) > 2 * kAhead ? kAhead : 0;
      int64_t i = 0;
      Vec<Acc> acc[kVecs];
      for (int v = 0; v < kVecs; ++v) acc[v] = lane[v];
      for (; i + kLanes <= m; i += kLanes) {
        const char* const soon = reinterpret_cast<const char*>(p + i) + ahead;
        for (int64_t b = 0; b < kStep; b += 64) __builtin_prefetch(soon + b);
        for (int v = 0; v < kVecs; ++v) acc[v] = Op::join(acc[v], Op::lift(p + i + v * kWidth));
      }
      for (int v = 0; v < kVecs; ++v) lane[v] = acc[v];
      if (i < m) join_tail(p + i, m - i);
      in_chunk += m;
      p += m;
      n -= m;
      if (in_chunk == kChunk) carry();
    }
  }

  // n < kLanes more, into the first n lanes.
  inline void join_tail(const lane_t<typename Op::In>* p, int64_t n) {
    int v = 0;
    for (; n >= kWidth; ++v, p += kWidth, n -= kWidth) lane[v] = Op::join(lane[v], Op::lift(p));
    if (n == 0) return;
    lane_t<typename Op::In> rest[kWidth] = {};
    for (int64_t i = 0; i < n; ++i) rest[i] = p[i];
    lane[v] = where(first_lanes<Acc>(n), Op::join(lane[v], Op::lift(rest)), lane[v]);
  }

  UNSPOOL_INLINE Acc chunk_result() const {
    alignas(kVecBytes) Acc one[kLanes];
    if constexpr (kVecs > 1) {
      Vec<Acc> v[kVecs];
      for (int i = 0; i < kVecs; ++i) v[i] = lane[i];
      for (int half = kVecs / 2; half >= 1; half /= 2)
        for (int i = 0; i < half; ++i) v[i] = Op::join(v[i], v[i + half]);
      v[0].store(one);
    } else {
      lane[0].store(one);
    }
    for (int half = kWidth / 2; half >= 1; half /= 2)
      for (int i = 0; i < half; ++i) one[i] = Op::join(one[i], one[i + half]);
    return one[0];
  }
  inline void carry() {
    Acc x = chunk_result();
    int at = 0;
    for (uint64_t c = chunks; c & 1; c >>= 1) x = Op::join(level[at++], x);
    level[at] = x;
    ++chunks;
    in_chunk = 0;
    clear();
  }
  // The result of the next 2^at chunks; a multiple of as many have come before, and nothing besides.
  inline void add_block(Acc x, int at) {
    const uint64_t size = uint64_t{1} << at;
    for (uint64_t c = chunks >> at; c & 1; c >>= 1) x = Op::join(level[at++], x);
    level[at] = x;
    chunks += size;
  }
  [[gnu::noinline]] Acc result() const {
    Acc x{};
    bool any = in_chunk > 0 || chunks == 0;
    if (any) x = chunk_result();
    for (int at = 0; (chunks >> at) != 0; ++at) {
      if (((chunks >> at) & 1) == 0) continue;
      x = any ? Op::join(level[at], x) : level[at];
      any = true;
    }
    return x;
  }
};

constexpr int64_t kReduceWork = 4;  // 1/16 ns an element

// The result of n elements that feed(sequence, first, count) hands over. Of a long sequence threads
// take blocks of 2^at chunks, between 64 and 127 of them: subtrees of the one tree, so the same bits.
template <class Op, class Feed>
inline typename Op::Acc reduce_in_blocks(int64_t n, const Feed& feed) {
  constexpr int64_t kMinBlocks = 64;
  Sequence<Op> whole;
  int64_t first = 0;
  if (n >= kMinBlocks * kChunk && worth_sharing(n * kReduceWork / 16)) {
    int at = 0;
    while ((kMinBlocks * kChunk << (at + 1)) <= n) ++at;
    const int64_t block = kChunk << at;
    typename Op::Acc part[2 * kMinBlocks];
    parallel(n / block, n * kReduceWork / 16, [&](int64_t c) {
      Sequence<Op> s;
      feed(s, c * block, block);
      part[c] = s.result();
    });
    for (int64_t c = 0; c < n / block; ++c) whole.add_block(part[c], at);
    first = n / block * block;
  }
  feed(whole, first, n - first);
  return whole.result();
}

// Steps through the reduced dims in row-major order.
struct Cursor {
  const Walk<1>& w;
  const char* p;
  int64_t index[kMaxDims];
  UNSPOOL_INLINE Cursor(const Walk<1>& walk, const char* start) : w(walk), p(start) {
    for (int d = 0; d < w.ndim; ++d) index[d] = 0;
  }
  UNSPOOL_INLINE void next() {
    for (int d = 0; d < w.ndim; ++d) {
      p += w.stride[d][0];
      if (++index[d] < w.size[d]) return;
      p -= w.stride[d][0] * w.size[d];
      index[d] = 0;
    }
  }
};

template <class Op>
inline typename Op::Acc reduce_one(const Walk<1>& reduced, const char* p, int64_t count) {
  using L = lane_t<typename Op::In>;
  if (count > 0 && reduced.ndim == 1 && (reduced.stride[0][0] == sizeof(L) || count == 1))
    return reduce_in_blocks<Op>(count, [&](Sequence<Op>& s, int64_t first, int64_t n) {
      s.feed(reinterpret_cast<const L*>(p) + first, n);
    });
  Sequence<Op> s;
  L gathered[kGather];
  Cursor at(reduced, p);
  for (int64_t i = 0; i < count; i += kGather) {
    const int64_t m = count - i < kGather ? count - i : kGather;
    for (int64_t j = 0; j < m; ++j, at.next()) gathered[j] = *reinterpret_cast<const L*>(at.p);
    s.feed(gathered, m);
  }
  return s.result();
}

// A block of `width` <= kColumnBlock neighbouring columns, row by row: the same lanes, chunks and carries.
// next() gives the rows in turn.
template <class Op, class Next>
inline void reduce_columns(const Next& next, int64_t count, int64_t width, typename Op::Acc* result) {
  using Acc = typename Op::Acc;
  using L = lane_t<typename Op::In>;
  constexpr int W = Vec<Acc>::kLanes;
  alignas(kVecBytes) Acc lane[kLanes][kColumnBlock];
  Acc level[kLevels][kColumnBlock];
  const Vec<Acc> identity = Vec<Acc>::all(Op::identity());
  uint64_t chunks = 0;
  for (int64_t start = 0; start < count; start += kChunk) {
    const int64_t rows = count - start < kChunk ? count - start : kChunk;
    const int used = rows < kLanes ? static_cast<int>(rows) : kLanes;
    for (int64_t i = 0; i < rows; ++i) {
      Acc* to = lane[i % kLanes];
      const L* x = next();
      int64_t j = 0;
      if (i < kLanes) {
        for (; j + W <= width; j += W) Op::join(identity, Op::lift(x + j)).store(to + j);
        for (; j < width; ++j) to[j] = Op::join(Op::identity(), Op::lift_one(x[j]));
      } else {
        for (; j + W <= width; j += W) Op::join(Vec<Acc>::load(to + j), Op::lift(x + j)).store(to + j);
        for (; j < width; ++j) to[j] = Op::join(to[j], Op::lift_one(x[j]));
      }
    }
    for (int half = kLanes / 2; half >= 1; half /= 2)
      for (int l = 0; l < half && l + half < used; ++l) {
        int64_t j = 0;
        for (; j + W <= width; j += W)
          Op::join(Vec<Acc>::load(lane[l] + j), Vec<Acc>::load(lane[l + half] + j)).store(lane[l] + j);
        for (; j < width; ++j) lane[l][j] = Op::join(lane[l][j], lane[l + half][j]);
      }
    if (rows < kChunk) {  // the unfinished chunk at the end
      for (int64_t j = 0; j < width; ++j) result[j] = lane[0][j];
      for (int at_level = 0; (chunks >> at_level) != 0; ++at_level)
        if ((chunks >> at_level) & 1)
          for (int64_t j = 0; j < width; ++j) result[j] = Op::join(level[at_level][j], result[j]);
      return;
    }
    int at_level = 0;
    for (uint64_t c = chunks; c & 1; c >>= 1, ++at_level)
      for (int64_t j = 0; j < width; ++j) lane[0][j] = Op::join(level[at_level][j], lane[0][j]);
    for (int64_t j = 0; j < width; ++j) level[at_level][j] = lane[0][j];
    ++chunks;
  }
  bool any = false;
  for (int at_level = 0; (chunks >> at_level) != 0; ++at_level) {
    if (((chunks >> at_level) & 1) == 0) continue;
    for (int64_t j = 0; j < width; ++j)
      result[j] = any ? Op::join(level[at_level][j], result[j]) : level[at_level][j];
    any = true;
  }
  for (int64_t j = 0; !any && j < width; ++j) result[j] = Op::identity();
}

template <class Op>
inline void reduce_here(const View& out, const View& in, uint32_t dim_mask) {
  using L = lane_t<typename Op::In>;
  constexpr int64_t kItem = sizeof(L), kOut = sizeof(typename Op::Out);
  Walk<2> kept;  // in, out
  Walk<1> reduced;
  int64_t count = 1;
  for (int d = in.shape.ndim - 1; d >= 0; --d) {
    const int64_t n = in.shape.v[d], s = in.strides.v[d] * kItem;
    if ((dim_mask >> d) & 1) {
      count *= n;
      reduced.add_dim(n, {s});
    } else {
      kept.add_dim(n, {s, out.strides.v[d] * kOut});
    }
  }
  kept.finish();
  reduced.finish();
  kept.base[0] = static_cast<char*>(in.data);
  kept.base[1] = static_cast<char*>(out.data);
  const bool runs = reduced.ndim == 1 && reduced.stride[0][0] == kItem;
  const int64_t columns = kept.size[0], out_step = kept.stride[0][1];
  if (columns > 1 && kept.stride[0][0] == kItem && !runs) {
    kept.outer([&](char* const* p) {
      typename Op::Acc result[kColumnBlock];
      for (int64_t j = 0; j < columns; j += kColumnBlock) {
        const int64_t width = columns - j < kColumnBlock ? columns - j : kColumnBlock;
        Cursor at(reduced, p[0] + j * kItem);
        auto next = [&] {
          const L* row = reinterpret_cast<const L*>(at.p);
          at.next();
          return row;
        };
        reduce_columns<Op>(next, count, width, result);
        for (int64_t i = 0; i < width; ++i)
          *reinterpret_cast<typename Op::Out*>(p[1] + (j + i) * out_step) = Op::finish(result[i]);
      }
    });
    return;
  }
  kept.outer(
      [&](char* const* p) {
        *reinterpret_cast<typename Op::Out*>(p[1]) = Op::finish(reduce_one<Op>(reduced, p[0], count));
      },
      0);
}

// Threads take outputs; of a single output they take parts, in reduce_in_blocks.
template <class Op>
inline void reduce(const View& out, const View& in, uint32_t dim_mask) {
  parallel_views<2>({&in, &out}, ~dim_mask, kReduceWork,
                    [&](const View* const(&part)[2]) { reduce_here<Op>(*part[1], *part[0], dim_mask); });
}

#define UNSPOOL_REDUCTION(NAME, OP)                                                              \
  void reduce_##NAME(const View& out, const View& in, uint32_t dim_mask) {                       \
    UNSPOOL_WHOLE_NUMBERS_ELSEWHERE(in.dtype, NAME(out, in, dim_mask))                           \
    with_own_dtype(in.dtype, [&](auto zero) { reduce<OP<decltype(zero)>>(out, in, dim_mask); }); \
  }
UNSPOOL_REDUCTION(sum, SumOp)
UNSPOOL_REDUCTION(prod, ProdOp)
UNSPOOL_REDUCTION(max, MaxOp)
UNSPOOL_REDUCTION(min, MinOp)
UNSPOOL_REDUCTION(any, AnyOp)
UNSPOOL_REDUCTION(all, AllOp)
#undef UNSPOOL_REDUCTION

}  // namespace
}  // namespace unspool
