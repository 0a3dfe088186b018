// Copies and reductions: every dtype, layouts, accuracy, and one order of additions for all layouts.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "unspool/kernels/table.h"

namespace unspool {
namespace {

template <class T>
View view(T* data, const Shape& shape, const Strides& strides) {
  View v;
  v.data = const_cast<std::remove_const_t<T>*>(data);
  v.dtype = dtype_of<std::remove_const_t<T>>;
  v.shape = shape;
  v.strides = strides;
  return v;
}
template <class T>
View view(std::vector<T>& data, const Shape& shape) {
  return view(data.data(), shape, contiguous_strides(shape));
}

class Reduce : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    table_ = kernel_table(GetParam());
    if (table_ == nullptr) GTEST_SKIP() << isa_name(GetParam()) << " is not available here";
  }
  const KernelTable* table_ = nullptr;
};

TEST_P(Reduce, CopyConvertsAsC) {
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  std::vector<double> x = {0.0, -0.0, 1.9, -1.9, nan, inf, -inf, 300.0, -1.0, 3e9, 1e19};
  const Shape shape{static_cast<std::int64_t>(x.size())};
  std::vector<std::int64_t> i64(x.size());
  std::vector<std::int32_t> i32(x.size());
  std::vector<std::uint8_t> u8(x.size()), truth(x.size());
  table_->copy(view(i64, shape), view(x, shape));
  table_->copy(view(i32, shape), view(x, shape));
  table_->copy(view(u8, shape), view(x, shape));
  View truths = view(truth, shape);
  truths.dtype = DType::Bool;
  table_->copy(truths, view(x, shape));
  const auto low = std::numeric_limits<std::int64_t>::min();
  const auto low32 = std::numeric_limits<std::int32_t>::min();
  EXPECT_EQ(i64, (std::vector<std::int64_t>{0, 0, 1, -1, low, low, low, 300, -1, 3000000000, low}));
  EXPECT_EQ(i32, (std::vector<std::int32_t>{0, 0, 1, -1, low32, low32, low32, 300, -1, low32, low32}));
  EXPECT_EQ(u8, (std::vector<std::uint8_t>{0, 0, 1, 255, 0, 0, 0, 44, 255, 0, 0}));
  EXPECT_EQ(truth, (std::vector<std::uint8_t>{0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1}));
}

TEST_P(Reduce, CopyOfStridedViews) {
  std::vector<float> x(70 * 45), y(70 * 45, -1);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  table_->copy(view(y, {45, 70}), view(x.data(), {45, 70}, {1, 45}));
  for (int i = 0; i < 45; ++i)
    for (int j = 0; j < 70; ++j) ASSERT_EQ(y[i * 70 + j], x[j * 45 + i]);
  std::vector<double> z(100, -1);
  table_->copy(view(z.data() + 1, {5, 4}, {20, 3}), view(x.data() + 100, {5, 4}, {-7, 2}));
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 4; ++j) ASSERT_EQ(z[1 + i * 20 + j * 3], 100 - 7 * i + 2 * j);
  table_->fill(view(z.data(), {50}, {2}), 2.5, 9);
  EXPECT_EQ(z[98], 2.5);
  EXPECT_EQ(z[99], -1);
}

TEST_P(Reduce, GatherRows) {
  const std::vector<float> x = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  const std::vector<std::int64_t> index = {2, 0, 0};
  std::vector<float> y(9);
  table_->gather_rows(y.data(), x.data(), 12, 12, index.data(), 3);
  EXPECT_EQ(y, (std::vector<float>{6, 7, 8, 0, 1, 2, 0, 1, 2}));
}

