// Numbers in [0, 1) from the engine's words, and the order in which a view's elements lie in memory.
#include "unspool/ops/random_draw.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace unspool {

std::string text(double x) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%g", x);
  return buffer;
}

Walk memory_order(const char* op, const View& v) {
  Walk w;
  w.numel = v.numel();
  if (w.numel == 0) return w;
  for (int d = 0; d < v.shape.ndim; ++d) {
    if (v.shape[d] == 1) continue;
    if (v.strides[d] == 0)
      fail(
          ErrorKind::Runtime, op,
          ": unsupported operation: more than one element of the written-to tensor refers to a single memory "
          "location; shape ",
          v.shape, ", strides ", v.strides);
    int at = w.rank++;
    for (; at > 0 && std::abs(v.strides[w.order[at - 1]]) < std::abs(v.strides[d]); --at) {
      w.order[at] = w.order[at - 1];
      w.row_major = false;
    }
    w.order[at] = d;
  }
  for (int i = 0; i < w.rank; ++i) {
    const std::int64_t size = v.shape[w.order[i]], stride = v.strides[w.order[i]];
    if (w.ndim > 0 && w.stride[w.ndim - 1] == size * stride) {
      w.size[w.ndim - 1] *= size;
      w.stride[w.ndim - 1] = stride;
    } else {
      w.size[w.ndim] = size;
      w.stride[w.ndim++] = stride;
    }
  }
  return w;
}

// [0, 1): the low 24 bits of a word.
void draw_unit(Generator& g, float* out, std::int64_t n) {
  std::uint32_t words[kChunk];
  for (std::int64_t at = 0; at < n; at += kChunk) {
    const std::int64_t count = std::min(kChunk, n - at);
    g.fill32(words, count);
    for (std::int64_t i = 0; i < count; ++i) out[at + i] = unit_of(words[i]);
  }
}

// [0, 1): the low 53 bits of two words, high word first. Both halves and their sum are exact doubles.
void draw_unit(Generator& g, double* out, std::int64_t n) {
  std::uint32_t words[2 * kChunk];
  for (std::int64_t at = 0; at < n; at += kChunk) {
    const std::int64_t count = std::min(kChunk, n - at);
    g.fill32(words, 2 * count);
    for (std::int64_t i = 0; i < count; ++i) {
      out[at + i] = unit_of(words[2 * i], words[2 * i + 1]);
    }
  }
}

}  // namespace unspool
