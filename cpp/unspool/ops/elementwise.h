// The elementwise ops: one block each, with the value and the derivatives as one generic formula.
// A formula is instantiated three times: on vectors for the kernels (elementwise_isa.cpp, once an
// instruction set), on vectors again for the fused backward kernels, and on Tensors, where every
// operator is itself a recorded op: that one serves second derivatives and tangents.
// The OpDefs that put names and documentation to them are in elementwise_{unary,binary}.cpp; the layers'
// activation functions have a file of their own, activations.h, of the same form.
//
// In a block: `operator()` is the value, `d0, d1` the partial derivatives with respect to input
// 0, 1 in terms of the inputs and the output y, kUses0/1 which of these the derivative reads.
#pragma once

#include "unspool/ops/activations.h"
#include "unspool/ops/formula.h"

namespace unspool::elementwise {
namespace {  // each instruction set compiles its own

// ---- One input ---------------------------------------------------------------------------------

struct Neg : Base<1, Numbers> {
  using Base::Base;
  template <class V>
  V operator()(V x) const {
    return -x;
  }
  template <class V>
  V d0(V, V) const {
    return constant<V>(-1.0);
  }
};

struct Sign : Base<1, Everything> {
  using Base::Base;
  template <class V>
  V operator()(V x) const {
    return sign(x);
  }
};

// abs'(0) = 0, as PyTorch.
struct Abs : Base<1, Numbers> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveIn0;
  template <class V>
  V operator()(V x) const {
    return abs(x);
  }
  template <class V>
  V d0(V x, V) const {
    return sign(x);
  }
};

struct Exp : Base<1, Floats> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveOut;
  template <class V>
  V operator()(V x) const {
    return exp(x);
  }
  template <class V>
  V d0(V, V y) const {
    return y;
  }
};

struct Log : Base<1, Floats> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveIn0;
  template <class V>
  V operator()(V x) const {
    return log(x);
  }
  template <class V>
  V d0(V x, V) const {
    return 1.0 / x;
  }
};

struct Sqrt : Base<1, Floats> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveOut;
  template <class V>
  V operator()(V x) const {
    return sqrt(x);
  }
  template <class V>
  V d0(V, V y) const {
    return 0.5 / y;
  }
};

struct Reciprocal : Base<1, Floats> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveOut;
  template <class V>
  V operator()(V x) const {
    return 1.0 / x;
  }
  template <class V>
  V d0(V, V y) const {
    return -(y * y);
  }
};

struct Tanh : Base<1, Floats> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveOut;
  template <class V>
  V operator()(V x) const {
    return tanh(x);
  }
  template <class V>
  V d0(V, V y) const {
    return 1.0 - y * y;
  }
};

struct Sigmoid : Base<1, Floats> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveOut;
  template <class V>
  V operator()(V x) const {
    return sigmoid(x);
  }
  template <class V>
  V d0(V, V y) const {
    return (1.0 - y) * y;
  }
};

// x^p for a number p. The small exponents are products, as in PyTorch.
struct PowNumber : Base<1, Floats> {
  double p;
  constexpr explicit PowNumber(const double* a) : p(a[0]) {}
  static constexpr std::uint32_t kUses0 = kSaveIn0;
  template <class V>
  V operator()(V x) const {
    if (p == 2.0) return x * x;
    if (p == 3.0) return x * x * x;
    if (p == 1.0) return x;
    if (p == 0.0) return constant<V>(1.0);
    if (p == 0.5) return sqrt(x);
    if (p == -0.5) return 1.0 / sqrt(x);
    if (p == -1.0) return 1.0 / x;
    if (p == -2.0) return 1.0 / (x * x);
    return pow(x, constant<V>(p));
  }
  template <class V>
  V d0(V x, V) const {
    if (p == 0.0) return constant<V>(0.0);
    const double q = p - 1.0;
    if constexpr (std::is_same_v<V, Tensor>)
      return pow(x, q) * p;
    else
      return PowNumber(&q)(x) * p;
  }
};

