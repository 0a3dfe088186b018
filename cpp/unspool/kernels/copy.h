// Strided copies with conversion, fills and row gathers. Internal linkage, see simd.h.
#pragma once

#include "unspool/kernels/parallel.h"

namespace unspool {
namespace {

template <class To, class From>
inline void convert_row(char* to, int64_t to_stride, const char* from, int64_t from_stride, int64_t n) {
  using L = lane_t<To>;
  using M = lane_t<From>;
  if (to_stride == static_cast<int64_t>(sizeof(L)) && from_stride == static_cast<int64_t>(sizeof(M))) {
    L* t = reinterpret_cast<L*>(to);
    const M* f = reinterpret_cast<const M*>(from);
    for (int64_t i = 0; i < n; ++i) t[i] = convert<To>(f[i]);
    return;
  }
  for (int64_t i = 0; i < n; ++i)
    *reinterpret_cast<L*>(to + i * to_stride) =
        convert<To>(*reinterpret_cast<const M*>(from + i * from_stride));
}

// The 16-bit types convert to and from float; every other type goes through floats, as in PyTorch.
using ConvertRow = void (*)(char* to, int64_t to_stride, const char* from, int64_t from_stride, int64_t n);

template <class H>
inline void widen_row(char* to, int64_t to_stride, const char* from, int64_t from_stride, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    *reinterpret_cast<float*>(to + i * to_stride) = *reinterpret_cast<const H*>(from + i * from_stride);
}
template <class H>
inline void narrow_row(char* to, int64_t to_stride, const char* from, int64_t from_stride, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    *reinterpret_cast<H*>(to + i * to_stride) = H(*reinterpret_cast<const float*>(from + i * from_stride));
}

inline bool is_16_bit(DType d) { return bytes_of(d) == 2; }

inline ConvertRow to_float(DType from) {
  if (from == DType::Float16) return widen_row<float16>;
  if (from == DType::BFloat16) return widen_row<bfloat16>;
  ConvertRow row = nullptr;
  with_dtype(from, [&](auto zero) { row = convert_row<float, decltype(zero)>; });
  return row;
}
inline ConvertRow from_float(DType to) {
  if (to == DType::Float16) return narrow_row<float16>;
  if (to == DType::BFloat16) return narrow_row<bfloat16>;
  ConvertRow row = nullptr;
  with_dtype(to, [&](auto zero) { row = convert_row<decltype(zero), float>; });
  return row;
}

inline void copy_halves(const Walk<2>& w, DType to, DType from) {
  ConvertRow read = to_float(from), write = from_float(to);
  constexpr int64_t kBlock = 512;
  alignas(64) float floats[kBlock];
  w.outer([&](char* const* p) {
    for (int64_t i = 0; i < w.size[0]; i += kBlock) {
      const int64_t n = w.size[0] - i < kBlock ? w.size[0] - i : kBlock;
      char* const out = reinterpret_cast<char*>(floats);
      read(out, sizeof(float), p[1] + i * w.stride[0][1], w.stride[0][1], n);
      write(p[0] + i * w.stride[0][0], w.stride[0][0], out, sizeof(float), n);
    }
  });
}

// Elements of one size, moved as bits.
template <class Bits>
inline void copy_same(const Walk<2>& w) {
  constexpr int64_t kItem = sizeof(Bits);
  const int64_t n = w.size[0], to = w.stride[0][0], from = w.stride[0][1];
  if (to == kItem && from == kItem) {
    w.outer([&](char* const* p) { __builtin_memcpy(p[0], p[1], static_cast<size_t>(n * kItem)); });
    return;
  }
  if (w.ndim >= 2 && to == kItem && w.stride[1][1] == kItem) {
    // A transposition: in squares, so that the lines read across are used while they are in cache.
    constexpr int64_t kSide = 32;
    const int64_t m = w.size[1], to1 = w.stride[1][0];
    w.outer(
        [&](char* const* p) {
          for (int64_t i = 0; i < m; i += kSide)
            for (int64_t j = 0; j < n; j += kSide) {
              const int64_t rows = m - i < kSide ? m - i : kSide;
              const int64_t columns = n - j < kSide ? n - j : kSide;
              for (int64_t r = i; r < i + rows; ++r)
                move_items<Bits>(p[0] + r * to1 + j * kItem, kItem, p[1] + r * kItem + j * from, from,
                                 columns);
            }
        },
        2);
    return;
  }
  w.outer([&](char* const* p) { move_items<Bits>(p[0], to, p[1], from, n); });
}

constexpr int64_t kCopyWork = 4;  // 1/16 ns an element

inline void copy_here(const View& out, const View& in) {
  Walk<2> w;
  start(w, {&out, &in});
  if (w.empty) return;
  if (out.dtype == in.dtype) {
    switch (bytes_of(out.dtype)) {
      case 1:
        return copy_same<uint8_t>(w);
      case 2:
        return copy_same<uint16_t>(w);
      case 4:
        return copy_same<uint32_t>(w);
      default:
        return copy_same<uint64_t>(w);
    }
  }
  if (is_16_bit(out.dtype) || is_16_bit(in.dtype)) return copy_halves(w, out.dtype, in.dtype);
  with_dtype(out.dtype, [&](auto to) {
    with_dtype(in.dtype, [&](auto from) {
      w.outer([&](char* const* p) {
        convert_row<decltype(to), decltype(from)>(p[0], w.stride[0][0], p[1], w.stride[0][1], w.size[0]);
      });
    });
  });
}

void copy(const View& out, const View& in) {
  parallel_views<2>({&out, &in}, ~0u, kCopyWork,
                    [](const View* const(&part)[2]) { copy_here(*part[0], *part[1]); });
}

inline void fill_here(const View& out, double value, int64_t ivalue) {
  Walk<1> w;
  start(w, {&out});
  if (is_16_bit(out.dtype)) {
    const float number = static_cast<float>(value);
    const char* from = reinterpret_cast<const char*>(&number);
    const ConvertRow write = from_float(out.dtype);
    w.outer([&](char* const* p) { write(p[0], w.stride[0][0], from, 0, w.size[0]); });
    return;
  }
  with_dtype(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    using L = lane_t<T>;
    L x;
    if constexpr (kFloating<T>)
      x = static_cast<T>(value);
    else
      x = convert<T>(ivalue);
    const int64_t n = w.size[0], stride = w.stride[0][0];
    w.outer([&](char* const* p) {
      if (stride == static_cast<int64_t>(sizeof(L))) {
        L* to = reinterpret_cast<L*>(p[0]);
        for (int64_t i = 0; i < n; ++i) to[i] = x;
      } else {
        for (int64_t i = 0; i < n; ++i) *reinterpret_cast<L*>(p[0] + i * stride) = x;
      }
    });
  });
}

void fill(const View& out, double value, int64_t ivalue) {
  parallel_views<1>({&out}, ~0u, kCopyWork / 2,
                    [&](const View* const(&part)[1]) { fill_here(*part[0], value, ivalue); });
}

inline void gather_here(char* to, const char* from, int64_t row_bytes, int64_t in_row_stride_bytes,
                        const int64_t* index, int64_t n) {
  if (row_bytes == 4 || row_bytes == 8) {
    for (int64_t i = 0; i < n; ++i)
      if (row_bytes == 4)
        __builtin_memcpy(to + i * 4, from + index[i] * in_row_stride_bytes, 4);
      else
        __builtin_memcpy(to + i * 8, from + index[i] * in_row_stride_bytes, 8);
    return;
  }
#if defined(__AVX2__)
  // Short rows by vectors: a call of memcpy takes as long as waiting for what one of them reads.
  constexpr int64_t kStep = Vec<float>::kLanes;
  if (row_bytes % 4 == 0 && row_bytes <= 16 * kStep) {
    const int64_t numbers = row_bytes / 4, whole = numbers / kStep * kStep;
    for (int64_t i = 0; i < n; ++i, to += row_bytes) {
      const char* row = from + index[i] * in_row_stride_bytes;
      int64_t j = 0;
      for (; j < whole; j += kStep) Vec<float>::load(row + 4 * j).store(to + 4 * j);
      if (j < numbers) Vec<float>::load(row + 4 * j, numbers - j).store(to + 4 * j, numbers - j);
    }
    return;
  }
#endif
  // Rows are asked for two ahead. Past the second cache, where they take the room of what steps use, was 0.99
  // of a Trainer's step of 784-256-256-10, whose batch is 400 KB, on a Zen 5; but an Emerald Rapids then
  // keeps them in no cache at all, and took 1.035 of the time.
  constexpr int64_t kRowsAhead = 2;
  for (int64_t i = 0; i < n; ++i) {
    if (i + kRowsAhead < n) {
      const char* const soon = from + index[i + kRowsAhead] * in_row_stride_bytes;
      for (int64_t b = 0; b < row_bytes; b += 64) __builtin_prefetch(soon + b);
    }
    __builtin_memcpy(to + i * row_bytes, from + index[i] * in_row_stride_bytes,
                     static_cast<size_t>(row_bytes));
  }
}

void gather_rows(void* out, const void* in, int64_t row_bytes, int64_t in_row_stride_bytes,
                 const int64_t* index, int64_t n) {
  char* to = static_cast<char*>(out);
  const char* from = static_cast<const char*>(in);
  parallel_ranges(n, 64, n * row_bytes * kCopyWork / 64, [&](int64_t first, int64_t count) {
    gather_here(to + first * row_bytes, from, row_bytes, in_row_stride_bytes, index + first, count);
  });
}

}  // namespace
}  // namespace unspool
