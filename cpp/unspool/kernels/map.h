// Elementwise maps: a functor on Vec<T> applied to Views of any strides. Start at map().
//
// A functor has `static constexpr int kArity` (1 to 3, or 5), a constructor from `const double*` (its
// parameters) and `operator()(Vec<T>...)` returning Vec<T>, or Mask<T> where the output is bool. The ops
// layer compiles its functors with this header once per instruction set and keeps the addresses of
// map_entry<F, Ts...> in a table; it must keep them inside an anonymous namespace, see simd.h.
//
// There is one inner loop. A broadcast operand points at a register's worth of copies and does not move;
// a strided one is gathered, and a strided output scattered, through small buffers. So every element
// goes through the same vector code, and its bits do not depend on where it stands.
#pragma once

#include "unspool/kernels/math.h"
#include "unspool/kernels/parallel.h"

namespace unspool {

using MapFn = void (*)(const View& out, const View* in, const double* params);

namespace {

constexpr int64_t kMapBlock = 512;  // elements gathered at a time

template <class T>
UNSPOOL_INLINE void store_result(Vec<T> y, char* out, int64_t at) {
  y.store(out + at * static_cast<int64_t>(sizeof(T)));
}
template <class T>
UNSPOOL_INLINE void store_result(Vec<T> y, char* out, int64_t at, int64_t n) {
  y.store(out + at * static_cast<int64_t>(sizeof(T)), n);
}
template <class T>
UNSPOOL_INLINE void store_result(Mask<T> y, char* out, int64_t at) {
  y.store_bool(reinterpret_cast<uint8_t*>(out + at), Mask<T>::kLanes);
}
template <class T>
UNSPOOL_INLINE void store_result(Mask<T> y, char* out, int64_t at, int64_t n) {
  y.store_bool(reinterpret_cast<uint8_t*>(out + at), n);
}

template <class F, class T, int A>
UNSPOOL_INLINE auto apply(const F& f, const Vec<T> (&x)[A]) {
  if constexpr (A == 1)
    return f(x[0]);
  else if constexpr (A == 2)
    return f(x[0], x[1]);
  else if constexpr (A == 3)
    return f(x[0], x[1], x[2]);
  else
    return f(x[0], x[1], x[2], x[3], x[4]);
}
template <class R>
constexpr int64_t kResultBytes = 1;
template <class T>
constexpr int64_t kResultBytes<Vec<T>> = sizeof(T);

// n elements; operand j is contiguous (moves[j] != 0) or one Vec that every step reads again (0). The one
// copy of the formula: a call costs a nanosecond or two, a copy in each caller made the extension a quarter
// larger. What the loop reads is copied first, for the compiler cannot know that the output is not there.
template <class F, class T>
[[gnu::noinline]] void map_row(const F f, char* out, const char* const* in_of, const int64_t* moves_of,
                               int64_t n) {
  constexpr int A = F::kArity, kLanes = Vec<T>::kLanes;
  using Result = decltype(apply(f, *(const Vec<T>(*)[A]) nullptr));
  const char* in[A];
  int64_t moves[A];
  for (int j = 0; j < A; ++j) {
    in[j] = in_of[j];
    moves[j] = moves_of[j];
  }
  Vec<T> x[A];
  int64_t i = 0;
  if constexpr (kNarrows && kSame<Result, Mask<T>>) {
    constexpr int kGroup = sizeof(lane_t<T>);
    for (; i + kGroup * kLanes <= n; i += kGroup * kLanes) {
      Mask<T> masks[kGroup];
      for (int k = 0; k < kGroup; ++k) {
        for (int j = 0; j < A; ++j) x[j] = Vec<T>::load(in[j] + (i + k * kLanes) * moves[j]);
        masks[k] = apply(f, x);
      }
      store_bools(masks, reinterpret_cast<uint8_t*>(out + i));
    }
  }
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < A; ++j) x[j] = Vec<T>::load(in[j] + i * moves[j]);
    store_result(apply(f, x), out, i);
  }
  if (i == n) return;
  for (int j = 0; j < A; ++j)
    x[j] = moves[j] != 0 ? Vec<T>::load(in[j] + i * moves[j], n - i) : Vec<T>::load(in[j]);
  store_result(apply(f, x), out, i, n - i);
}