// x^p for integers and p >= 0, by squaring; wraps on overflow, as C++ and PyTorch.
struct PowInteger : Base<1, Numbers> {
  std::int64_t p;
  constexpr explicit PowInteger(const double* a) : p(static_cast<std::int64_t>(a[0])) {}
  template <class V>
  V operator()(V x) const {
    V y = constant<V>(1.0);
    for (std::int64_t e = p; e > 0; e >>= 1, x = x * x)
      if (e & 1) y = y * x;
    return y;
  }
};

// The derivative at the bounds is 1, that of NaN 0, as PyTorch's; a bound that is not given is ±inf.
struct Clamp : Base<1, Floats> {
  double lo, hi;
  constexpr explicit Clamp(const double* a) : lo(a[0]), hi(a[1]) {}
  static constexpr std::uint32_t kUses0 = kSaveIn0;
  static constexpr bool kSelects = true;
  template <class V>
  V operator()(V x) const {
    return min(constant<V>(hi), max(constant<V>(lo), x));  // x in second place: -0.0 stays at bound 0
  }
  template <class V>
  V g0(V g, V x, V) const {
    constexpr double inf = std::numeric_limits<double>::infinity();
    const V zero = constant<V>(0.0);
    const bool nan = lo != lo || hi != hi;  // then y is NaN everywhere, and nothing passes
    const double low = nan ? inf : lo, high = nan ? -inf : hi;
    return where(x == x, where(x < low, zero, where(x > high, zero, g)), zero);
  }
};

struct Erf : Base<1, Floats> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveIn0;
  template <class V>
  V operator()(V x) const {
    return erf(x);
  }
  template <class V>
  V d0(V x, V) const {
    return exp(-(x * x)) * (2.0 * std::numbers::inv_sqrtpi);
  }
};

struct Log1p : Base<1, Floats> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveIn0;
  template <class V>
  V operator()(V x) const {
    return log1p(x);
  }
  template <class V>
  V d0(V x, V) const {
    return 1.0 / (x + 1.0);
  }
};

struct Expm1 : Base<1, Floats> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveOut;
  template <class V>
  V operator()(V x) const {
    return expm1(x);
  }
  template <class V>
  V d0(V, V y) const {
    return y + 1.0;
  }
};

#define UNSPOOL_ROUNDING(Name, f) \
  struct Name : Base<1, Floats> { \
    using Base::Base;             \
    template <class V>            \
    V operator()(V x) const {     \
      return f(x);                \
    }                             \
  };
UNSPOOL_ROUNDING(Floor, floor)
UNSPOOL_ROUNDING(Ceil, ceil)
UNSPOOL_ROUNDING(Trunc, trunc)
UNSPOOL_ROUNDING(Round, round)
#undef UNSPOOL_ROUNDING

struct Not : Base<1, Everything> {
  using Base::Base;
  static constexpr bool kBool = true;
  template <class V>
  auto operator()(V x) const {
    return x == 0.0;
  }
};

struct IsNan : Base<1, Everything> {
  using Base::Base;
  static constexpr bool kBool = true;
  template <class V>
  auto operator()(V x) const {
    return x != x;
  }
};

// ---- Two inputs --------------------------------------------------------------------------------

// a + alpha·b, the product and sum of a floating alpha in one rounding, as PyTorch's kernel.
struct Add : Base<2, Everything> {
  double alpha;
  constexpr explicit Add(const double* a) : alpha(a[0]) {}
  template <class V>
  V operator()(V a, V b) const {
    return alpha == 1.0 ? a + b : fma(constant<V>(alpha), b, a);
  }
};

struct Mul : Base<2, Everything> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveIn1, kUses1 = kSaveIn0;
  template <class V>
  V operator()(V a, V b) const {
    return a * b;
  }
  template <class V>
  V d0(V, V b, V) const {
    return b;
  }
  template <class V>
  V d1(V a, V, V) const {
    return a;
  }
};

// Saves a and not the quotient, as PyTorch: the result may be overwritten.
struct Div : Base<2, Floats> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveIn1, kUses1 = kSaveIn0 | kSaveIn1;
  template <class V>
  V operator()(V a, V b) const {
    return a / b;
  }
  template <class V>
  V d0(V, V b, V) const {
    return 1.0 / b;
  }
  template <class V>
  V d1(V a, V b, V) const {
    return -(a / b / b);
  }
};

