// The random fills without a reference: moments and Kolmogorov-Smirnov distances, then the errors.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "random_draws.h"

namespace unspool {
namespace {

// ---- Distributions

template <class T>
void expect_distribution(std::vector<T> x, const std::function<double(double)>& cdf, double mean,
                         double variance,
                         double fourth) {  // fourth: the central moment over variance^2
  const double n = static_cast<double>(x.size());
  double m = 0, v = 0, skew = 0, kurtosis = 0;
  for (T value : x) m += value / n;
  for (T value : x) {
    const double d = (value - mean) / std::sqrt(variance);
    v += d * d / n;
    skew += d * d * d / n;
    kurtosis += d * d * d * d / n;
  }
  EXPECT_NEAR(m, mean, 4 * std::sqrt(variance / n));
  EXPECT_NEAR(v, 1, 4 * std::sqrt((fourth - 1) / n));
  EXPECT_NEAR(skew, 0, 4 * std::sqrt(15 / n));
  EXPECT_NEAR(kurtosis, fourth, 4 * std::sqrt(105 / n));
  std::sort(x.begin(), x.end());
  double distance = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double f = cdf(x[i]);
    distance = std::max({distance, f - i / n, (i + 1) / n - f});
  }
  EXPECT_LT(distance * std::sqrt(n), 1.95);  // Kolmogorov's law exceeds 1.95 once in 1,000
}

double normal_cdf(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }

TEST(Random, UniformDistribution) {
  auto cdf = [](double x) { return (x + 2) / 5; };
  expect_distribution(uniform<float>(1, 100000, -2, 3), cdf, 0.5, 25 / 12.0, 1.8);
  expect_distribution(uniform<double>(2, 100000, -2, 3), cdf, 0.5, 25 / 12.0, 1.8);
}

TEST(Random, NormalDistribution) {
  auto cdf = [](double x) { return normal_cdf((x - 1) / 2); };
  expect_distribution(normal<float>(1, 100000, 1, 2), cdf, 1, 4, 3);
  expect_distribution(normal<double>(2, 100000, 1, 2), cdf, 1, 4, 3);
  std::vector<float> step(200000);  // the scalar algorithm
  Generator g(3);
  fill_normal(g, {step.data(), DType::Float32, {100000}, {2}}, 1, 2);
  for (std::size_t i = 0; i < 100000; ++i) step[i] = step[2 * i];
  step.resize(100000);
  expect_distribution(step, cdf, 1, 4, 3);
}

TEST(Random, TruncatedDistribution) {
  for (double low : {-1.0, 1.5}) {  // redrawing, rejection
    std::vector<float> x(100000);
    Generator g(4);
    fill_trunc_normal(g, view(x), 0, 1, low, 3);
    const auto [least, most] = std::minmax_element(x.begin(), x.end());
    EXPECT_GE(*least, low);
    EXPECT_LE(*most, 3);
    std::sort(x.begin(), x.end());
    double distance = 0;
    const double base = normal_cdf(low), mass = normal_cdf(3) - base;
    for (std::size_t i = 0; i < x.size(); ++i)
      distance = std::max(distance, std::abs((normal_cdf(x[i]) - base) / mass - (i + 0.5) / x.size()));
    EXPECT_LT(distance * std::sqrt(100000.0), 1.95);
  }
}

// ---- Errors

std::string error_of(const std::function<void()>& f, ErrorKind kind = ErrorKind::Runtime) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  return "no error";
}

TEST(Random, ArgumentsAreChecked) {
  Generator g(1);
  const std::uint64_t before = hash(g);
  std::vector<float> x(3);
  std::vector<double> d(3);
  std::vector<std::int64_t> i(3);
  std::vector<std::uint8_t> bytes(3);
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(error_of([&] { fill_uniform(g, view(x), 2, 1); }),
            "uniform_: expects to return a [from, to) range, but found from=2 > to=1");
  EXPECT_EQ(error_of([&] { fill_uniform(g, view(x), nan, 1); }),
            "uniform_: from is out of bounds for float32; found from=nan");
  EXPECT_EQ(error_of([&] { fill_uniform(g, view(x), 0, inf); }),
            "uniform_: to is out of bounds for float32; found to=inf");
  EXPECT_NE(error_of([&] { fill_uniform(g, view(x), 0, 1e39); }), "no error");
  EXPECT_NE(error_of([&] { fill_uniform(g, view(x), -3e38, 3e38); }), "no error");
  EXPECT_NE(error_of([&] { fill_uniform(g, view(d), -1.7e308, 1.7e308); }), "no error");
  EXPECT_EQ(error_of([&] { fill_uniform(g, view(i)); }, ErrorKind::DType),
            "uniform_: a floating dtype is needed; the tensor has dtype int64");
  EXPECT_NE(error_of([&] { fill_normal(g, view(i)); }, ErrorKind::DType), "no error");
  EXPECT_EQ(error_of([&] { fill_normal(g, view(x), 0, -1); }),
            "normal_: expects std >= 0.0, but found std -1");
  EXPECT_NE(error_of([&] { fill_normal(g, view(x), 0, nan); }), "no error");
  EXPECT_EQ(error_of([&] { fill_randint(g, view(i), 3, 3); }),
            "random_: expects 'from' to be less than 'to', but got from=3 >= to=3");
  EXPECT_EQ(error_of([&] { fill_randint(g, view(bytes), 0, 257); }),
            "random_: to - 1 is out of bounds for uint8; found 256");
  EXPECT_EQ(error_of([&] { fill_randint(g, view(bytes), -1, 3); }),
            "random_: from is out of bounds for uint8; found -1");
  EXPECT_NE(error_of([&] { fill_randint(g, view(bytes), std::numeric_limits<std::int64_t>::min(), {}); }),
            "no error");
  EXPECT_NE(error_of([&] { fill_randint(g, view(x), 1 << 24, {}); }), "no error");
  EXPECT_EQ(error_of([&] { fill_randperm(g, nullptr, -1); }),
            "randperm: n must be non-negative, but got n=-1");
  EXPECT_EQ(error_of([&] { fill_bernoulli(g, view(x), 1.5); }),
            "bernoulli_: expects p to be in [0, 1], but got p=1.5");
  EXPECT_NE(error_of([&] { fill_bernoulli(g, view(x), nan); }), "no error");
  x[2] = 2;
  EXPECT_EQ(error_of([&] { fill_bernoulli(g, view(d), view(x)); }),
            "bernoulli: expects every p to be in [0, 1], but found p=2");
  EXPECT_NE(error_of([&] { fill_bernoulli(g, view(d), view(i)); }, ErrorKind::DType), "no error");
  EXPECT_NE(
      error_of([&] { fill_bernoulli(g, {d.data(), DType::Float64, {2}, {1}}, view(x)); }, ErrorKind::Shape),
      "no error");
  EXPECT_NE(error_of([&] { fill_trunc_normal(g, view(x), 0, 0); }), "no error");
  EXPECT_NE(error_of([&] { fill_trunc_normal(g, view(x), 0, 1, 2, -2); }), "no error");
  EXPECT_NE(error_of([&] { fill_uniform(g, {x.data(), DType::Float32, {3}, {0}}); }), "no error");
  EXPECT_EQ(hash(g), before);  // nothing was drawn by any of them
}

}  // namespace
}  // namespace unspool
