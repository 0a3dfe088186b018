// Fans, gains and standard deviations: values of PyTorch 2.13's nn.init, the law that they are meant
// to keep, and the errors.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "unspool/base/random.h"
#include "unspool/ops/fan.h"
#include "unspool/ops/random_fill.h"

namespace unspool {
namespace {

std::string value_error(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::Value);
    return e.what();
  }
  return "no error";
}

TEST(Fan, CountsTheReceptiveField) {
  auto expect = [](const Shape& shape, std::int64_t in, std::int64_t out) {
    const Fans fans = fans_of(shape);
    EXPECT_EQ(fans.in, in) << shape.str();
    EXPECT_EQ(fans.out, out) << shape.str();
  };
  expect({3, 5}, 5, 3);
  expect({8, 3, 3, 3}, 27, 72);
  expect({6, 2, 5}, 10, 30);
  expect({4, 0}, 0, 4);
  EXPECT_EQ(value_error([] { fans_of({3}); }),
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions; "
            "the tensor has shape (3,)");
  EXPECT_NE(value_error([] { fans_of({}); }), "no error");
}

TEST(Fan, Modes) {
  EXPECT_EQ(parse_fan_mode("fan_in"), FanMode::In);
  EXPECT_EQ(parse_fan_mode("FAN_OUT"), FanMode::Out);
  EXPECT_EQ(parse_fan_mode("fan_avg"), FanMode::Avg);
  EXPECT_EQ(value_error([] { parse_fan_mode("Fan_Mid"); }),
            "Mode fan_mid not supported, please use one of ['fan_in', 'fan_out', 'fan_avg']");
  EXPECT_EQ(fan_of({5, 4}, FanMode::In), 5);
  EXPECT_EQ(fan_of({5, 4}, FanMode::Out), 4);
  EXPECT_EQ(fan_of({5, 4}, FanMode::Avg), 4.5);
}

TEST(Fan, Gains) {
  for (const char* name : {"linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
                           "conv_transpose3d", "sigmoid"})
    EXPECT_EQ(calculate_gain(name), 1.0) << name;
  EXPECT_EQ(calculate_gain("tanh"), 1.6666666666666667);
  EXPECT_EQ(calculate_gain("relu"), 1.4142135623730951);
  EXPECT_EQ(calculate_gain("relu", 7.0), 1.4142135623730951);  // the parameter is leaky_relu's alone
  EXPECT_EQ(calculate_gain("leaky_relu"), 1.4141428569978354);
  EXPECT_EQ(calculate_gain("leaky_relu", 0.2), 1.3867504905630728);
  EXPECT_EQ(calculate_gain("leaky_relu", std::sqrt(5.0)), 0.5773502691896257);
  EXPECT_EQ(calculate_gain("selu"), 0.75);
  EXPECT_EQ(value_error([] { calculate_gain("gelu"); }).substr(0, 29), "Unsupported nonlinearity gelu");
}

TEST(Fan, StandardDeviations) {
  EXPECT_EQ(kaiming_std({3, 5}), std::sqrt(2.0) / std::sqrt(5.0));
  EXPECT_EQ(kaiming_std({3, 5}, 0, FanMode::Out, "relu"), std::sqrt(2.0) / std::sqrt(3.0));
  EXPECT_EQ(kaiming_std({3, 5}, 0, FanMode::Avg, "tanh"), 5.0 / 3.0 / 2.0);
  EXPECT_EQ(xavier_std({8, 3, 3, 3}, 1.5), 1.5 * std::sqrt(2.0 / 99.0));
  // nn.Linear's weight: kaiming_uniform_(a=sqrt(5)) is bounded by 1 / sqrt(fan_in), here less 1 ULP.
  EXPECT_EQ(uniform_bound(kaiming_std({3, 4}, std::sqrt(5.0))), 0.49999999999999994);
  // He's variance for ReLU between the two fans: 4 / (D_h + D_h').
  const double avg = kaiming_std({30, 50}, 0, FanMode::Avg, "relu");
  EXPECT_NEAR(avg * avg, 4.0 / (30 + 50), 1e-16);
  EXPECT_EQ(value_error([] { kaiming_std({3, 0}); }),
            "kaiming_std: the fan is 0, so no standard deviation is defined; the weight has shape (3, 0)");
  EXPECT_NE(value_error([] { xavier_std({0, 0}); }), "no error");
  EXPECT_NE(value_error([] { kaiming_std({3}); }), "no error");
}

// The reason for the 2: with fan_in, the mean square of the pre-activations stays near 1 through ten
// ReLU layers; with gain 1 it would be 2^-10 of it.
TEST(Fan, HeKeepsTheVariance) {
  constexpr std::int64_t kWidth = 256, kSamples = 16;
  Generator g(1);
  std::vector<float> f(kSamples * kWidth), w(kWidth * kWidth);
  fill_normal(g, {f.data(), DType::Float32, {kSamples, kWidth}, {kWidth, 1}});
  for (int layer = 0; layer < 10; ++layer) {
    fill_normal(g, {w.data(), DType::Float32, {kWidth, kWidth}, {kWidth, 1}}, 0,
                kaiming_std({kWidth, kWidth}, 0, FanMode::In, "relu"));
    std::vector<float> next(f.size(), 0.0f);
    for (std::int64_t s = 0; s < kSamples; ++s)
      for (std::int64_t o = 0; o < kWidth; ++o)
        for (std::int64_t i = 0; i < kWidth; ++i)
          next[s * kWidth + o] += w[o * kWidth + i] * std::fmax(f[s * kWidth + i], 0.0f);
    f = next;
  }
  double square = 0;
  for (float x : f) square += double(x) * x / double(f.size());
  EXPECT_GT(square, 0.5);
  EXPECT_LT(square, 2.0);
}

}  // namespace
}  // namespace unspool
