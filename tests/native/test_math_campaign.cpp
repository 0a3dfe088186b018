// Every float32 through exp, log, tanh, sigmoid and their kin, on each instruction set, against the C
// library's doubles. It takes about ten minutes on one core, so it runs only where UNSPOOL_MATH_CAMPAIGN is
// set; the number there is the step from one float to the next (1: every float). It prints the table of
// docs/accuracy.md.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "test_kernels_probe.h"

namespace unspool {
namespace {

struct Function {
  const char* name;
  ProbeFn ProbeTable::* fn;
  double (*reference)(double);
};
const Function kFunctions[] = {
    {"exp", &ProbeTable::exp, [](double x) { return std::exp(x); }},
    {"log", &ProbeTable::log, [](double x) { return std::log(x); }},
    {"tanh", &ProbeTable::tanh, [](double x) { return std::tanh(x); }},
    {"sigmoid", &ProbeTable::sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }},
    {"expm1", &ProbeTable::expm1, [](double x) { return std::expm1(x); }},
    {"log1p", &ProbeTable::log1p, [](double x) { return std::log1p(x); }},
    {"erf", &ProbeTable::erf, [](double x) { return std::erf(x); }},
};

// The distance in float32's units of the last place of the exact value; subnormals have the smallest
// normal's.
double ulps(float got, double exact) {
  if (exact != exact) return got != got ? 0 : 1e9;
  if (std::isinf(got) || std::fabs(exact) >= 0x1.ffffffp127)
    return got == static_cast<float>(exact) ? 0 : std::fabs(exact) > 0x1.fffffep127 ? 1 : 1e9;
  const auto exponent = static_cast<std::int64_t>((std::bit_cast<std::uint64_t>(exact) >> 52) & 0x7ff) - 1023;
  const std::int64_t last = (exponent < -126 ? -126 : exponent) - 23;
  return std::fabs(got - exact) / std::bit_cast<double>(static_cast<std::uint64_t>(last + 1023) << 52);
}

TEST(MathCampaign, EveryFloat) {
  const char* asked = std::getenv("UNSPOOL_MATH_CAMPAIGN");
  if (asked == nullptr) GTEST_SKIP() << "UNSPOOL_MATH_CAMPAIGN is not set";
  const std::uint64_t step = std::strtoull(asked, nullptr, 10);
  ASSERT_GE(step, 1u);
  constexpr std::size_t kBlock = 1 << 14;
  std::vector<float> x(kBlock), y(kBlock);
  std::vector<double> exact(kBlock);
  std::printf("| function | generic | avx2 | avx512 |\n|---|---|---|---|\n");
  for (const Function& f : kFunctions) {
    double worst[kNumIsas] = {};
    for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += step * kBlock) {
      for (std::size_t i = 0; i < kBlock; ++i) {
        x[i] = std::bit_cast<float>(static_cast<std::uint32_t>(bits + i * step));
        exact[i] = f.reference(static_cast<double>(x[i]));
      }
      const std::int64_t n = kBlock;
      const View in{x.data(), DType::Float32, {n}, {1}}, out{y.data(), DType::Float32, {n}, {1}};
      for (int isa = 0; isa < kNumIsas; ++isa) {
        const ProbeTable* table = probe_table(static_cast<Isa>(isa));
        if (table == nullptr) continue;
        (table->*f.fn)(out, &in, nullptr);
        for (std::size_t i = 0; i < kBlock; ++i) {
          const double u = ulps(y[i], exact[i]);
          if (u > worst[isa]) worst[isa] = u;
        }
      }
    }
    std::printf("| %s | %.3f | %.3f | %.3f |\n", f.name, worst[0], worst[1], worst[2]);
    std::fflush(stdout);
    for (double u : worst) EXPECT_LE(u, 2.0) << f.name;
  }
}

}  // namespace
}  // namespace unspool