// Reference by brute force over index tuples.
template <class T>
void check_all_masks(const KernelTable& table, const Shape& shape) {
  std::int64_t n = 1;
  for (std::int64_t s : shape) n *= s;
  std::vector<T> x(static_cast<std::size_t>(n) + 1);
  for (std::int64_t i = 0; i < n; ++i) x[static_cast<std::size_t>(i)] = static_cast<T>((i * 37 + 11) % 13);
  const Strides strides = contiguous_strides(shape);
  for (std::uint32_t mask = 0; mask < (1u << shape.ndim); ++mask) {
    Shape out_shape = shape;
    for (int d = 0; d < shape.ndim; ++d)
      if ((mask >> d) & 1) out_shape[d] = 1;
    const Strides out_strides = contiguous_strides(out_shape);
    std::int64_t m = 1;
    for (std::int64_t s : out_shape) m *= s;
    std::vector<double> sum(static_cast<std::size_t>(m), 0), top(sum.size(), -1e9), low(sum.size(), 1e9);
    for (std::int64_t i = 0; i < n; ++i) {
      std::int64_t at = 0, rest = i;
      for (int d = 0; d < shape.ndim; ++d) {
        const std::int64_t index = rest / strides[d];
        rest %= strides[d];
        if (!((mask >> d) & 1)) at += index * out_strides[d];
      }
      const double v = static_cast<double>(x[static_cast<std::size_t>(i)]);
      sum[static_cast<std::size_t>(at)] += v;
      top[static_cast<std::size_t>(at)] = std::max(top[static_cast<std::size_t>(at)], v);
      low[static_cast<std::size_t>(at)] = std::min(low[static_cast<std::size_t>(at)], v);
    }
    using S = std::conditional_t<std::is_floating_point_v<T>, T, std::int64_t>;
    std::vector<S> total(static_cast<std::size_t>(m));
    std::vector<T> extreme(total.size());
    table.sum(view(total, out_shape), view(x, shape), mask);
    for (std::size_t i = 0; i < total.size(); ++i) ASSERT_EQ(static_cast<double>(total[i]), sum[i]);
    if (n == 0) continue;
    table.max(view(extreme, out_shape), view(x, shape), mask);
    for (std::size_t i = 0; i < total.size(); ++i) ASSERT_EQ(static_cast<double>(extreme[i]), top[i]);
    table.min(view(extreme, out_shape), view(x, shape), mask);
    for (std::size_t i = 0; i < total.size(); ++i) ASSERT_EQ(static_cast<double>(extreme[i]), low[i]);
  }
}

TEST_P(Reduce, EveryMaskOfDims) {
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{7}, Shape{0, 3}, Shape{10, 40}, Shape{40, 10},
                             Shape{3, 5, 33}, Shape{2, 17, 3, 5}, Shape{5000, 3}, Shape{3, 9000}}) {
    check_all_masks<float>(*table_, shape);
    check_all_masks<double>(*table_, shape);
    check_all_masks<std::int32_t>(*table_, shape);
    check_all_masks<std::int64_t>(*table_, shape);
    check_all_masks<std::uint8_t>(*table_, shape);
  }
}

TEST_P(Reduce, ProductsAndTruth) {
  std::vector<double> x = {1, 2, 3, 4, 0.5, 6};
  std::vector<double> y(3);
  table_->prod(view(y, {1, 3}), view(x, {2, 3}), 1);
  EXPECT_EQ(y, (std::vector<double>{4, 1, 18}));
  std::vector<std::uint8_t> t(2);
  View truth = view(t, {2, 1});
  truth.dtype = DType::Bool;
  std::vector<float> z = {0, 0, 0, std::nanf(""), 2, 1};
  table_->any(truth, view(z, {2, 3}), 2);
  EXPECT_EQ(t, (std::vector<std::uint8_t>{0, 1}));
  table_->all(truth, view(z, {2, 3}), 2);
  EXPECT_EQ(t, (std::vector<std::uint8_t>{0, 1}));
  table_->all(truth, view(z.data(), {2, 0}, {1, 1}), 2);
  EXPECT_EQ(t, (std::vector<std::uint8_t>{1, 1}));
  std::vector<std::uint8_t> bits(100, 1);
  View bools = view(bits, {2, 50});
  bools.dtype = DType::Bool;
  bits[77] = 0;
  table_->all(truth, bools, 2);
  EXPECT_EQ(t, (std::vector<std::uint8_t>{1, 0}));
  std::vector<std::int64_t> count(1);
  table_->sum(view(count, {1, 1}), bools, 3);
  EXPECT_EQ(count[0], 99);
}

TEST_P(Reduce, NanWinsWhereverItStands) {
  for (std::size_t n : {1u, 5u, 16u, 33u, 100u, 5000u})
    for (std::size_t at = 0; at < n; at += 1 + n / 7) {
      std::vector<float> x(n), y(1);
      for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(i % 10);
      x[at] = std::nanf("");
      const auto size = static_cast<std::int64_t>(n);
      table_->max(view(y, {1}), view(x, {size}), 1);
      EXPECT_TRUE(std::isnan(y[0]));
      table_->min(view(y, {1, 1}), view(x, {size, 1}), 1);
      EXPECT_TRUE(std::isnan(y[0]));
      std::vector<std::int64_t> index(1);
      table_->argmax(view(index, {1}), view(x, {size}), 0);
      EXPECT_EQ(index[0], static_cast<std::int64_t>(at));
      table_->min_dim(view(y, {1}), view(index, {1}), view(x, {size}), 0);
      EXPECT_EQ(index[0], static_cast<std::int64_t>(at));
      EXPECT_TRUE(std::isnan(y[0]));
    }
}