// Python's //: towards minus infinity.
struct FloorDiv : Base<2, Numbers> {
  using Base::Base;
  template <class V>
  V operator()(V a, V b) const {
    return floor_div(a, b);
  }
};

// Python's %: the sign of the divisor.
struct Remainder : Base<2, Numbers> {
  using Base::Base;
  static constexpr std::uint32_t kUses1 = kSaveIn0 | kSaveIn1;
  template <class V>
  V operator()(V a, V b) const {
    return remainder(a, b);
  }
  template <class V>
  V d0(V, V, V) const {
    return constant<V>(1.0);
  }
  template <class V>
  V d1(V a, V b, V) const {
    return -floor_div(a, b);
  }
};

struct Pow : Base<2, Floats> {
  using Base::Base;
  template <class V>
  V operator()(V a, V b) const {
    return pow(a, b);
  }
};

// Equal elements share the gradient in halves; where one is NaN both get it, as PyTorch.
struct Maximum : Base<2, Everything> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveIn0 | kSaveIn1, kUses1 = kUses0;
  static constexpr bool kSelects = true;
  template <class V>
  V operator()(V a, V b) const {
    return max(a, b);
  }
  template <class V>
  V g0(V g, V a, V b, V) const {
    return where(a == b, g * 0.5, where(a < b, constant<V>(0.0), g));
  }
  template <class V>
  V g1(V g, V a, V b, V y) const {
    return g0(g, b, a, y);
  }
};

struct Minimum : Base<2, Everything> {
  using Base::Base;
  static constexpr std::uint32_t kUses0 = kSaveIn0 | kSaveIn1, kUses1 = kUses0;
  static constexpr bool kSelects = true;
  template <class V>
  V operator()(V a, V b) const {
    return min(a, b);
  }
  template <class V>
  V g0(V g, V a, V b, V) const {
    return where(a == b, g * 0.5, where(a > b, constant<V>(0.0), g));
  }
  template <class V>
  V g1(V g, V a, V b, V y) const {
    return g0(g, b, a, y);
  }
};

#define UNSPOOL_COMPARISON(Name, op)    \
  struct Name : Base<2, Everything> {   \
    using Base::Base;                   \
    static constexpr bool kBool = true; \
    template <class V>                  \
    auto operator()(V a, V b) const {   \
      return a op b;                    \
    }                                   \
  };
UNSPOOL_COMPARISON(Eq, ==)
UNSPOOL_COMPARISON(Ne, !=)
UNSPOOL_COMPARISON(Lt, <)
UNSPOOL_COMPARISON(Le, <=)
UNSPOOL_COMPARISON(Gt, >)
UNSPOOL_COMPARISON(Ge, >=)
#undef UNSPOOL_COMPARISON

#define UNSPOOL_BITWISE(Name, op)  \
  struct Name : Base<2, Bits> {    \
    using Base::Base;              \
    template <class V>             \
    V operator()(V a, V b) const { \
      return V(a.v op b.v);        \
    }                              \
  };
UNSPOOL_BITWISE(And, &)
UNSPOOL_BITWISE(Or, |)
UNSPOOL_BITWISE(Xor, ^)
#undef UNSPOOL_BITWISE

// ---- Three inputs ------------------------------------------------------------------------------

// The condition arrives in the type of the values.
struct Where : Base<3, Everything> {
  using Base::Base;
  template <class V>
  V operator()(V condition, V a, V b) const {
    return where(condition != 0.0, a, b);
  }
};

// ---- Five inputs, of batch_norm (norm.cpp) ------------------------------------------------------

struct BatchNorm : Base<5, Floats> {
  using Base::Base;
  template <class V>
  V operator()(V x, V mean, V rstd, V weight, V bias) const {
    return (x - mean) * rstd * weight + bias;
  }
};
// x is normalised already; `mean_g` and `mean_gx` are the means of g and of g·x.
struct BatchNormBackward : Base<5, Floats> {
  using Base::Base;
  template <class V>
  V operator()(V g, V mean_g, V x, V mean_gx, V scale) const {
    return (g - mean_g - x * mean_gx) * scale;
  }
};

// ---- Fused backward ----------------------------------------------------------------------------

