// The order of a row's elements: stable, NaN the largest, -0 equal to 0. Start at order_row().
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace unspool {

// A number of the same size whose order as an unsigned one is the element's.
template <class T>
auto order_key(T x, bool descending) {
  using Key = std::conditional_t<sizeof(T) == 1, std::uint8_t,
                                 std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>;
  constexpr Key kTop = std::is_signed_v<T> ? Key(Key(1) << (8 * sizeof(T) - 1)) : Key(0);
  Key key;
  if constexpr (std::is_floating_point_v<T>) {
    const Key bits = std::bit_cast<Key>(x + T(0));  // -0 as 0
    key = x != x ? Key(~Key(0)) : bits & kTop ? Key(~bits) : Key(bits ^ kTop);
  } else {
    key = Key(std::bit_cast<Key>(x) ^ kTop);
  }
  return descending ? Key(~key) : key;
}

// Words of scratch memory for a row of n.
inline std::int64_t order_scratch(std::int64_t n) { return 4 * n; }

// The positions of v's n elements in their order. Short rows sort (key, position) pairs by comparison. Long
// ones go through a radix sort, a byte a pass, which costs about 2 ns an element and pass and no mispredicted
// branch.
template <class T>
void order_row(const T* v, std::int64_t n, bool descending, std::int64_t* order, std::uint64_t* scratch) {
  using Key = decltype(order_key(v[0], false));
  struct Entry {
    Key key;
    std::int64_t at;
  };
  static_assert(sizeof(Entry) <= 16);
  Entry* from = reinterpret_cast<Entry*>(scratch);
  Entry* to = from + n;
  for (std::int64_t i = 0; i < n; ++i) from[i] = {order_key(v[i], descending), i};
  constexpr std::int64_t kShort = 16 * sizeof(Key);
  if (n < kShort) {
    std::sort(from, from + n,
              [](const Entry& a, const Entry& b) { return a.key != b.key ? a.key < b.key : a.at < b.at; });
  } else {
    std::int64_t counts[sizeof(Key)][256] = {};
    for (std::int64_t i = 0; i < n; ++i)
      for (std::size_t d = 0; d < sizeof(Key); ++d) ++counts[d][(from[i].key >> (8 * d)) & 255];
    for (std::size_t d = 0; d < sizeof(Key); ++d) {
      std::int64_t* count = counts[d];
      if (std::find(count, count + 256, n) != count + 256) continue;  // all have the same digit
      std::int64_t place = 0;
      for (int k = 0; k < 256; ++k) place += std::exchange(count[k], place);
      for (std::int64_t i = 0; i < n; ++i) to[count[(from[i].key >> (8 * d)) & 255]++] = from[i];
      std::swap(from, to);
    }
  }
  for (std::int64_t i = 0; i < n; ++i) order[i] = from[i].at;
}

}  // namespace unspool