TEST_P(Reduce, ExtremesTakeTheFirstOfEquals) {
  std::vector<double> x(120 * 90);
  std::mt19937 random(3);
  for (double& v : x) v = static_cast<double>(random() % 50);
  std::vector<double> top(120);
  std::vector<std::int64_t> at(120);
  for (bool transposed : {false, true}) {
    const View in = view(x.data(), {120, 90}, transposed ? Strides{1, 120} : Strides{90, 1});
    auto get = [&](int i, int j) { return transposed ? x[j * 120 + i] : x[i * 90 + j]; };
    table_->max_dim(view(top, {120, 1}), view(at, {120, 1}), in, 1);
    for (int i = 0; i < 120; ++i) {
      int best = 0;
      for (int j = 1; j < 90; ++j)
        if (get(i, j) > get(i, best)) best = j;
      ASSERT_EQ(at[i], best);
      ASSERT_EQ(top[i], get(i, best));
    }
    table_->argmin(view(at, {1, 90}), in, 0);
    for (int j = 0; j < 90; ++j) {
      int best = 0;
      for (int i = 1; i < 120; ++i)
        if (get(i, j) < get(best, j)) best = i;
      ASSERT_EQ(at[j], best);
    }
  }
}

TEST_P(Reduce, FloatSumsAreAccurate) {
  std::vector<float> x(10'000'000);
  std::mt19937 random(1);
  double exact = 0, magnitude = 0;
  for (float& v : x) {
    v = static_cast<float>(random()) * 0x1p-31f - 0.7f;
    exact += v;
    magnitude += std::fabs(v);
  }
  std::vector<float> y(1);
  table_->sum(view(y, {1}), view(x, {10'000'000}), 1);
  EXPECT_LE(std::fabs(y[0] - exact), 2 * 0x1p-24 * magnitude);
  EXPECT_LE(std::fabs(y[0] - exact), 0x1p-23 * std::fabs(exact));
}

// Ten million equal numbers: in a lane every addition may round the same way.
TEST_P(Reduce, DoubleSumsAreAccurate) {
  constexpr std::int64_t n = 10'000'000;
  std::vector<double> x(n), y(1);
  for (double each : {0.1, 1.0 / 3, 0.7, 1.0 + 0x1p-52, 2.0 - 0x1p-52}) {
    x.assign(n, each);
    table_->sum(view(y, {1}), view(x, {n}), 1);
    const long double exact = static_cast<long double>(each) * n;
    EXPECT_LE(std::fabs(static_cast<double>(y[0] - exact)), 2 * 0x1p-53 * exact) << each;
  }
  std::mt19937_64 random(3);
  long double exact = 0, magnitude = 0;
  for (double& v : x) {
    v = static_cast<double>(random() >> 11) * 0x1p-52 - 0.9;
    exact += v;
    magnitude += std::fabs(v);
  }
  table_->sum(view(y, {1}), view(x, {n}), 1);
  EXPECT_LE(std::fabs(static_cast<double>(y[0] - exact)), 2 * 0x1p-53 * magnitude);
}

// The same sequence of numbers gives the same bits by runs, by columns and gathered.
TEST_P(Reduce, OneOrderForAllLayouts) {
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal;
  for (std::int64_t n : {3, 10, 15, 16, 17, 31, 32, 33, 100, 511, 512, 513, 4095, 4096, 4097, 8192, 20000}) {
    const std::int64_t m = 37;
    std::vector<double> rows(static_cast<std::size_t>(m * n)), columns(rows.size());
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        rows[static_cast<std::size_t>(i * n + j)] = columns[static_cast<std::size_t>(j * m + i)] =
            normal(random);
    std::vector<double> a(static_cast<std::size_t>(m)), b(a.size()), c(a.size());
    table_->sum(view(a, {m, 1}), view(rows, {m, n}), 2);
    table_->sum(view(b, {1, m}), view(columns, {n, m}), 1);
    EXPECT_EQ(a, b) << n;
    for (std::int64_t i = 0; i < m; ++i)
      table_->sum(view(&c[static_cast<std::size_t>(i)], {1}, {1}),
                  view(&columns[static_cast<std::size_t>(i)], {n}, {m}), 1);
    EXPECT_EQ(a, c) << n;
    if (const KernelTable* generic = kernel_table(Isa::Generic)) {
      generic->sum(view(c, {m, 1}), view(rows, {m, n}), 2);
      EXPECT_EQ(a, c) << n;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, Reduce, testing::Values(Isa::Generic, Isa::Avx2, Isa::Avx512),
                         [](const auto& info) { return isa_name(info.param); });

}  // namespace
}  // namespace unspool
