// Functions of one or two numbers that are not worth a vector kernel: a plain loop over the C library's
// function, compiled once, with the derivative written in ops. Ones that networks lean on are in
// elementwise.h.
#include <cmath>
#include <limits>
#include <numbers>

#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"
#include "unspool/ops/scalar_unary.h"

namespace unspool {
namespace {

struct Frac {
  static constexpr std::uint32_t kSaves = kSaveNothing;
  template <class T>
  static T f(T x) {
    return x - std::trunc(x);
  }
  static Tensor pulled(const Record&, const Tensor& g) { return g; }
};

Tensor sin_of(const Tensor& x);
Tensor cos_of(const Tensor& x);
Tensor sinh_of(const Tensor& x);
Tensor cosh_of(const Tensor& x);

UNSPOOL_UNARY(Sin, std::sin(x), kSaveIn0, cos_of(v))
UNSPOOL_UNARY(Cos, std::cos(x), kSaveIn0, -sin_of(v))
UNSPOOL_UNARY(Tan, std::tan(x), kSaveOut, square(v) + number(1.0))
UNSPOOL_UNARY(Asin, std::asin(x), kSaveIn0, 1.0 / sqrt(1.0 - square(v)))
UNSPOOL_UNARY(Acos, std::acos(x), kSaveIn0, -(1.0 / sqrt(1.0 - square(v))))
UNSPOOL_UNARY(Atan, std::atan(x), kSaveIn0, 1.0 / (square(v) + number(1.0)))
UNSPOOL_UNARY(Sinh, std::sinh(x), kSaveIn0, cosh_of(v))
UNSPOOL_UNARY(Cosh, std::cosh(x), kSaveIn0, sinh_of(v))
UNSPOOL_UNARY(Asinh, std::asinh(x), kSaveIn0, 1.0 / sqrt(square(v) + number(1.0)))
UNSPOOL_UNARY(Acosh, std::acosh(x), kSaveIn0, 1.0 / sqrt(square(v) - number(1.0)))
UNSPOOL_UNARY(Atanh, std::atanh(x), kSaveIn0, 1.0 / (1.0 - square(v)))
UNSPOOL_UNARY(Erfc, std::erfc(x), kSaveIn0, exp(-square(v)) * (-2.0 / std::sqrt(std::numbers::pi)))
UNSPOOL_UNARY(Log2, std::log2(x), kSaveIn0, 1.0 / (v * std::numbers::ln2))
UNSPOOL_UNARY(Log10, std::log10(x), kSaveIn0, 1.0 / (v * std::numbers::ln10))
UNSPOOL_UNARY(Exp2, std::exp2(x), kSaveOut, v* std::numbers::ln2)
UNSPOOL_UNARY(Rsqrt, T(1) / std::sqrt(x), kSaveOut, v* square(v) * -0.5)

constexpr OpDef sin_op =
    unary<Sin>("sin(Tensor input)", "The sine of each element, in radians.", "SinBackward0");
constexpr OpDef cos_op =
    unary<Cos>("cos(Tensor input)", "The cosine of each element, in radians.", "CosBackward0");
constexpr OpDef tan_op =
    unary<Tan>("tan(Tensor input)", "The tangent of each element, in radians.", "TanBackward0");
constexpr OpDef asin_op = unary<Asin>("asin(Tensor input)", "The arc sine of each element.", "AsinBackward0");
constexpr OpDef acos_op =
    unary<Acos>("acos(Tensor input)", "The arc cosine of each element.", "AcosBackward0");
constexpr OpDef atan_op =
    unary<Atan>("atan(Tensor input)", "The arc tangent of each element.", "AtanBackward0");
constexpr OpDef sinh_op =
    unary<Sinh>("sinh(Tensor input)", "The hyperbolic sine of each element.", "SinhBackward0");
constexpr OpDef cosh_op =
    unary<Cosh>("cosh(Tensor input)", "The hyperbolic cosine of each element.", "CoshBackward0");
constexpr OpDef asinh_op =
    unary<Asinh>("asinh(Tensor input)", "The inverse hyperbolic sine of each element.", "AsinhBackward0");
constexpr OpDef acosh_op =
    unary<Acosh>("acosh(Tensor input)", "The inverse hyperbolic cosine of each element.", "AcoshBackward0");
constexpr OpDef atanh_op =
    unary<Atanh>("atanh(Tensor input)", "The inverse hyperbolic tangent of each element.", "AtanhBackward0");
constexpr OpDef erfc_op =
    unary<Erfc>("erfc(Tensor input)", "1 - erf(x), without cancellation.", "ErfcBackward0");
constexpr OpDef log2_op = unary<Log2>("log2(Tensor input)", "The logarithm to base 2.", "Log2Backward0");
constexpr OpDef log10_op = unary<Log10>("log10(Tensor input)", "The logarithm to base 10.", "Log10Backward0");
constexpr OpDef exp2_op = unary<Exp2>("exp2(Tensor input)", "2^x of each element.", "Exp2Backward0");
constexpr OpDef rsqrt_op =
    unary<Rsqrt>("rsqrt(Tensor input)", "1/sqrt(x) of each element.", "RsqrtBackward0");
constexpr OpDef frac_op = unary<Frac>("frac(Tensor input)", "x - trunc(x): the fraction, with the sign of x.",
                                      "FracBackward0", Promote::None);

constexpr OpDef round_op = {
    .schema = "round(Tensor input, *, int decimals)",
    .doc = "x rounded to so many decimals; negative ones round to tens, hundreds …",
    .surface = kBoth | kInplace,
    .composite =
        [](Call& c) {
          const std::int64_t decimals = c.attrs.i(0);
          const Tensor& x = c.in[0];
          if (decimals == 0) {
            c.out[0] = round(x);
            return;
          }
          if (!is_floating(x.dtype()))
            fail(ErrorKind::DType, "round: decimals is for floating tensors, got ", name(x.dtype()));
          const double ten = std::pow(10.0, static_cast<double>(decimals < 0 ? -decimals : decimals));
          c.out[0] = decimals > 0 ? round(x * ten) / number(ten) : round(x / number(ten)) * ten;
        },
};

constexpr OpDef square_op = {
    .schema = "square(Tensor input)",
    .doc = "x^2 of each element.",
    .grad_name = "PowBackward0",
    .surface = kBoth | kInplace,
    .composite =
        [](Call& c) {
          const Tensor& x = c.in[0];
          c.out[0] = x.dtype() == DType::Bool ? to(x, DType::Int64) : x * x;
        },
};

// ---- Two inputs ----------------------------------------------------------------------------------------

struct Atan2 {
  template <class T>
  static T f(T a, T b) {
    return std::atan2(a, b);
  }
  static Tensor da(const Tensor& a, const Tensor& b) { return b / (square(a) + square(b)); }
  static Tensor db(const Tensor& a, const Tensor& b) { return -a / (square(a) + square(b)); }
};
// a - b·trunc(a/b), with the sign of a; the quotient counts as a constant.
struct Fmod {
  template <class T>
  static T f(T a, T b) {
    return std::fmod(a, b);
  }
  static Tensor da(const Tensor& a, const Tensor&) { return ones_like(a); }
  static Tensor db(const Tensor& a, const Tensor& b) {
    GradMode off(false);
    return -trunc(a / b);
  }
};
struct Hypot {
  template <class T>
  static T f(T a, T b) {
    return std::hypot(a, b);
  }
  static Tensor da(const Tensor& a, const Tensor& b) { return a / sqrt(square(a) + square(b)); }
  static Tensor db(const Tensor& a, const Tensor& b) { return b / sqrt(square(a) + square(b)); }
};
struct Copysign {
  template <class T>
  static T f(T a, T b) {
    return std::copysign(a, b);
  }
  static Tensor da(const Tensor& a, const Tensor& b) {
    const Tensor flipped = call(copysign_op(), {ones_like(a), b}) * sign(a);
    return flipped;
  }
  static Tensor db(const Tensor&, const Tensor& b) { return zeros_like(b); }
  static const OpDef& copysign_op();
};

template <class F>
void binary_forward(Call& c) {
  visit_floating(c.in[0].dtype(), [&]<class T>() {
    const T* a = reinterpret_cast<const T*>(c.in[0]->data);
    const T* b = reinterpret_cast<const T*>(c.in[1]->data);
    T* y = reinterpret_cast<T*>(c.out[0]->data);
    for (std::int64_t i = 0, n = c.in[0].numel(); i < n; ++i) y[i] = F::f(a[i], b[i]);
  });
}

void binary_shape(Call& c) {
  const Shape shape = broadcast_shapes(c.op->schema, c.in[0].shape(), c.in[1].shape());
  flat_shape(c, shape, c.in[0].dtype());
}

template <class F>
constexpr OpDef binary(const char* schema, const char* doc, const char* grad_name) {
  return {.schema = schema,
          .doc = doc,
          .grad_name = grad_name,
          .surface = kBoth | kInplace,
          .cls = Class::Fused,
          .promote = Promote::Floating,
          .shape = binary_shape,
          .forward = binary_forward<F>,
          .derivative = custom(
              [](const Record& r, const Tensor* g, Tensor* gx) {
                if (r.needs(0)) gx[0] = g[0] * F::da(r.x(0), r.x(1));
                if (r.needs(1)) gx[1] = g[0] * F::db(r.x(0), r.x(1));
              },
              [](const Record& r, const Tensor* dx, Tensor* dy) {
                if (dx[0]) dy[0] = dx[0] * F::da(r.x(0), r.x(1));
                if (!dx[1]) return;
                const Tensor part = dx[1] * F::db(r.x(0), r.x(1));
                dy[0] = dy[0] ? dy[0] + part : part;
              },
              kSaveIn0 | kSaveIn1),
          .domain = Domain::NonZero};
}

constexpr OpDef atan2_op =
    binary<Atan2>("atan2(Tensor input, Tensor other)", "The angle of the point (other, input), in radians.",
                  "Atan2Backward0");
constexpr OpDef hypot_op = binary<Hypot>("hypot(Tensor input, Tensor other)",
                                         "sqrt(input^2 + other^2), without overflow.", "HypotBackward0");
constexpr OpDef copysign_op =
    binary<Copysign>("copysign(Tensor input, Operand other)", "The size of input with the sign of other.",
                     "CopysignBackward0");
constexpr OpDef fmod_floats_op = {
    .schema = "fmod_floats(Tensor input, Tensor other)",
    .grad_name = "FmodBackward0",
    .cls = Class::Fused,
    .shape = binary_shape,
    .forward = binary_forward<Fmod>,
    .derivative = binary<Fmod>("", "", "").derivative,
};

constexpr OpDef fmod_op = {
    .schema = "fmod(Tensor input, Operand other)",
    .doc =
        "input - other · trunc(input / other), with the sign of input. An integer by 0 raises RuntimeError.",
    .surface = kBoth | kInplace,
    .promote = Promote::Arithmetic,
    .composite =
        [](Call& c) {
          const Tensor &a = c.in[0], &b = c.in[1];
          if (is_floating(a.dtype())) {
            c.out[0] = call(fmod_floats_op, {a, b});
            return;
          }
          const Tensor rest = remainder(a, b);  // has the sign of b
          const Tensor zero = wrapped_number(std::int64_t{0});
          const Tensor other_sign = (a < zero) == (b < zero);
          c.out[0] = where(rest == zero, rest, where(other_sign, rest, rest - b));
        },
    .domain = Domain::NonZero,
};

// ---- Rounded quotients, bounds that are tensors ----------------------------------------------------------

// The value of `exact` with a derivative of 0 by a and b, as PyTorch has it.
Tensor without_slope(const Tensor& quotient, const Tensor& exact) {
  const Tensor y = trunc(quotient);  // its rule reads no value
  kernels().copy(y.view(), exact.view());
  return y;
}

constexpr OpDef div_rounded_op = {
    .schema = "div(Value input, Operand other, *, {trunc,floor}? rounding_mode)",
    .doc =
        "With rounding_mode='floor' or 'trunc' the quotient rounded down or towards 0, of integers as an integer; "
        "its derivative is 0.",
    .surface = kBoth | kInplace,
    .composite =
        [](Call& c) {
          Tensor a = c.in[0], b = c.in[1];
          if (!c.attrs.given(0)) {
            c.out[0] = a / b;
            return;
          }
          ResultType type;
          type.add(a);
          type.add(b);
          const bool down = c.attrs.i(0) == 1;
          if (is_floating(type.get())) {
            const Tensor quotient = a / b;
            c.out[0] = down ? without_slope(quotient, floor_div(a, b)) : trunc(quotient);
            return;
          }
          c.out[0] = floor_div(a, b);
          if (down) return;
          // Towards 0: one more where the quotient is negative and not whole.
          const Tensor whole = wrapped_number(std::int64_t{0});
          const Tensor up =
              (c.out[0] < whole) * (to(c.out[0] * b == a, DType::Bool) == wrapped_number(false));
          c.out[0] = c.out[0] + to(up, c.out[0].dtype());
        },
    .domain = Domain::NonZero,
};

Tensor isnan_of(const Tensor& x) { return (x == x) == wrapped_number(false); }

Tensor at_least(const Tensor& x, const Tensor& bound) {
  return where((x < bound) + isnan_of(bound), bound, x);
}
Tensor at_most(const Tensor& x, const Tensor& bound) {
  return where((x > bound) + isnan_of(bound), bound, x);
}

constexpr OpDef clamp_tensor_op = {
    .schema = "clamp(Tensor input, Tensor? min=None, Tensor? max=None)",
    .doc = "With tensors as bounds, broadcast: a bound gets the gradient of the elements that it replaces.",
    .surface = kBoth | kInplace,
    .composite =
        [](Call& c) {
          if (!c.in[1] && !c.in[2])
            fail(ErrorKind::Runtime, "clamp: at least one of min and max must not be None");
          Tensor y = c.in[1] ? at_least(c.in[0], c.in[1]) : c.in[0];
          c.out[0] = c.in[2] ? at_most(y, c.in[2]) : y;
        },
};
constexpr OpDef clamp_min_op = {
    .schema = "clamp_min(Tensor input, Operand min)",
    .doc = "clamp(input, min=min).",
    .surface = kBoth | kInplace,
    .composite = [](Call& c) { c.out[0] = at_least(c.in[0], c.in[1]); },
};
constexpr OpDef clamp_max_op = {
    .schema = "clamp_max(Tensor input, Operand max)",
    .doc = "clamp(input, max=max).",
    .surface = kBoth | kInplace,
    .composite = [](Call& c) { c.out[0] = at_most(c.in[0], c.in[1]); },
};

Tensor sin_of(const Tensor& x) { return call(sin_op, {x}); }
Tensor cos_of(const Tensor& x) { return call(cos_op, {x}); }
Tensor sinh_of(const Tensor& x) { return call(sinh_op, {x}); }
Tensor cosh_of(const Tensor& x) { return call(cosh_op, {x}); }
const OpDef& Copysign::copysign_op() { return unspool::copysign_op; }

// ---- Questions -----------------------------------------------------------------------------------------

constexpr double kInf = std::numeric_limits<double>::infinity();

Tensor all_of(const Tensor& x, bool value) { return full(x.shape(), value ? 1.0 : 0.0, DType::Bool); }

template <int Which>  // 0: finite, 1: infinite, 2: +inf, 3: -inf
void infinity_test(Call& c) {
  GradMode off(false);
  const Tensor& x = c.in[0];
  if (!is_floating(x.dtype()))
    c.out[0] = all_of(x, Which == 0);
  else if (Which == 0)
    c.out[0] = abs(x) < kInf;
  else
    c.out[0] = (Which == 1 ? abs(x) : x) == number(Which == 3 ? -kInf : kInf);
}
template <int Which>
constexpr OpDef infinity(const char* schema, const char* doc) {
  return {.schema = schema, .doc = doc, .surface = kBoth, .composite = infinity_test<Which>};
}
constexpr OpDef isfinite_op =
    infinity<0>("isfinite(Tensor input)", "Whether each element is neither infinite nor NaN.");
constexpr OpDef isinf_op = infinity<1>("isinf(Tensor input)", "Whether each element is infinite.");
constexpr OpDef isposinf_op = infinity<2>("isposinf(Tensor input)", "Whether each element is +inf.");
constexpr OpDef isneginf_op = infinity<3>("isneginf(Tensor input)", "Whether each element is -inf.");

Tensor truth(const Tensor& x) { return to(x, DType::Bool); }
Tensor not_of(const Tensor& x) { return truth(x) == wrapped_number(false); }

constexpr OpDef logical_xor_op = {
    .schema = "logical_xor(Tensor input, Tensor other)",
    .doc = "Whether exactly one of the two is not 0.",
    .surface = kBoth | kInplace,
    .composite = [](Call& c) { c.out[0] = truth(c.in[0]) == not_of(c.in[1]); },
};
constexpr OpDef logical_and_op = {
    .schema = "logical_and(Tensor input, Tensor other)",
    .doc = "Whether both are not 0.",
    .surface = kBoth | kInplace,
    .composite = [](Call& c) { c.out[0] = truth(c.in[0]) * truth(c.in[1]); },
};
constexpr OpDef logical_or_op = {
    .schema = "logical_or(Tensor input, Tensor other)",
    .doc = "Whether one or both are not 0.",
    .surface = kBoth | kInplace,
    .composite = [](Call& c) { c.out[0] = truth(c.in[0]) + truth(c.in[1]); },
};

// ---- Made of others ------------------------------------------------------------------------------------

constexpr OpDef lerp_op = {
    .schema = "lerp(Tensor input, Tensor end, Operand weight)",
    .doc = "input + weight · (end - input), broadcast; from the nearer end, so that weight 1 gives `end`.",
    .grad_name = "LerpBackward0",
    .surface = kBoth | kInplace,
    .composite =
        [](Call& c) {
          const Tensor &a = c.in[0], &b = c.in[1];
          if (a.dtype() != b.dtype())
            fail(ErrorKind::DType, "lerp: expected dtype ", name(a.dtype()), " for `end`, but got dtype ",
                 name(b.dtype()));
          const Tensor w = c.in[2]->wrapped_number ? to(c.in[2], a.dtype()) : c.in[2];
          c.out[0] = where(abs(w) < 0.5, a + w * (b - a), b - (b - a) * (1.0 - w));
        },
};
constexpr OpDef addcmul_op = {
    .schema = "addcmul(Tensor input, Tensor tensor1, Tensor tensor2, *, Scalar value=1)",
    .doc = "input + value · tensor1 · tensor2, broadcast.",
    .surface = kBoth | kInplace,
    .promote = Promote::Common,
    .composite = [](Call& c) { c.out[0] = add(c.in[0], c.in[1] * c.in[2], c.attrs.f(0)); },
};
constexpr OpDef addcdiv_op = {
    .schema = "addcdiv(Tensor input, Tensor tensor1, Tensor tensor2, *, Scalar value=1)",
    .doc = "input + value · tensor1 / tensor2, broadcast; floating tensors only.",
    .surface = kBoth | kInplace,
    .composite =
        [](Call& c) {
          if (!is_floating(c.in[1].dtype()) && !is_floating(c.in[2].dtype()))
            fail(ErrorKind::DType, "addcdiv: integer division is no longer supported, got ",
                 name(c.in[1].dtype()), " and ", name(c.in[2].dtype()));
          ResultType type;
          for (const Tensor& t : c.in) type.add(t);
          const DType common = type.get();
          c.out[0] = add(to(c.in[0], common), to(c.in[1], common) / to(c.in[2], common), c.attrs.f(0));
        },
};

}  // namespace

std::span<const OpDef* const> scalar_math_ops() {
  static const OpDef* const ops[] = {
      &sin_op,         &cos_op,          &tan_op,       &asin_op,        &acos_op,        &atan_op,
      &sinh_op,        &cosh_op,         &asinh_op,     &acosh_op,       &atanh_op,       &erfc_op,
      &log2_op,        &log10_op,        &exp2_op,      &rsqrt_op,       &round_op,       &frac_op,
      &square_op,      &atan2_op,        &hypot_op,     &copysign_op,    &fmod_op,        &isfinite_op,
      &isinf_op,       &isposinf_op,     &isneginf_op,  &logical_xor_op, &logical_and_op, &logical_or_op,
      &div_rounded_op, &clamp_tensor_op, &clamp_min_op, &clamp_max_op,   &lerp_op,        &addcmul_op,
      &addcdiv_op};
  return ops;
}

}  // namespace unspool