// g · d_I, or what stands for it: the one place that knows arity and choice.
template <int I, class F, class V>
[[gnu::always_inline]] inline V pulled(const F& f, V g, V x0, V x1, V y) {
  if constexpr (F::kArity == 1 && F::kSelects)
    return f.g0(g, x0, y);
  else if constexpr (F::kArity == 1)
    return g * f.d0(x0, y);
  else if constexpr (F::kSelects && I == 0)
    return f.g0(g, x0, x1, y);
  else if constexpr (F::kSelects)
    return f.g1(g, x0, x1, y);
  else if constexpr (I == 0)
    return g * f.d0(x0, x1, y);
  else
    return g * f.d1(x0, x1, y);
}

// pulled() in one loop: the bits of the product op after the derivative's ops. Takes g and
// then those of (input 0, input 1, output) that the derivative reads, in this order.
template <class F, int I>
struct Backward {
  static constexpr std::uint32_t kUses = I == 0 ? F::kUses0 : F::kUses1;
  static constexpr int kArity =
      1 + ((kUses & kSaveIn0) != 0) + ((kUses & kSaveIn1) != 0) + ((kUses & kSaveOut) != 0);
  using Types = Floats;
  static constexpr bool kBool = false;
  F f;
  constexpr explicit Backward(const double* a) : f(a) {}

  template <class V>
  V apply(V g, const V* s) const {
    const V x0 = (kUses & kSaveIn0) ? *s++ : g;
    const V x1 = (kUses & kSaveIn1) ? *s++ : g;
    const V y = (kUses & kSaveOut) ? *s : g;
    return pulled<I>(f, g, x0, x1, y);
  }
  template <class V>
  V operator()(V g) const {
    return apply(g, static_cast<const V*>(nullptr));
  }
  template <class V>
  V operator()(V g, V a) const {
    return apply(g, &a);
  }
  template <class V>
  V operator()(V g, V a, V b) const {
    const V s[] = {a, b};
    return apply(g, s);
  }
};

// ---- The map kernels, numbered -----------------------------------------------------------------

template <class... F>
struct List {
  static constexpr int kSize = sizeof...(F);
};

// The one list of kernels; a derivative kernel stands for each differentiable formula.
using Kernels =
    List<Neg, Sign, Abs, Exp, Log, Sqrt, Reciprocal, Tanh, Sigmoid, PowNumber, PowInteger, Clamp, Erf, Log1p,
         Expm1, Floor, Ceil, Trunc, Round, LeakyRelu, Elu, Gelu, Silu, Mish, Softplus, LogSigmoid, Hardtanh,
         Hardsigmoid, Hardswish, Prelu, BatchNorm, BatchNormBackward, Not, IsNan, Add, Mul, Div, FloorDiv,
         Remainder, Pow, Maximum, Minimum, Eq, Ne, Lt, Le, Gt, Ge, And, Or, Xor, Where, Backward<Abs, 0>,
         Backward<Exp, 0>, Backward<Log, 0>, Backward<Sqrt, 0>, Backward<Reciprocal, 0>, Backward<Tanh, 0>,
         Backward<Sigmoid, 0>, Backward<PowNumber, 0>, Backward<Clamp, 0>, Backward<Mul, 0>, Backward<Mul, 1>,
         Backward<Div, 0>, Backward<Div, 1>, Backward<Remainder, 1>, Backward<Maximum, 0>,
         Backward<Maximum, 1>, Backward<Minimum, 0>, Backward<Minimum, 1>, Backward<LeakyRelu, 0>,
         Backward<Elu, 0>, Backward<Gelu, 0>, Backward<Silu, 0>, Backward<Mish, 0>, Backward<Softplus, 0>,
         Backward<LogSigmoid, 0>, Backward<Hardtanh, 0>, Backward<Hardsigmoid, 0>, Backward<Hardswish, 0>,
         Backward<Prelu, 0>, Backward<Prelu, 1>>;

template <class F, class... Fs>
constexpr int position(List<Fs...>) {
  int i = 0, found = -1;
  ((std::is_same_v<F, Fs> ? (found = i, ++i) : ++i), ...);
  return found;
}
template <class F>
constexpr int map_id = position<F>(Kernels{});

}  // namespace
}  // namespace unspool::elementwise
