// The arithmetic of weight initialisation: fans, gains, standard deviations. Pure functions of shapes.
// Start at kaiming_std, where the factors are derived. Nothing here draws or sees a Tensor.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "unspool/base/shape.h"

namespace unspool {

// A weight has shape (out, in, kernel sizes ...): each output sums `in` products, each input feeds `out`.
struct Fans {
  std::int64_t in;
  std::int64_t out;
};

// ValueError for fewer than two dims.
Fans fans_of(const Shape& shape);

enum class FanMode : std::uint8_t { In, Out, Avg };

// "fan_in", "fan_out", "fan_avg" in any case; ValueError otherwise. PyTorch has the first two.
FanMode parse_fan_mode(std::string_view mode);

// The number of terms that a mode divides by; Avg gives (in + out) / 2, which may end in .5.
double fan_of(const Fans& fans, FanMode mode);

// The factor by which the layer's nonlinearity must be made up for. ValueError for an unknown name.
// `param` is leaky_relu's negative slope (0.01 where absent); other names ignore it.
double calculate_gain(std::string_view nonlinearity, std::optional<double> param = std::nullopt);

// gain / sqrt(fan): He's initialisation. Source: K. He et al., "Delving Deep into Rectifiers",
// ICCV 2015, equations 10 and 14; fan_avg is Glorot's compromise between them.
double kaiming_std(const Shape& shape, double a = 0.0, FanMode mode = FanMode::In,
                   std::string_view nonlinearity = "leaky_relu");

// gain * sqrt(2 / (in + out)). Source: X. Glorot, Y. Bengio, "Understanding the difficulty of
// training deep feedforward neural networks", AISTATS 2010, equation 16.
double xavier_std(const Shape& shape, double gain = 1.0);

// The bound b for which U(-b, b) has this standard deviation: its variance is b^2 / 3.
double uniform_bound(double std);

}  // namespace unspool
