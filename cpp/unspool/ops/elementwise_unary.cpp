// Names, documentation and gradients of the elementwise ops of one input. Formulas: elementwise.h.
#include <limits>

#include "unspool/ops/elementwise_rule.h"

namespace unspool {
namespace {

constexpr OpDef neg_op = {
    .schema = "neg(Tensor input)",
    .doc = "The negative of each element, -x.",
    .grad_name = "NegBackward0",
    .surface = kBoth | kInplace,
    .promote = Promote::Arithmetic,
    .map = map_id<Neg>,
    .derivative = linear([](const Record&, const Tensor* g, Tensor* gx) { gx[0] = -g[0]; }),
    .doctest = ">>> unspool.neg(unspool.tensor([1.0, -2.0]))\ntensor([-1.,  2.])",
};

constexpr OpDef sign_op = {
    .schema = "sign(Tensor input)",
    .doc = "-1, 0 or 1 by the sign of each element; 0 for NaN. Its derivative is 0.",
    .grad_name = "SignBackward0",
    .surface = kBoth | kInplace,
    .promote = Promote::Common,
    .map = map_id<Sign>,
    .derivative = custom([](const Record&, const Tensor* g, Tensor* gx) { gx[0] = zeros_like(g[0]); },
                         [](const Record&, const Tensor* dx, Tensor* dy) { dy[0] = zeros_like(dx[0]); }),
    .domain = Domain::NonZero,
};

constexpr OpDef abs_op = {
    .schema = "abs(Tensor input)",
    .doc = "The absolute value |x| of each element. The derivative at 0 is 0.",
    .grad_name = "AbsBackward0",
    .surface = kBoth | kInplace,
    .promote = Promote::Arithmetic,
    .map = map_id<Abs>,
    .derivative = elementwise<Abs>(),
    .domain = Domain::NonZero,
};

// Floating functions whose kernel, value and derivative stand in elementwise.h.
template <class F>
constexpr OpDef smooth(const char* schema, const char* doc, const char* grad_name,
                       Domain domain = Domain::Real, const char* doctest = nullptr) {
  return {.schema = schema,
          .doc = doc,
          .grad_name = grad_name,
          .surface = kBoth | kInplace,
          .promote = Promote::Floating,
          .map = map_id<F>,
          .derivative = elementwise<F>(),
          .doctest = doctest,
          .domain = domain};
}
constexpr OpDef exp_op =
    smooth<Exp>("exp(Tensor input)", "e to the power of each element.", "ExpBackward0", Domain::Real,
                ">>> unspool.exp(unspool.tensor([0.0, 1.0]))\ntensor([1.0000, 2.7183])");
constexpr OpDef log_op =
    smooth<Log>("log(Tensor input)", "The natural logarithm of each element; -inf at 0, NaN below.",
                "LogBackward0", Domain::Positive);
constexpr OpDef sqrt_op = smooth<Sqrt>("sqrt(Tensor input)", "The square root of each element; NaN below 0.",
                                       "SqrtBackward0", Domain::Positive);
constexpr OpDef reciprocal_op = smooth<Reciprocal>("reciprocal(Tensor input)", "1/x of each element.",
                                                   "ReciprocalBackward0", Domain::NonZero);
constexpr OpDef tanh_op =
    smooth<Tanh>("tanh(Tensor input)", "The hyperbolic tangent of each element.", "TanhBackward0");
constexpr OpDef sigmoid_op =
    smooth<Sigmoid>("sigmoid(Tensor input)", "1 / (1 + e^-x) of each element.", "SigmoidBackward0");
constexpr OpDef erf_op = smooth<Erf>(
    "erf(Tensor input)", "The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x.",
    "ErfBackward0");
constexpr OpDef log1p_op =
    smooth<Log1p>("log1p(Tensor input)", "ln(1 + x), accurate for small x.", "Log1PBackward0");
constexpr OpDef expm1_op =
    smooth<Expm1>("expm1(Tensor input)", "e^x - 1, accurate for small x.", "Expm1Backward0");

// Integers are whole already.
template <class F>
constexpr OpDef rounding(const char* schema, const char* doc, const char* grad_name) {
  return {
      .schema = schema,
      .doc = doc,
      .grad_name = grad_name,
      .surface = kBoth | kInplace,
      .map = map_id<F>,
      .shape =
          [](Call& c) {
            if (c.in[0].dtype() == DType::Bool)
              fail(ErrorKind::DType, name_of(*c.op), ": not implemented for 'bool'");
            c.allocate_alike(0, c.in[0].shape(), c.in[0].dtype());
          },
      .forward =
          [](Call& c) {
            if (is_floating(c.in[0].dtype())) return run_map(c);
            kernels().copy(c.out[0].view(), c.in[0].view());
          },
      .derivative = custom([](const Record&, const Tensor* g, Tensor* gx) { gx[0] = zeros_like(g[0]); },
                           [](const Record&, const Tensor* dx, Tensor* dy) { dy[0] = zeros_like(dx[0]); })};
}
constexpr OpDef floor_op =
    rounding<Floor>("floor(Tensor input)", "The largest whole number not above x.", "FloorBackward0");
constexpr OpDef ceil_op =
    rounding<Ceil>("ceil(Tensor input)", "The smallest whole number not below x.", "CeilBackward0");
constexpr OpDef trunc_op =
    rounding<Trunc>("trunc(Tensor input)", "x without its fraction.", "TruncBackward0");
constexpr OpDef round_op = rounding<Round>(
    "round(Tensor input)", "The nearest whole number, of two the even one.", "RoundBackward0");

// lo and hi of a floating clamp, infinite where they are not given.
Attrs clamp_bounds(const AttrsView& attrs) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  return {attrs.given(0) ? attrs.f(0) : -inf, attrs.given(1) ? attrs.f(1) : inf};
}
Tensor clamp_times_partial(const Record& r, const Tensor& g) {
  const Attrs bounds = clamp_bounds(r.attrs);
  if (!r.taped) return call(backward_op<Clamp, 0>, {g, r.x(0)}, bounds);
  return formula<Clamp>(bounds).g0(g, r.x(0), r.y);
}

constexpr OpDef clamp_op = {
    .schema = "clamp(Tensor input, Scalar? min=None, Scalar? max=None)",
    .doc =
        "Each element brought into [min, max]; NaN stays. Where min > max the result is max. "
        "The derivative is 1 inside and at the bounds, 0 outside and of NaN.",
    .grad_name = "ClampBackward1",
    .surface = kBoth | kInplace,
    .promote = Promote::Common,
    .map = map_id<Clamp>,
    .shape =
        [](Call& c) {
          if (!c.attrs.given(0) && !c.attrs.given(1))
            fail(ErrorKind::Runtime, "clamp: at least one of min and max must not be None");
          // A floating bound lifts integers; integers keep to integer arithmetic.
          const bool lift = c.attrs[0].kind == Attr::Float || c.attrs[1].kind == Attr::Float;
          if (lift && !is_floating(c.in[0].dtype())) c.in[0] = to(c.in[0], default_dtype());
          if (c.in[0].dtype() == DType::Bool) fail(ErrorKind::DType, "clamp: not implemented for 'bool'");
          c.allocate_alike(0, c.in[0].shape(), c.in[0].dtype());
        },
    .forward =
        [](Call& c) {
          if (is_floating(c.in[0].dtype())) return run_with(c, clamp_bounds(c.attrs));
          Tensor x = c.in[0];
          auto bound = [&](int i) { return wrapped_number(c.attrs.i(i)); };
          GradMode off(false);
          if (c.attrs.given(0)) x = max(x, bound(0));
          if (c.attrs.given(1)) x = min(x, bound(1));
          kernels().copy(c.out[0].view(), x.view());
        },
    .derivative =
        custom([](const Record& r, const Tensor* g, Tensor* gx) { gx[0] = clamp_times_partial(r, g[0]); },
               [](const Record& r, const Tensor* dx, Tensor* dy) { dy[0] = clamp_times_partial(r, dx[0]); },
               kSaveIn0),
    .doctest =
        ">>> unspool.clamp(unspool.tensor([-2.0, 0.5, 3.0]), -1, 1)\n"
        "tensor([-1.0000,  0.5000,  1.0000])",
};

constexpr OpDef logical_not_op = {
    .schema = "logical_not(Tensor input)",
    .doc = "Whether each element is zero.",
    .surface = kBoth,
    .map = map_id<Not>,
    .derivative = kLogic,
};

constexpr OpDef bitwise_not_op = {
    .schema = "bitwise_not(Tensor input)",
    .doc = "`~x`: the logical not of bools, the bitwise not of integers.",
    .surface = kBoth,
    .map = map_id<Xor>,
    .shape =
        [](Call& c) {
          if (is_floating(c.in[0].dtype()))
            fail(ErrorKind::DType, "bitwise_not: not implemented for '", name(c.in[0].dtype()),
                 "'; ~ works on bool and integer tensors only");
          c.allocate_alike(0, c.in[0].shape(), c.in[0].dtype());
        },
    .forward =
        [](Call& c) {
          const DType d = c.in[0].dtype();
          Tensor ones = full({}, d == DType::Bool ? 1.0 : d == DType::UInt8 ? 255.0 : -1.0, d);
          const Tensor in[] = {c.in[0], ones};
          View out, views[2];
          broadcast_views(c.out[0].shape(), c.out[0], in, &out, views);
          map_info(map_id<Xor>).run(out, views, nullptr);
        },
    .derivative = kLogic,
};

constexpr OpDef isnan_op = {
    .schema = "isnan(Tensor input)",
    .doc = "Whether each element is NaN.",
    .surface = kBoth,
    .map = map_id<IsNan>,
    .derivative = kLogic,
};

}  // namespace

