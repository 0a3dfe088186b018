// exp, log and their family against long double, in units of the last place of the exact answer.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "test_kernels_probe.h"

namespace unspool {
namespace {

using Reference = long double (*)(long double);
struct Function {
  const char* name;
  ProbeFn ProbeTable::* fn;
  Reference reference;
};
const Function kFunctions[] = {
    {"exp", &ProbeTable::exp, [](long double x) { return std::exp(x); }},
    {"log", &ProbeTable::log, [](long double x) { return std::log(x); }},
    {"expm1", &ProbeTable::expm1, [](long double x) { return std::expm1(x); }},
    {"log1p", &ProbeTable::log1p, [](long double x) { return std::log1p(x); }},
    {"tanh", &ProbeTable::tanh, [](long double x) { return std::tanh(x); }},
    {"sigmoid", &ProbeTable::sigmoid, [](long double x) { return 1 / (1 + std::exp(-x)); }},
    {"erf", &ProbeTable::erf, [](long double x) { return std::erf(x); }},
};

class Math : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    table_ = probe_table(GetParam());
    if (table_ == nullptr) GTEST_SKIP() << isa_name(GetParam()) << " is not available here";
  }
  template <class T>
  std::vector<T> apply(ProbeFn fn, std::vector<T>& x) {
    std::vector<T> y(x.size());
    View in, out;
    in.data = x.data();
    out.data = y.data();
    in.dtype = out.dtype = dtype_of<T>;
    in.shape = out.shape = {static_cast<std::int64_t>(x.size())};
    in.strides = out.strides = {1};
    fn(out, &in, nullptr);
    return y;
  }
  const ProbeTable* table_ = nullptr;
};

// The distance in units of the last place; subnormals have the smallest normal's.
template <class T>
double ulps(T got, long double exact) {
  const T rounded = static_cast<T>(exact);
  if (std::isnan(exact)) return std::isnan(got) ? 0 : 1e9;
  if (std::isinf(got) || std::isinf(rounded))
    return got == rounded                                                                       ? 0
           : (std::isinf(got) && std::fabs(exact) > std::numeric_limits<T>::max() * 0.9999999L) ? 1
                                                                                                : 1e9;
  int exponent;
  std::frexp(exact, &exponent);
  const int digits = std::numeric_limits<T>::digits;
  exponent = std::max(exponent, std::numeric_limits<T>::min_exponent);
  return static_cast<double>(std::fabs(got - exact) / std::ldexp(1.0L, exponent - digits));
}

template <class T>
std::vector<T> samples() {
  std::vector<T> x;
  std::mt19937_64 random(11);
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  for (int i = 0; i < 60000; ++i) {  // all exponents, both signs
    const Bits b = static_cast<Bits>(random());
    T v;
    std::memcpy(&v, &b, sizeof v);
    x.push_back(v);
  }
  for (int i = 0; i < 60000; ++i) {  // where the functions bend
    const T u = static_cast<T>(static_cast<double>(random() >> 11) * 0x1p-53 * 2 - 1);
    const T width[] = {T(1e-3), T(0.4), T(1.2), T(3), T(20), T(105), T(760)};
    x.push_back(u * width[i % 7]);
    x.push_back(1 + u * width[i % 3]);
  }
  return x;
}

TEST_P(Math, WithinTwoUlps) {
  for (const Function& f : kFunctions) {
    double worst[2] = {0, 0};
    auto measure = [&](auto zero, double& top) {
      using T = decltype(zero);
      std::vector<T> x = samples<T>();
      const std::vector<T> y = apply<T>(table_->*f.fn, x);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double u = ulps<T>(y[i], f.reference(static_cast<long double>(x[i])));
        top = std::max(top, u);
        ASSERT_LE(u, 2.0) << f.name << "(" << x[i] << ") = " << y[i] << ", element " << i;
      }
    };
    measure(float{}, worst[0]);
    measure(double{}, worst[1]);
    RecordProperty(std::string(f.name) + "_float_ulps", std::to_string(worst[0]));
    RecordProperty(std::string(f.name) + "_double_ulps", std::to_string(worst[1]));
    if (std::getenv("UNSPOOL_SHOW_ULPS") != nullptr)
      std::printf("%s: float %.3f, double %.3f\n", f.name, worst[0], worst[1]);
  }
}

template <class T, class Apply>
void check_edges(const ProbeTable& table, const Apply& apply) {
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  std::vector<T> x = {0, -T(0), inf, -inf, nan, -1, 1};
  auto same = [](T a, T b) {
    return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b);
  };
  const T e = static_cast<T>(std::exp(1.0L));
  const T wanted[7][7] = {
      {1, 1, inf, 0, nan, static_cast<T>(1 / std::exp(1.0L)), e},
      {-inf, -inf, inf, nan, nan, nan, 0},
      {0, -T(0), inf, -1, nan, 0, 0},
      {0, -T(0), inf, nan, nan, -inf, 0},
      {0, -T(0), 1, -1, nan, 0, 0},
      {T(0.5), T(0.5), 1, 0, nan, 0, 0},
      {0, -T(0), 1, -1, nan, 0, 0},
  };
  for (int f = 0; f < 7; ++f) {
    const std::vector<T> y = apply(table.*kFunctions[f].fn, x);
    for (std::size_t i = 0; i < 5; ++i)
      EXPECT_TRUE(same(y[i], wanted[f][i])) << kFunctions[f].name << "(" << x[i] << ") = " << y[i];
    if (f == 1 || f == 3) {
      EXPECT_TRUE(same(y[5], wanted[f][5])) << kFunctions[f].name;
    }
  }
}

TEST_P(Math, EdgesAreIeee) {
  check_edges<float>(*table_, [&](ProbeFn fn, std::vector<float>& x) { return apply(fn, x); });
  check_edges<double>(*table_, [&](ProbeFn fn, std::vector<double>& x) { return apply(fn, x); });
}

INSTANTIATE_TEST_SUITE_P(Isas, Math, testing::Values(Isa::Generic, Isa::Avx2, Isa::Avx512),
                         [](const auto& info) { return isa_name(info.param); });

}  // namespace
}  // namespace unspool
