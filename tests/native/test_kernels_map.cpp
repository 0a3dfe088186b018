// Maps: every layout gives an element the same bits; dtypes, masks, integer division.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "test_kernels_probe.h"

namespace unspool {
namespace {

template <class T>
View view(T* data, const Shape& shape, const Strides& strides) {
  View v;
  v.data = data;
  v.dtype = dtype_of<T>;
  v.shape = shape;
  v.strides = strides;
  return v;
}

class Map : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    table_ = probe_table(GetParam());
    if (table_ == nullptr) GTEST_SKIP() << isa_name(GetParam()) << " is not available here";
  }
  template <class T>
  std::vector<T> binary(ProbeFn fn, std::vector<T> a, std::vector<T> b) {
    const Shape shape{static_cast<std::int64_t>(a.size())};
    std::vector<T> y(a.size());
    const View in[] = {view(a.data(), shape, {1}), view(b.data(), shape, {1})};
    fn(view(y.data(), shape, {1}), in, nullptr);
    return y;
  }
  const ProbeTable* table_ = nullptr;
};

template <class T>
bool same_bits(T a, T b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

// tanh of the same numbers at every offset, length, stride and as a broadcast scalar.
template <class T>
void check_positions(const ProbeTable& table) {
  std::mt19937_64 random(2);
  std::normal_distribution<T> normal;
  std::vector<T> x(2000), reference(2000);
  for (T& v : x) v = normal(random);
  const View all = view(x.data(), {2000}, {1});
  table.tanh(view(reference.data(), {2000}, {1}), &all, nullptr);
  for (std::int64_t n = 0; n <= 70; ++n)
    for (std::int64_t offset : {0, 1, 5})
      for (std::int64_t stride : {1, 2, 7})
        for (std::int64_t out_stride : {1, 3}) {
          std::vector<T> y(static_cast<std::size_t>(n * out_stride + 40), T(9));
          const View in = view(x.data() + offset, {n}, {stride});
          table.tanh(view(y.data() + 20, {n}, {out_stride}), &in, nullptr);
          for (std::int64_t i = 0; i < n; ++i)
            ASSERT_TRUE(same_bits(y[static_cast<std::size_t>(20 + i * out_stride)],
                                  reference[static_cast<std::size_t>(offset + i * stride)]))
                << n << " " << offset << " " << stride << " " << i;
          for (int i = 0; i < 20; ++i) ASSERT_EQ(y[static_cast<std::size_t>(i)], 9);
          for (std::size_t i = static_cast<std::size_t>(20 + (n > 0 ? (n - 1) * out_stride + 1 : 0));
               i < y.size(); ++i)
            ASSERT_EQ(y[i], 9);
        }
  std::vector<T> y(2000);
  const View scalar = view(x.data() + 3, {40, 50}, {0, 0});
  table.tanh(view(y.data(), {40, 50}, {50, 1}), &scalar, nullptr);
  for (T v : y) ASSERT_TRUE(same_bits(v, reference[3]));
  const View transposed = view(x.data(), {40, 50}, {1, 40});
  table.tanh(view(y.data(), {40, 50}, {50, 1}), &transposed, nullptr);
  for (std::size_t i = 0; i < 40; ++i)
    for (std::size_t j = 0; j < 50; ++j) ASSERT_TRUE(same_bits(y[i * 50 + j], reference[j * 40 + i]));
  table.tanh(all, &all, nullptr);  // in place
  for (std::size_t i = 0; i < 2000; ++i) ASSERT_TRUE(same_bits(x[i], reference[i]));
}

TEST_P(Map, AnElementHasTheSameBitsWhereverItStands) {
  check_positions<float>(*table_);
  check_positions<double>(*table_);
}

template <class T>
void check_broadcast(const ProbeTable& table) {
  std::vector<T> a(3 * 37), b(37), y(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<T>(i % 50);
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<T>(i % 9);
  const View in[] = {view(a.data(), {3, 37}, {37, 1}), view(b.data(), {3, 37}, {0, 1})};
  table.add(view(y.data(), {3, 37}, {37, 1}), in, nullptr);
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_EQ(y[i], static_cast<T>(a[i] + b[i % 37]));
  std::vector<std::uint8_t> less(a.size() + 1, 7);
  View out = view(less.data(), {3, 37}, {37, 1});
  out.dtype = DType::Bool;
  table.less(out, in, nullptr);
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_EQ(less[i], a[i] < b[i % 37]);
  ASSERT_EQ(less.back(), 7);
  const View three[] = {in[0], in[1], view(a.data() + 5, {3, 37}, {0, 0})};
  table.pick(view(y.data(), {3, 37}, {37, 1}), three, nullptr);
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_EQ(y[i], a[i] < b[i % 37] ? a[5] : static_cast<T>(-a[i]));
  const double params[] = {3, -1};
  table.scale_shift(view(y.data(), {3, 37}, {37, 1}), in, params);
  for (std::size_t i = 0; i < a.size(); ++i)
    ASSERT_EQ(y[i], static_cast<T>(a[i] * 3 + static_cast<T>(-1.0 + (std::is_unsigned_v<T> ? 256.0 : 0.0))));
}

TEST_P(Map, BroadcastMasksAndParameters) {
  check_broadcast<float>(*table_);
  check_broadcast<double>(*table_);
  check_broadcast<std::int32_t>(*table_);
  check_broadcast<std::int64_t>(*table_);
  check_broadcast<std::uint8_t>(*table_);
}

TEST_P(Map, BoolAddIsOr) {
  std::vector<std::uint8_t> a = {0, 0, 1, 1}, b = {0, 1, 0, 1}, y(4);
  View in[] = {view(a.data(), {4}, {1}), view(b.data(), {4}, {1})};
  View out = view(y.data(), {4}, {1});
  in[0].dtype = in[1].dtype = out.dtype = DType::Bool;
  table_->add(out, in, nullptr);
  EXPECT_EQ(y, (std::vector<std::uint8_t>{0, 1, 1, 1}));
}

TEST_P(Map, IntegerDivisionNeverTraps) {
  const auto low = std::numeric_limits<std::int64_t>::min();
  using I = std::vector<std::int64_t>;
  const I a = {7, -7, 7, -7, low, 0, 5}, b = {2, 2, -2, -2, -1, 3, -7};
  EXPECT_EQ(binary(table_->divide, a, b), (I{3, -3, -3, 3, low, 0, 0}));
  EXPECT_EQ(binary(table_->floor_div, a, b), (I{3, -4, -4, 3, low, 0, -1}));
  EXPECT_EQ(binary(table_->remainder, a, b), (I{1, 1, -1, -1, 0, 0, -2}));
  EXPECT_EQ(binary(table_->mod_c, a, b), (I{1, -1, 1, -1, 0, 0, 5}));
  const auto low32 = std::numeric_limits<std::int32_t>::min();
  EXPECT_EQ(binary(table_->divide, std::vector<std::int32_t>{low32, 9}, {-1, 2}),
            (std::vector<std::int32_t>{low32, 4}));
  EXPECT_EQ(binary(table_->divide, std::vector<std::uint8_t>{255, 9}, {255, 2}),
            (std::vector<std::uint8_t>{1, 4}));
}

TEST_P(Map, FloatRemainders) {
  using D = std::vector<double>;
  const D a = {7, -7, 7.5, -7.5, 0.3}, b = {2, 2, -2, -2, 0.1};
  EXPECT_EQ(binary(table_->floor_div, a, b), (D{3, -4, -4, 3, 2}));
  EXPECT_EQ(binary(table_->remainder, a, b), (D{1, 1, -0.5, -1.5, std::fmod(0.3, 0.1)}));
  EXPECT_EQ(binary(table_->mod_c, a, b), (D{1, -1, 1.5, -1.5, std::fmod(0.3, 0.1)}));
  EXPECT_EQ(binary(table_->power, a, D{2, 3, 0, 1, 0.5}), (D{49, -343, 1, -7.5, std::pow(0.3, 0.5)}));
}

TEST_P(Map, ExtremesPassNan) {
  const float nan = std::nanf("");
  const std::vector<float> a = {nan, 1, 2, -0.0f}, b = {1, nan, 3, 0.0f};
  for (ProbeFn fn : {table_->maximum, table_->minimum}) {
    const std::vector<float> y = binary(fn, a, b);
    EXPECT_TRUE(std::isnan(y[0]));
    EXPECT_TRUE(std::isnan(y[1]));
    EXPECT_EQ(y[2], fn == table_->maximum ? 3 : 2);
  }
}

TEST_P(Map, Rounding) {
  std::vector<double> x = {2.5, -2.5, 3.5, 0.4, -0.4, 1e300, -1.5}, y(7);
  const View in = view(x.data(), {7}, {1});
  const View out = view(y.data(), {7}, {1});
  table_->round(out, &in, nullptr);
  EXPECT_EQ(y, (std::vector<double>{2, -2, 4, 0, -0.0, 1e300, -2}));
  table_->floor(out, &in, nullptr);
  EXPECT_EQ(y, (std::vector<double>{2, -3, 3, 0, -1, 1e300, -2}));
  table_->abs(out, &in, nullptr);
  EXPECT_EQ(y, (std::vector<double>{2.5, 2.5, 3.5, 0.4, 0.4, 1e300, 1.5}));
  table_->sign(out, &in, nullptr);
  EXPECT_EQ(y, (std::vector<double>{1, -1, 1, 1, -1, 1, -1}));
  table_->sqrt(out, &in, nullptr);
  EXPECT_EQ(y[2], std::sqrt(3.5));
  EXPECT_TRUE(std::isnan(y[1]));
}

INSTANTIATE_TEST_SUITE_P(Isas, Map, testing::Values(Isa::Generic, Isa::Avx2, Isa::Avx512),
                         [](const auto& info) { return isa_name(info.param); });

}  // namespace
}  // namespace unspool
