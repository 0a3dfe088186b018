// Names, documentation and gradients of the elementwise ops of two inputs, and of where.
// Formulas: elementwise.h.
#include "unspool/ops/elementwise_rule.h"

namespace unspool {
namespace {

void add_vjp(const Record& r, const Tensor* g, Tensor* gx) {
  const double alpha = r.attrs.f(0);
  if (r.needs(0)) gx[0] = g[0];
  if (r.needs(1)) gx[1] = alpha == 1.0 ? g[0] : g[0] * alpha;
}

constexpr OpDef add_op = {
    .schema = "add(Value input, Operand other, *, Scalar alpha=1)",
    .doc = "input + alpha · other, broadcast.",
    .grad_name = "AddBackward0",
    .surface = kBoth | kInplace,
    .promote = Promote::Common,
    .map = map_id<Add>,
    .derivative = custom(add_vjp,
                         [](const Record& r, const Tensor* dx, Tensor* dy) {
                           const double alpha = r.attrs.f(0);
                           if (!dx[1])
                             dy[0] = dx[0];
                           else if (dx[0])
                             dy[0] = add(dx[0], dx[1], alpha);
                           else
                             dy[0] = dx[1] * alpha;
                         }),
    .doctest = ">>> unspool.add(unspool.tensor([1, 2]), 10)\ntensor([11, 12])",
};

constexpr OpDef sub_op = {
    .schema = "sub(Value input, Operand other, *, Scalar alpha=1)",
    .doc = "input - alpha · other, broadcast.",
    .grad_name = "SubBackward0",
    .surface = kBoth | kInplace,
    .promote = Promote::Difference,
    .map = map_id<Add>,
    .forward = [](Call& c) { run_with(c, Attrs{-c.attrs.f(0)}); },
    .derivative = custom(
        [](const Record& r, const Tensor* g, Tensor* gx) {
          const double alpha = r.attrs.f(0);
          if (r.needs(0)) gx[0] = g[0];
          if (r.needs(1)) gx[1] = alpha == 1.0 ? -g[0] : g[0] * -alpha;
        },
        [](const Record& r, const Tensor* dx, Tensor* dy) {
          const double alpha = r.attrs.f(0);
          if (!dx[1])
            dy[0] = dx[0];
          else if (dx[0])
            dy[0] = add(dx[0], dx[1], -alpha);
          else
            dy[0] = dx[1] * -alpha;
        }),
};

constexpr OpDef mul_op = {
    .schema = "mul(Value input, Operand other)",
    .doc = "input · other, element by element, broadcast.",
    .grad_name = "MulBackward0",
    .surface = kBoth | kInplace,
    .promote = Promote::Common,
    .map = map_id<Mul>,
    .derivative = elementwise<Mul>(),
};

constexpr OpDef div_op = {
    .schema = "div(Value input, Operand other)",
    .doc = "input / other, element by element, broadcast; of integers too, as floating numbers.",
    .grad_name = "DivBackward0",
    .surface = kBoth | kInplace,
    .promote = Promote::Floating,
    .map = map_id<Div>,
    .derivative = elementwise<Div>(),
    .domain = Domain::NonZero,
};

void refuse_integer_zero(const Call& c) {
  if (is_floating(c.in[1].dtype())) return;
  Tensor nonzero = empty({}, DType::Bool);
  const View in = c.in[1].view();
  Shape ones;
  for (int i = 0; i < in.shape.ndim; ++i) ones.push(1);
  View out = nonzero.view();
  out.shape = ones;
  out.strides = contiguous_strides(ones);
  kernels().all(out, in, (1u << in.shape.ndim) - 1);
  if (!*reinterpret_cast<bool*>(nonzero->data))
    fail(ErrorKind::Runtime, name_of(*c.op), ": ZeroDivisionError, an integer is divided by 0");
}

[[noreturn, gnu::cold]] void no_floor_divide_derivative() {
  fail(ErrorKind::Runtime,
       "floor_divide: its derivative is not implemented, because it is piecewise "
       "constant; detach() the operands where 0 is meant");
}

constexpr OpDef floor_divide_op = {
    .schema = "floor_divide(Value input, Operand other)",
    .doc =
        "`input // other`: the quotient rounded towards minus infinity. An integer divided by 0 "
        "raises RuntimeError; so does the derivative, which PyTorch does not define.",
    .grad_name = "NotImplemented",
    .surface = kBoth | kInplace,
    .promote = Promote::Arithmetic,
    .map = map_id<FloorDiv>,
    .forward =
        [](Call& c) {
          refuse_integer_zero(c);
          run_map(c);
        },
    // Recorded all the same, so that backward says so instead of passing over it in silence.
    .derivative = custom([](const Record&, const Tensor*, Tensor*) { no_floor_divide_derivative(); },
                         [](const Record&, const Tensor*, Tensor*) { no_floor_divide_derivative(); }),
    .domain = Domain::NonZero,
    .refuses = true,
};

constexpr OpDef remainder_op = {
    .schema = "remainder(Operand input, Operand other)",
    .doc = "`input % other`: input - other · floor(input / other), with the sign of other.",
    .grad_name = "RemainderBackward0",
    .surface = kBoth | kInplace,
    .promote = Promote::Arithmetic,
    .map = map_id<Remainder>,
    .forward =
        [](Call& c) {
          refuse_integer_zero(c);
          run_map(c);
        },
    .derivative = elementwise<Remainder>(),
    .domain = Domain::NonZero,
    .refuses = true,
};

constexpr OpDef pow_number_op = {
    .schema = "pow(Tensor input, Scalar exponent)",
    .doc =
        "input to the power of a number, element by element. 2, 3, -1, -2, 0.5 and -0.5 are computed "
        "as products, quotients and roots. Integers to a negative integer power raise "
        "RuntimeError.",
    .grad_name = "PowBackward0",
    .surface = kBoth | kInplace,
    .map = map_id<PowNumber>,
    .shape =
        [](Call& c) {
          if (!is_floating(c.in[0].dtype()) && c.attrs[0].kind == Attr::Float)
            c.in[0] = to(c.in[0], default_dtype());
          const bool bools = c.in[0].dtype() == DType::Bool && c.attrs[0].kind == Attr::Bool;
          if (c.in[0].dtype() == DType::Bool && !bools) c.in[0] = to(c.in[0], DType::Int64);
          if (!is_floating(c.in[0].dtype()) && c.attrs.i(0) < 0)
            fail(ErrorKind::Runtime,
                 "pow: Integers to negative integer powers are not allowed; "
                 "exponent is ",
                 c.attrs.i(0));
          c.allocate_alike(0, c.in[0].shape(), c.in[0].dtype());
        },
    .forward =
        [](Call& c) {
          if (is_floating(c.in[0].dtype())) return run_map(c);
          if (c.in[0].dtype() == DType::Bool)  // to the power of a bool: itself, or true
            return c.attrs.i(0) ? kernels().copy(c.out[0].view(), c.in[0].view())
                                : kernels().fill(c.out[0].view(), 1.0, 1);
          View out, in;
          broadcast_views(c.out[0].shape(), c.out[0], c.in, &out, &in);
          const double exponent = c.attrs.f(0);
          map_info(map_id<PowInteger>).run(out, &in, &exponent);
        },
    .derivative = elementwise<PowNumber>(),
    .domain = Domain::Positive,
};

// d/da = b a^(b-1), and 0 where b = 0; d/db = a^b ln a, and 0 where a = 0 and b >= 0 (NaN is not).
Tensor pow_da(const Record& r) {
  const Tensor zero = wrapped_number(0.0);
  return where(r.x(1) == zero, zero, r.x(1) * pow(r.x(0), r.x(1) - wrapped_number(1.0)));
}
Tensor pow_db(const Record& r) {
  const Tensor zero = wrapped_number(0.0);
  const Tensor safe = where(r.x(0) == zero, wrapped_number(1.0), r.x(0));
  const Tensor at_zero = where(r.x(1) < zero, r.y * log(r.x(0)), where(r.x(1) == r.x(1), zero, r.x(1)));
  return where(r.x(0) == zero, at_zero, r.y * log(safe));
}

// By squaring, and wrapping on overflow. A negative exponent gives what is left of 1/a^|b|: 1 and -1
// to their powers, 0 for any other a (PyTorch's for a = 0, too).
std::uint64_t integer_power(std::uint64_t a, std::int64_t b) {
  if (b < 0 && a != 1) {
    if (a != ~std::uint64_t{0}) return 0;
    b = -(b % 2);
  }
  std::uint64_t y = 1;
  for (; b > 0; b >>= 1, a *= a)
    if (b & 1) y *= a;
  return y;
}

void integer_powers(Call& c) {
  GradMode off(false);
  const Shape& shape = c.out[0].shape();
  const Tensor a = contiguous(expand(to(c.in[0], DType::Int64), shape));
  const Tensor b = contiguous(expand(to(c.in[1], DType::Int64), shape));
  const Tensor y = empty(shape, DType::Int64);
  for (std::int64_t i = 0; i < y.numel(); ++i)
    reinterpret_cast<std::uint64_t*>(y->data)[i] = integer_power(reinterpret_cast<std::uint64_t*>(a->data)[i],
                                                                 reinterpret_cast<std::int64_t*>(b->data)[i]);
  kernels().copy(c.out[0].view(), y.view());  // to a narrower dtype: modulo 2^bits
}

constexpr OpDef pow_op = {
    .schema = "pow(Operand input, Operand exponent)",
    .doc = "input to the power of exponent, element by element, broadcast.",
    .grad_name = "PowBackward1",
    .surface = kBoth | kInplace,
    .promote = Promote::Common,
    .map = map_id<Pow>,
    .shape =
        [](Call& c) {
          if (is_floating(c.in[0].dtype())) return map_shape(c);
          if (c.in[0].dtype() == DType::Bool) fail(ErrorKind::DType, "pow: not implemented for 'bool'");
          c.allocate_alike(0, broadcast_shapes("pow", c.in[0].shape(), c.in[1].shape()), c.in[0].dtype());
        },
    .forward = [](Call& c) { is_floating(c.in[0].dtype()) ? run_map(c) : integer_powers(c); },
    .derivative = {[](const Record& r, const Tensor* g, Tensor* gx) {
                     if (r.needs(0)) gx[0] = g[0] * pow_da(r);
                     if (r.needs(1)) gx[1] = g[0] * pow_db(r);
                   },
                   [](const Record& r, const Tensor* dx, Tensor* dy) {
                     if (dx[0]) dy[0] = dx[0] * pow_da(r);
                     if (dx[1]) dy[0] = dy[0] ? dy[0] + dx[1] * pow_db(r) : dx[1] * pow_db(r);
                   },
                   {kSaveIn0 | kSaveIn1, kSaveIn0 | kSaveIn1 | kSaveOut, 0},
                   nullptr},
    .domain = Domain::Positive,
};

constexpr OpDef maximum_op = {
    .schema = "maximum(Tensor input, Tensor other)",
    .doc = "The larger of each pair; NaN wins. Equal elements share the gradient in halves.",
    .grad_name = "MaximumBackward0",
    .surface = kBoth,
    .promote = Promote::Common,
    .map = map_id<Maximum>,
    .derivative = elementwise<Maximum>(),
};

constexpr OpDef minimum_op = {
    .schema = "minimum(Tensor input, Tensor other)",
    .doc = "The smaller of each pair; NaN wins. Equal elements share the gradient in halves.",
    .grad_name = "MinimumBackward0",
    .surface = kBoth,
    .promote = Promote::Common,
    .map = map_id<Minimum>,
    .derivative = elementwise<Minimum>(),
};

template <class F>
constexpr OpDef comparison(const char* schema, const char* doc, int surface = kBoth) {
  return {.schema = schema,
          .doc = doc,
          .surface = static_cast<std::uint8_t>(surface),
          .promote = Promote::Common,
          .map = map_id<F>,
          .derivative = kLogic};
}
constexpr OpDef eq_op =
    comparison<Eq>("eq(Tensor input, Operand other)", "Whether input == other, element by element, as bool.");
constexpr OpDef ne_op =
    comparison<Ne>("ne(Tensor input, Operand other)", "Whether input != other, element by element, as bool.");
constexpr OpDef lt_op =
    comparison<Lt>("lt(Tensor input, Operand other)", "Whether input < other, element by element, as bool.");
constexpr OpDef le_op =
    comparison<Le>("le(Tensor input, Operand other)", "Whether input <= other, element by element, as bool.");
constexpr OpDef gt_op =
    comparison<Gt>("gt(Tensor input, Operand other)", "Whether input > other, element by element, as bool.");
constexpr OpDef ge_op =
    comparison<Ge>("ge(Tensor input, Operand other)", "Whether input >= other, element by element, as bool.");
constexpr OpDef bitwise_and_op = comparison<And>("bitwise_and(Operand input, Operand other)",
                                                 "`input & other`, of bools and integers.", kBoth | kInplace);
constexpr OpDef bitwise_or_op = comparison<Or>("bitwise_or(Operand input, Operand other)",
                                               "`input | other`, of bools and integers.", kBoth | kInplace);
constexpr OpDef bitwise_xor_op = comparison<Xor>("bitwise_xor(Operand input, Operand other)",
                                                 "`input ^ other`, of bools and integers.", kBoth | kInplace);

// ---- Three inputs ------------------------------------------------------------------------------

constexpr OpDef where_op = {
    .schema = "where(Tensor condition, Operand input, Operand other)",
    .doc =
        "input where the condition holds, other elsewhere; broadcast. The gradient goes to the "
        "chosen elements alone.",
    .grad_name = "WhereBackward0",
    .surface = kFunction,
    .map = map_id<Where>,
    .shape =
        [](Call& c) {
          if (c.in[0].dtype() != DType::Bool)
            fail(ErrorKind::DType, "where: expected condition to be a boolean tensor, but got '",
                 name(c.in[0].dtype()), "'");
          ResultType type;
          type.add(c.in[1]);
          type.add(c.in[2]);
          for (int i = 1; i < 3; ++i) c.in[i] = to(c.in[i], type.get());
          const Shape shape = broadcast_shapes("where", c.in[1].shape(), c.in[2].shape());
          c.allocate_alike(0, broadcast_shapes("where", c.in[0].shape(), shape), type.get());
        },
    .forward =
        [](Call& c) {
          const Tensor in[] = {to(c.in[0], c.in[1].dtype()), c.in[1], c.in[2]};
          View out, views[3];
          broadcast_views(c.out[0].shape(), c.out[0], in, &out, views);
          map_info(map_id<Where>).run(out, views, nullptr);
        },
    .derivative = custom(
        [](const Record& r, const Tensor* g, Tensor* gx) {
          const Tensor zero = wrapped_number(0.0);
          if (r.needs(1)) gx[1] = where(r.x(0), g[0], zero);
          if (r.needs(2)) gx[2] = where(r.x(0), zero, g[0]);
        },
        [](const Record& r, const Tensor* dx, Tensor* dy) {
          const Tensor zero = wrapped_number(0.0);
          dy[0] = where(r.x(0), dx[1] ? dx[1] : zero, dx[2] ? dx[2] : zero);
        },
        kSaveIn0),
};

}  // namespace

Tensor operator+(const Tensor& a, const Tensor& b) { return call(add_op, {a, b}, {1.0}); }
Tensor operator-(const Tensor& a, const Tensor& b) { return call(sub_op, {a, b}, {1.0}); }
Tensor operator*(const Tensor& a, const Tensor& b) { return call(mul_op, {a, b}); }
Tensor operator/(const Tensor& a, const Tensor& b) { return call(div_op, {a, b}); }
Tensor operator==(const Tensor& a, const Tensor& b) { return call(eq_op, {a, b}); }
Tensor operator<(const Tensor& a, const Tensor& b) { return call(lt_op, {a, b}); }
Tensor operator>(const Tensor& a, const Tensor& b) { return call(gt_op, {a, b}); }
Tensor operator<=(const Tensor& a, const Tensor& b) { return call(le_op, {a, b}); }
Tensor operator>=(const Tensor& a, const Tensor& b) { return call(ge_op, {a, b}); }
Tensor add(const Tensor& a, const Tensor& b, double alpha) { return call(add_op, {a, b}, {alpha}); }
Tensor pow(const Tensor& x, double p) { return call(pow_number_op, {x}, {p}); }
Tensor pow(const Tensor& a, const Tensor& b) { return call(pow_op, {a, b}); }
Tensor max(const Tensor& a, const Tensor& b) { return call(maximum_op, {a, b}); }
Tensor min(const Tensor& a, const Tensor& b) { return call(minimum_op, {a, b}); }
// For the rule of remainder, where it counts as a constant.
Tensor floor_div(const Tensor& a, const Tensor& b) {
  GradMode off(false);
  return call(floor_divide_op, {a, b});
}
Tensor remainder(const Tensor& a, const Tensor& b) { return call(remainder_op, {a, b}); }
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  return call(where_op, {condition, a, b});
}
void add_(const Tensor& target, const Tensor& x, double alpha) {
  Tensor in[] = {target, x};
  call_inplace(add_op, in, Attrs{alpha});
}
void mul_(const Tensor& target, const Tensor& x) {
  Tensor in[] = {target, x};
  call_inplace(mul_op, in, Attrs{});
}

std::span<const OpDef* const> binary_ops() {
  static const OpDef* const ops[] = {
      &add_op, &sub_op,     &mul_op,         &div_op,        &floor_divide_op, &remainder_op, &pow_number_op,
      &pow_op, &maximum_op, &minimum_op,     &eq_op,         &ne_op,           &lt_op,        &le_op,
      &gt_op,  &ge_op,      &bitwise_and_op, &bitwise_or_op, &bitwise_xor_op,  &where_op};
  return ops;
}

}  // namespace unspool
