// What the tests of the random stream share: vectors of draws, and a hash of a generator's state.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "unspool/base/random.h"
#include "unspool/ops/random_fill.h"

namespace unspool {

template <class T>
View view(std::vector<T>& x) {
  return {x.data(), dtype_of<T>, {static_cast<std::int64_t>(x.size())}, {1}};
}

template <class T>
std::vector<T> uniform(Generator& g, std::size_t n, double from = 0, double to = 1) {
  std::vector<T> x(n);
  fill_uniform(g, view(x), from, to);
  return x;
}
template <class T>
std::vector<T> normal(Generator& g, std::size_t n, double mean = 0, double std = 1) {
  std::vector<T> x(n);
  fill_normal(g, view(x), mean, std);
  return x;
}
template <class T>
std::vector<T> uniform(std::uint64_t seed, std::size_t n, double from = 0, double to = 1) {
  Generator g(seed);
  return uniform<T>(g, n, from, to);
}
template <class T>
std::vector<T> normal(std::uint64_t seed, std::size_t n, double mean = 0, double std = 1) {
  Generator g(seed);
  return normal<T>(g, n, mean, std);
}
template <class T>
std::vector<T> randint(std::uint64_t seed, std::size_t n, std::int64_t low,
                       std::optional<std::int64_t> high) {
  Generator g(seed);
  std::vector<T> x(n);
  fill_randint(g, view(x), low, high);
  return x;
}
template <class T>
std::vector<T> random(std::uint64_t seed) {
  Generator g(seed);
  std::vector<T> x(4);
  fill_random(g, view(x));
  return x;
}

template <class T>
void expect_near(const std::vector<T>& got, const std::vector<T>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], want[i], 4 * std::numeric_limits<T>::epsilon() * std::max(T(1), std::abs(want[i])))
        << i;
}

// FNV-1a over the state's bytes; the tables hold the same hash of torch.Generator.get_state().
inline std::uint64_t hash(const Generator& g) {
  std::uint64_t h = 0xcbf29ce484222325u;
  for (std::uint8_t byte : g.get_state()) h = (h ^ byte) * 0x100000001b3u;
  return h;
}

}  // namespace unspool