// n elements with any byte strides, stride[0] being the output's.
template <class F, class T>
inline void map_strided(const F& f, char* const* p, const int64_t* stride, int64_t n, int64_t out_item) {
  constexpr int A = F::kArity;
  constexpr int64_t kItem = sizeof(T);
  alignas(kVecBytes) T copies[A][Vec<T>::kLanes];
  alignas(kVecBytes) char gathered[A][kMapBlock * kItem];
  alignas(kVecBytes) char result[kMapBlock * 8];
  const char* in[A];
  int64_t moves[A];
  bool gather[A], any = n > 1 && stride[0] != out_item;
  const bool scatter = any;
  for (int j = 0; j < A; ++j) {
    in[j] = p[j + 1];
    moves[j] = kItem;
    gather[j] = false;
    if (stride[j + 1] == 0) {
      lane_t<T> x;
      __builtin_memcpy(&x, in[j], sizeof x);
      Vec<T>::all(x).store(copies[j]);
      in[j] = reinterpret_cast<const char*>(copies[j]);
      moves[j] = 0;
    } else if (stride[j + 1] != kItem) {
      any = gather[j] = true;
    }
  }
  if (!any) return map_row<F, T>(f, p[0], in, moves, n);
  for (int64_t i = 0; i < n; i += kMapBlock) {
    const int64_t m = n - i < kMapBlock ? n - i : kMapBlock;
    const char* block[A];
    for (int j = 0; j < A; ++j) {
      block[j] = in[j] + i * moves[j];
      if (!gather[j]) continue;
      move_items<lane_t<T>>(gathered[j], kItem, p[j + 1] + i * stride[j + 1], stride[j + 1], m);
      block[j] = gathered[j];
    }
    char* to = p[0] + i * stride[0];
    map_row<F, T>(f, scatter ? result : to, block, moves, m);
    if (!scatter) continue;
    if (out_item == 1)
      move_items<uint8_t>(to, stride[0], result, 1, m);
    else
      move_items<lane_t<T>>(to, stride[0], result, kItem, m);
  }
}

// out = f(in...). Inputs have out's shape (stride 0 where they are broadcast); out may be one of them.
template <class F, class T>
inline void map_views(const View& out, const View* const (&in)[F::kArity], const F& f) {
  constexpr int A = F::kArity;
  constexpr int64_t kOutItem = kResultBytes<decltype(apply(f, *(const Vec<T>(*)[A]) nullptr))>;
  Walk<A + 1> w;
  const View* views[A + 1];
  views[0] = &out;
  for (int j = 0; j < A; ++j) views[j + 1] = in[j];
  start(w, (const View* const(&)[A + 1]) views);
  if (w.ndim > 1 || w.empty) {
    w.outer([&](char* const* p) { map_strided<F, T>(f, p, w.stride[0], w.size[0], kOutItem); });
    return;
  }
  bool dense = w.size[0] == 1 || w.stride[0][0] == kOutItem;
  int64_t moves[A];
  const char* p[A];
  for (int j = 0; j < A; ++j) {
    p[j] = w.base[j + 1];
    moves[j] = sizeof(T);
    dense = dense && (w.size[0] == 1 || w.stride[0][j + 1] == static_cast<int64_t>(sizeof(T)));
  }
  if (dense)
    map_row<F, T>(f, w.base[0], p, moves, w.size[0]);
  else
    map_strided<F, T>(f, w.base, w.stride[0], w.size[0], kOutItem);
}

template <class F, class T>
inline void map(const View& out, const View* in, const F& f) {
  const View* views[F::kArity];
  for (int j = 0; j < F::kArity; ++j) views[j] = &in[j];
  map_views<F, T>(out, views, f);
}

template <class F, class... Ts>
[[gnu::noinline]] void map_here(const View& out, const View* in, const double* params) {
  const F f(params);
  (void)((in[0].dtype == DTypeOf<Ts>::value && (map<F, Ts>(out, in, f), true)) || ...);
}

constexpr int64_t kMapWork = 6;  // 1/16 ns an element: between a sum in cache and an exponential

// MapFn wants its inputs one after another in memory.
template <int A>
[[gnu::noinline]] void map_shared(MapFn here, const View& out, const View* in, const double* params) {
  const int dim = dim_to_cut(out.shape, ~0u);
  parallel_cuts(out.shape, dim, numel_of(out) * kMapWork / 16, [&](int64_t first, int64_t count) {
    View part[A + 1];
    set_part(part[0], out, dim, first, count);
    for (int j = 0; j < A; ++j) set_part(part[j + 1], in[j], dim, first, count);
    here(part[0], part + 1, params);
  });
}

// in[0]'s dtype is one of Ts (the caller has checked); the other inputs have the same.
template <class F, class... Ts>
void map_entry(const View& out, const View* in, const double* params) {
  if (out.shape.ndim > 0 && worth_sharing(numel_of(out) * kMapWork / 16))
    map_shared<F::kArity>(map_here<F, Ts...>, out, in, params);
  else
    map_here<F, Ts...>(out, in, params);
}

}  // namespace
}  // namespace unspool