Tensor operator-(const Tensor& x) { return call(neg_op, {x}); }
Tensor sign(const Tensor& x) { return call(sign_op, {x}); }
Tensor abs(const Tensor& x) { return call(abs_op, {x}); }
Tensor exp(const Tensor& x) { return call(exp_op, {x}); }
Tensor log(const Tensor& x) { return call(log_op, {x}); }
Tensor sqrt(const Tensor& x) { return call(sqrt_op, {x}); }
Tensor tanh(const Tensor& x) { return call(tanh_op, {x}); }
Tensor sigmoid(const Tensor& x) { return call(sigmoid_op, {x}); }
Tensor erf(const Tensor& x) { return call(erf_op, {x}); }
Tensor log1p(const Tensor& x) { return call(log1p_op, {x}); }
Tensor expm1(const Tensor& x) { return call(expm1_op, {x}); }
Tensor trunc(const Tensor& x) { return call(trunc_op, {x}); }
Tensor round(const Tensor& x) { return call(round_op, {x}); }

std::span<const OpDef* const> unary_ops() {
  static const OpDef* const ops[] = {&neg_op,   &sign_op,       &abs_op,         &exp_op,         &log_op,
                                     &sqrt_op,  &reciprocal_op, &tanh_op,        &sigmoid_op,     &erf_op,
                                     &log1p_op, &expm1_op,      &floor_op,       &ceil_op,        &trunc_op,
                                     &round_op, &clamp_op,      &logical_not_op, &bitwise_not_op, &isnan_op};
  return ops;
}

}  // namespace unspool
