// Layouts: which strides are dense, and those of elementwise results. Against an enumeration of places.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include "unspool/base/shape.h"

namespace unspool {
namespace {

std::vector<std::int64_t> places(const Shape& shape, const Strides& strides) {
  std::vector<std::int64_t> all{0};
  for (int d = 0; d < shape.ndim; ++d) {
    std::vector<std::int64_t> next;
    for (std::int64_t at : all)
      for (std::int64_t i = 0; i < shape[d]; ++i) next.push_back(at + i * strides[d]);
    all = next;
  }
  return all;
}

bool without_gaps(const Shape& shape, const Strides& strides) {
  const std::vector<std::int64_t> all = places(shape, strides);
  const std::set<std::int64_t> distinct(all.begin(), all.end());
  return distinct.size() == all.size() &&
         (all.empty() || *distinct.rbegin() == static_cast<std::int64_t>(all.size()) - 1);
}

TEST(Layout, DenseMeansEveryPlaceOnce) {
  std::mt19937 random(1);
  auto below = [&](std::uint32_t n) { return static_cast<std::int64_t>(random() % n); };
  int dense = 0;
  for (int round = 0; round < 20000; ++round) {
    Shape shape, strides;
    for (int d = 0, ndim = static_cast<int>(below(5)); d < ndim; ++d) {
      shape.push(below(4));
      constexpr std::int64_t kSteps[] = {0, 1, 2, 3, 4, 6, 9};
      strides.push(kSteps[below(7)]);
    }
    ASSERT_EQ(is_dense(shape, strides), without_gaps(shape, strides)) << shape.str() << strides.str();
    dense += is_dense(shape, strides) ? 1 : 0;
  }
  EXPECT_GT(dense, 1000);
}

TEST(Layout, ResultsAreDenseInTheFirstOperandsOrder) {
  std::mt19937 random(2);
  for (int round = 0; round < 5000; ++round) {
    const int ndim = static_cast<int>(random() % 4) + 1;
    Shape shape, order;
    for (int d = 0; d < ndim; ++d) {
      shape.push(static_cast<std::int64_t>(random() % 3) + 2);
      order.insert(static_cast<int>(random() % static_cast<unsigned>(d + 1)), d);
    }
    // A permutation of dense memory, with or without gaps, and a contiguous second operand.
    Strides strides = shape;
    std::int64_t step = random() % 2 ? 3 : 1;
    for (int d : order) {
      strides[d] = step;
      step *= shape[d];
    }
    const Operand operands[] = {{shape, strides}, {shape, contiguous_strides(shape)}};
    const Strides result = result_strides(shape, operands, 2);
    ASSERT_TRUE(without_gaps(shape, result));
    for (int a = 0; a < ndim; ++a)
      for (int b = 0; b < ndim; ++b) ASSERT_EQ(result[a] < result[b], strides[a] < strides[b]);
  }
}

TEST(Layout, WhatIsBroadcastDoesNotDecide) {
  // (3, 1) beside (2, 3, 4) by columns of its last two dims.
  const Operand operands[] = {{{3, 1}, {1, 1}}, {{2, 3, 4}, {12, 1, 3}}};
  EXPECT_EQ(result_strides({2, 3, 4}, operands, 2), (Strides{12, 1, 3}));
  const Operand expanded{{2, 3}, {0, 1}};
  EXPECT_EQ(result_strides({2, 3}, &expanded, 1), (Strides{3, 1}));
  EXPECT_EQ(result_strides({}, nullptr, 0), Strides{});
}

TEST(Layout, ACopyKeepsDenseStrides) {
  EXPECT_EQ(copy_strides({2, 3}, {1, 2}), (Strides{1, 2}));
  EXPECT_EQ(copy_strides({2, 3}, {2, 4}), (Strides{1, 2}));  // gaps close
  EXPECT_EQ(copy_strides({2, 3}, {6, 1}), (Strides{3, 1}));
  EXPECT_TRUE(same_places({2, 1, 3}, {1, 7, 2}, {1, 0, 2}));
  EXPECT_FALSE(same_places({2, 1, 3}, {1, 7, 2}, {3, 7, 1}));
}

}  // namespace
}  // namespace unspool
