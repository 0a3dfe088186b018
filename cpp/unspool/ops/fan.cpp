// Fans, gains and standard deviations, in the order of roundings that PyTorch's Python code has.
#include "unspool/ops/fan.h"

#include <cctype>
#include <cmath>
#include <string>

#include "unspool/base/error.h"

namespace unspool {
namespace {

constexpr std::string_view kLinear[] = {"linear",           "conv1d",           "conv2d",          "conv3d",
                                        "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"};

[[noreturn, gnu::cold]] void no_fan(const char* op, const char* what, const Shape& shape) {
  fail(ErrorKind::Value, op, ": ", what, " is 0, so no standard deviation is defined; the weight has shape ",
       shape);
}

}  // namespace

Fans fans_of(const Shape& shape) {
  if (shape.ndim < 2)
    fail(
        ErrorKind::Value,
        "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions; the tensor has shape ",
        shape);
  std::int64_t receptive = 1;  // positions of a convolution's kernel
  for (int d = 2; d < shape.ndim; ++d) receptive *= shape[d];
  return {shape[1] * receptive, shape[0] * receptive};
}

FanMode parse_fan_mode(std::string_view mode) {
  std::string lower(mode);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (lower == "fan_in") return FanMode::In;
  if (lower == "fan_out") return FanMode::Out;
  if (lower == "fan_avg") return FanMode::Avg;
  fail(ErrorKind::Value, "Mode ", lower,
       " not supported, please use one of ['fan_in', 'fan_out', 'fan_avg']");
}

double fan_of(const Fans& fans, FanMode mode) {
  const double in = static_cast<double>(fans.in), out = static_cast<double>(fans.out);
  switch (mode) {
    case FanMode::In:
      return in;
    case FanMode::Out:
      return out;
    case FanMode::Avg:
      return (in + out) / 2.0;
  }
  __builtin_unreachable();
}

double calculate_gain(std::string_view nonlinearity, std::optional<double> param) {
  for (std::string_view name : kLinear)
    if (nonlinearity == name) return 1.0;
  if (nonlinearity == "sigmoid") return 1.0;
  if (nonlinearity == "tanh") return 5.0 / 3.0;
  if (nonlinearity == "relu") return std::sqrt(2.0);
  if (nonlinearity == "leaky_relu") {
    const double slope = param.value_or(0.01);
    // Of a unit-variance z, half keeps its square and half keeps slope^2 of it: (1 + slope^2) / 2.
    // Python's ** calls the C library's pow, whose last bit is not always that of slope * slope (one
    // slope in 3,000); volatile, because compilers turn pow(x, 2.0) into the product.
    const volatile double two = 2.0;
    return std::sqrt(2.0 / (1.0 + std::pow(slope, two)));
  }
  if (nonlinearity == "selu") return 3.0 / 4.0;
  fail(ErrorKind::Value, "Unsupported nonlinearity ", nonlinearity,
       "; known are linear, conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d, "
       "sigmoid, tanh, relu, leaky_relu, selu");
}

// Where the numbers come from. A layer computes pre-activations f' = b + W h with h = relu(f), D_h
// terms in each sum. Let the weights be independent with mean 0 and variance s, the biases 0.
//   Var[f'_i] = sum_j E[W_ij^2] E[h_j^2] = s * D_h * E[relu(f)^2].
// f is symmetric about 0 with variance v, so relu cuts one half of the integral of f^2 away:
//   E[relu(f)^2] = v / 2, hence Var[f'] = s * D_h * v / 2.
// The variance keeps its size through the layers iff s = 2 / D_h: that is fan_in with gain^2 = 2, and
// 2 / D_h is the weights' variance, sqrt(2 / D_h) their standard deviation. Backward, the gradient is
// summed over the D_h' outputs and halved by relu's derivative in the same way: s = 2 / D_h', fan_out.
// Both hold only for square layers; between them stands s = 4 / (D_h + D_h'): fan_avg.
double kaiming_std(const Shape& shape, double a, FanMode mode, std::string_view nonlinearity) {
  const double fan = fan_of(fans_of(shape), mode);
  const double gain = calculate_gain(nonlinearity, a);
  if (fan == 0.0) no_fan("kaiming_std", "the fan", shape);
  return gain / std::sqrt(fan);
}

double xavier_std(const Shape& shape, double gain) {
  const Fans fans = fans_of(shape);
  if (fans.in + fans.out == 0) no_fan("xavier_std", "fan_in + fan_out", shape);
  return gain * std::sqrt(2.0 / static_cast<double>(fans.in + fans.out));
}

double uniform_bound(double std) { return std::sqrt(3.0) * std; }

}  // namespace unspool
