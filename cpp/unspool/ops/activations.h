// The activation functions of layers: one block each, in the form of elementwise.h (start there). At kinks
// and at NaN the gradients are PyTorch's. A branch that is not taken stays finite, for its gradient in second
// derivatives is 0 times it. Names and documentation are in elementwise_activation.cpp.
#pragma once

#include "unspool/ops/formula.h"

namespace unspool::elementwise {
namespace {  // each instruction set compiles its own

struct LeakyRelu : Base<1, Floats> {
  double slope;
  constexpr explicit LeakyRelu(const double* a) : slope(a[0]) {}
  static constexpr std::uint32_t kUses0 = kSaveIn0;
  static constexpr bool kSelects = true;
  template <class V>
  V operator()(V x) const {
    return where(x > 0.0, x, x * slope);
  }
  template <class V>
  V g0(V g, V x, V) const {
    return where(x > 0.0, g, g * slope);
  }
};

// elu, selu and celu: scale·x above 0, else scale·alpha·(e^(steepness·x) - 1).
struct Elu : Base<1, Floats> {
  double alpha, scale, steepness;
  constexpr explicit Elu(const double* a) : alpha(a[0]), scale(a[1]), steepness(a[2]) {}
  static constexpr std::uint32_t kUses0 = kSaveIn0;
  static constexpr bool kSelects = true;
  template <class V>
  V operator()(V x) const {
    return where(x <= 0.0, expm1(x * steepness) * (alpha * scale), x * scale);
  }
  template <class V>
  V g0(V g, V x, V) const {
    const V low = where(x <= 0.0, x, constant<V>(0.0));
    return where(x <= 0.0, g * (exp(low * steepness) * (alpha * scale * steepness)), g * scale);
  }
};

// x Φ(x), or with tanh in place of Φ (Hendrycks and Gimpel, 2016).
struct Gelu : Base<1, Floats> {
  bool by_tanh;
  constexpr explicit Gelu(const double* a) : by_tanh(a[0] != 0.0) {}
  static constexpr std::uint32_t kUses0 = kSaveIn0;
  static constexpr double kRootHalf = 0.70710678118654752440, kRoot2OverPi = 0.79788456080286535588;
  static constexpr double kCubic = 0.044715;
  template <class V>
  static V inner(V x) {
    return (x + x * x * x * kCubic) * kRoot2OverPi;
  }
  template <class V>
  V operator()(V x) const {
    return x * 0.5 * ((by_tanh ? tanh(inner(x)) : erf(x * kRootHalf)) + 1.0);
  }
  template <class V>
  V d0(V x, V) const {
    if (!by_tanh) {
      const V density = exp(x * x * -0.5) * (0.5 * kRoot2OverPi);
      return (erf(x * kRootHalf) + 1.0) * 0.5 + x * density;
    }
    const V t = tanh(inner(x));
    const V slope = (x * x * (3.0 * kCubic) + 1.0) * kRoot2OverPi;
    return (t + 1.0) * 0.5 + x * 0.5 * (1.0 - t * t) * slope;
  }
};

struct Silu : Base<1, Floats> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveIn0;
  template <class V>
  V operator()(V x) const {
    return x * sigmoid(x);
  }
  template <class V>
  V d0(V x, V) const {
    const V s = sigmoid(x);
    return s * (x * (1.0 - s) + 1.0);
  }
};

// ln(1 + e^x); x itself where the difference is below rounding.
template <class V>
[[gnu::always_inline]] inline V log_1_plus_exp(V x) {
  return where(x > 40.0, x, log1p(exp(where(x > 40.0, constant<V>(0.0), x))));
}

// x tanh(ln(1 + e^x)).
struct Mish : Base<1, Floats> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveIn0;
  template <class V>
  V operator()(V x) const {
    return x * tanh(log_1_plus_exp(x));
  }
  template <class V>
  V d0(V x, V) const {
    const V t = tanh(log_1_plus_exp(x));
    return t + x * sigmoid(x) * (1.0 - t * t);
  }
};

// ln(1 + e^(beta x)) / beta; x itself where beta x > threshold.
struct Softplus : Base<1, Floats> {
  double beta, threshold;
  constexpr explicit Softplus(const double* a) : beta(a[0]), threshold(a[1]) {}
  static constexpr std::uint32_t kUses0 = kSaveIn0;
  static constexpr bool kSelects = true;
  template <class V>
  V operator()(V x) const {
    const V z = x * beta;
    return where(z > threshold, x, log1p(exp(z)) / beta);
  }
  template <class V>
  V g0(V g, V x, V) const {
    const V z = x * beta;
    return where(z > threshold, g, g * sigmoid(z));
  }
};

struct LogSigmoid : Base<1, Floats> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveIn0;
  template <class V>
  V operator()(V x) const {
    return min(x, 0.0) - log1p(exp(-abs(x)));
  }
  template <class V>
  V d0(V x, V) const {
    return sigmoid(-x);
  }
};

// The derivative at the bounds is 0 here, 1 in Clamp.
struct Hardtanh : Base<1, Floats> {
  double lo, hi;
  constexpr explicit Hardtanh(const double* a) : lo(a[0]), hi(a[1]) {}
  static constexpr std::uint32_t kUses0 = kSaveIn0;
  static constexpr bool kSelects = true;
  template <class V>
  V operator()(V x) const {
    return min(constant<V>(hi), max(constant<V>(lo), x));
  }
  template <class V>
  V g0(V g, V x, V) const {
    const V zero = constant<V>(0.0);
    return where(x <= lo, zero, where(x >= hi, zero, g));
  }
};

// x + 3 brought into [0, 6].
template <class V>
[[gnu::always_inline]] inline V gate(V x) {
  return min(constant<V>(6.0), max(constant<V>(0.0), x + 3.0));
}

struct Hardsigmoid : Base<1, Floats> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveIn0;
  static constexpr bool kSelects = true;
  template <class V>
  V operator()(V x) const {
    return gate(x) / 6.0;
  }
  template <class V>
  V g0(V g, V x, V) const {
    const V zero = constant<V>(0.0);
    return where(x > -3.0, where(x < 3.0, g * (1.0 / 6.0), zero), zero);
  }
};

struct Hardswish : Base<1, Floats> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveIn0;
  static constexpr bool kSelects = true;
  template <class V>
  V operator()(V x) const {
    return x * gate(x) / 6.0;
  }
  template <class V>
  V g0(V g, V x, V) const {
    const V zero = constant<V>(0.0);
    const V slope = x / constant<V>(3.0) + 0.5;
    return where(x <= -3.0, zero, where(x < 3.0, g * slope, g));
  }
};

// leaky_relu with a learnt slope.
struct Prelu : Base<2, Floats> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveIn0 | kSaveIn1, kUses1 = kSaveIn0;
  static constexpr bool kSelects = true;
  template <class V>
  V operator()(V x, V slope) const {
    return where(x > 0.0, x, slope * x);
  }
  template <class V>
  V g0(V g, V x, V slope, V) const {
    return where(x > 0.0, g, slope * g);
  }
  template <class V>
  V g1(V g, V x, V, V) const {
    return where(x > 0.0, constant<V>(0.0), x * g);
  }
};

}  // namespace
}  // namespace unspool::elementwise
