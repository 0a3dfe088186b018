// New tensors: full, zeros, arange … `Options` in a schema stands for dtype, device,
// requires_grad and what else PyTorch's constructors take; it gives the last three attributes.
#include <cmath>

#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"

namespace unspool {
namespace {

DType dtype_or(const Attr& a, DType otherwise) { return a.given() ? a.dtype() : otherwise; }

// The last three attributes: dtype, requires_grad, and a MemoryFormat.
const Attr& dtype_of_call(const Call& c) { return c.attrs[c.attrs.n - 3]; }

Tensor finish(Call& c, Tensor t) {
  if (c.attrs.i(c.attrs.n - 2)) {
    if (!is_floating(t.dtype()))
      fail(ErrorKind::Runtime, name_of(*c.op),
           ": only Tensors of floating point dtype can require "
           "gradients, got dtype ",
           name(t.dtype()));
    t->requires_grad = true;
  }
  return t;
}

void create(Call& c, Tensor t, double value, std::int64_t whole) {
  kernels().fill(t.view(), value, whole);
  c.out[0] = finish(c, std::move(t));
}
MemoryFormat format_of_call(const Call& c) { return static_cast<MemoryFormat>(c.attrs.i(c.attrs.n - 1)); }
Tensor fresh(const Call& c, const Shape& shape, DType dtype) {
  const MemoryFormat format = format_of_call(c);
  if (format == MemoryFormat::Preserve) return empty(shape, dtype, c.op->schema);
  return empty(shape, strides_in(format, shape, name_of(*c.op).c_str()), dtype, c.op->schema);
}
void create(Call& c, const Shape& shape, DType dtype, double value, std::int64_t whole) {
  create(c, fresh(c, shape, dtype), value, whole);
}
// Of input 0's shape and, where nothing else is asked for, its dtype and order of strides.
Tensor like(const Call& c) {
  const Tensor& x = c.in[0];
  const DType dtype = dtype_or(dtype_of_call(c), x.dtype());
  if (format_of_call(c) != MemoryFormat::Preserve) return fresh(c, x.shape(), dtype);
  return empty(x.shape(), copy_strides(x.shape(), x.strides()), dtype, c.op->schema);
}

constexpr OpDef empty_op = {
    .schema = "empty(int[]* size, Options)",
    .doc = "A tensor of that shape whose elements are not set.",
    .surface = kFunction,
    .composite =
        [](Call& c) {
          c.out[0] = finish(c, fresh(c, c.attrs.list(0), dtype_or(dtype_of_call(c), default_dtype())));
        },
};
constexpr OpDef zeros_op = {
    .schema = "zeros(int[]* size, Options)",
    .doc = "A tensor of zeros.",
    .surface = kFunction,
    .composite =
        [](Call& c) { create(c, c.attrs.list(0), dtype_or(dtype_of_call(c), default_dtype()), 0.0, 0); },
    .doctest = ">>> unspool.zeros(2, 3)\ntensor([[0., 0., 0.],\n        [0., 0., 0.]])",
};
constexpr OpDef ones_op = {
    .schema = "ones(int[]* size, Options)",
    .doc = "A tensor of ones.",
    .surface = kFunction,
    .composite =
        [](Call& c) { create(c, c.attrs.list(0), dtype_or(dtype_of_call(c), default_dtype()), 1.0, 1); },
};

DType dtype_of_number(const Attr& a) {
  return a.kind == Attr::Float ? default_dtype() : a.kind == Attr::Bool ? DType::Bool : DType::Int64;
}
void fill_number(Call& c, Tensor t, const Attr& value) {
  const double f = value.number();
  const bool truth = t.dtype() == DType::Bool;
  const std::int64_t whole = truth                       ? f != 0.0
                             : value.kind == Attr::Float ? static_cast<std::int64_t>(f)
                                                         : value.i;
  create(c, std::move(t), f, whole);
}

constexpr OpDef full_op = {
    .schema = "full(int[] size, Scalar fill_value, Options)",
    .doc = "A tensor of one number; the dtype follows the number where none is given.",
    .surface = kFunction,
    .composite =
        [](Call& c) {
          const DType dtype = dtype_or(dtype_of_call(c), dtype_of_number(c.attrs[0]));
          fill_number(c, fresh(c, c.attrs.list(0), dtype), c.attrs[0]);
        },
};

constexpr OpDef empty_like_op = {
    .schema = "empty_like(Tensor input, Options)",
    .doc = "A tensor of the input's shape and dtype whose elements are not set.",
    .surface = kFunction,
    .composite = [](Call& c) { c.out[0] = finish(c, like(c)); },
};
constexpr OpDef zeros_like_op = {
    .schema = "zeros_like(Tensor input, Options)",
    .doc = "Zeros of the input's shape and dtype.",
    .surface = kFunction,
    .composite = [](Call& c) { create(c, like(c), 0.0, 0); },
};
constexpr OpDef ones_like_op = {
    .schema = "ones_like(Tensor input, Options)",
    .doc = "Ones of the input's shape and dtype.",
    .surface = kFunction,
    .composite = [](Call& c) { create(c, like(c), 1.0, 1); },
};
constexpr OpDef full_like_op = {
    .schema = "full_like(Tensor input, Scalar fill_value, Options)",
    .doc = "One number in the input's shape and dtype.",
    .surface = kFunction,
    .composite = [](Call& c) { fill_number(c, like(c), c.attrs[0]); },
};

// ---- Sequences -----------------------------------------------------------------------------------------

// start + i·step in float64, or int64 where all are whole; then to the dtype.
template <class F>
void sequence(Call& c, std::int64_t n, DType dtype, bool whole, F&& value) {
  const std::string op = name_of(*c.op);
  Tensor wide = empty({n}, whole ? DType::Int64 : DType::Float64, op.c_str());
  for (std::int64_t i = 0; i < n; ++i) {
    if (whole)
      reinterpret_cast<std::int64_t*>(wide->data)[i] = static_cast<std::int64_t>(value(i));
    else
      reinterpret_cast<double*>(wide->data)[i] = static_cast<double>(value(i));
  }
  GradMode off(false);
  c.out[0] = finish(c, to(made_of_numbers(wide), dtype));
}

void arange(Call& c, Attr start, Attr stop, Attr step) {
  // Of an integer dtype that is asked for, the numbers are whole before they are counted.
  if (dtype_of_call(c).given() && dtype_of_call(c).dtype() == DType::Int64)
    for (Attr* a : {&start, &stop, &step})
      if (a->kind == Attr::Float && std::abs(a->f) < 9e18) *a = Attr(static_cast<std::int64_t>(a->f));
  const bool whole = start.kind != Attr::Float && stop.kind != Attr::Float && step.kind != Attr::Float;
  const double a = start.number(), b = stop.number(), d = step.number();
  if (d == 0.0 || std::isnan(d)) fail(ErrorKind::Runtime, "arange: step must be nonzero, got ", d);
  if (!std::isfinite(a) || !std::isfinite(b))
    fail(ErrorKind::Runtime, "arange: unsupported range: ", a, " -> ", b);
  if ((b - a) / d < 0.0)
    fail(ErrorKind::Runtime,
         "arange: upper bound and lower bound inconsistent with step sign; "
         "start ",
         a, ", end ", b, ", step ", d);
  const double count = std::ceil((b - a) / d);
  if (count > 9e15) fail(ErrorKind::Memory, "arange: ", count, " elements do not fit in memory");
  const auto n = static_cast<std::int64_t>(count);
  const DType dtype = dtype_or(dtype_of_call(c), whole ? DType::Int64 : default_dtype());
  if (whole)
    sequence(c, n, dtype, true, [&](std::int64_t i) { return start.i + i * step.i; });
  else
    sequence(c, n, dtype, false, [&](std::int64_t i) { return a + static_cast<double>(i) * d; });
}

constexpr OpDef arange_stop_op = {
    .schema = "arange(Scalar end, Options)",
    .doc = "0, 1, 2 … up to, not including, end.",
    .surface = kFunction,
    .composite = [](Call& c) { arange(c, Attr(std::int64_t{0}), c.attrs[0], Attr(std::int64_t{1})); },
    .doctest = ">>> unspool.arange(3)\ntensor([0, 1, 2])",
};
constexpr OpDef arange_op = {
    .schema = "arange(Scalar start, Scalar end, Scalar step=1, Options)",
    .doc = "start, start + step … up to, not including, end.",
    .surface = kFunction,
    .composite = [](Call& c) { arange(c, c.attrs[0], c.attrs[1], c.attrs[2]); },
};

constexpr OpDef linspace_op = {
    .schema = "linspace(Scalar start, Scalar end, int steps, Options)",
    .doc = "`steps` numbers from start to end, both included, at equal distances.",
    .surface = kFunction,
    .composite =
        [](Call& c) {
          const std::int64_t n = c.attrs.i(2);
          if (n < 0) fail(ErrorKind::Runtime, "linspace: number of steps must be non-negative, got ", n);
          const DType dtype = dtype_or(dtype_of_call(c), default_dtype());
          const DType computed = is_half(dtype)       ? DType::Float32
                                 : is_floating(dtype) ? dtype
                                                      : DType::Float64;
          Tensor line = empty({n}, computed, "linspace");
          // In the dtype itself, from both ends, so that the last number is `end`: PyTorch's bits.
          visit_floating(line.dtype(), [&]<class T>() {
            T a = static_cast<T>(c.attrs.f(0)), b = static_cast<T>(c.attrs.f(1));
            if (!is_floating(dtype))
              a = std::trunc(a), b = std::trunc(b);  // the ends are numbers of the dtype
            const T step = n > 1 ? (b - a) / static_cast<T>(n - 1) : T{0};
            T* out = reinterpret_cast<T*>(line->data);
            for (std::int64_t i = 0; i < n; ++i)
              out[i] = i < n / 2 || n == 1 ? std::fma(step, static_cast<T>(i), a)
                                           : std::fma(-step, static_cast<T>(n - 1 - i), b);
          });
          GradMode off(false);
          c.out[0] = finish(c, to(made_of_numbers(line), dtype));
        },
};

void eye(Call& c, std::int64_t n, std::int64_t m) {
  if (n < 0 || m < 0)
    fail(ErrorKind::Runtime, "eye: sizes must be greater or equal to 0, got ", n, " and ", m);
  const DType dtype = dtype_or(dtype_of_call(c), default_dtype());
  Tensor t = empty({n, m}, dtype, "eye");
  kernels().fill(t.view(), 0.0, 0);
  View diagonal = t.view();
  diagonal.shape = {n < m ? n : m};
  diagonal.strides = {m + 1};
  kernels().fill(diagonal, 1.0, 1);
  c.out[0] = finish(c, std::move(t));
}
constexpr OpDef eye_square_op = {
    .schema = "eye(int n, Options)",
    .doc = "The identity matrix.",
    .surface = kFunction,
    .composite = [](Call& c) { eye(c, c.attrs.i(0), c.attrs.i(0)); },
};
constexpr OpDef eye_op = {
    .schema = "eye(int n, int m, Options)",
    .doc = "Ones on the diagonal of an n×m matrix, zeros elsewhere.",
    .surface = kFunction,
    .composite = [](Call& c) { eye(c, c.attrs.i(0), c.attrs.i(1)); },
};

}  // namespace

Tensor full(const Shape& shape, double value, DType dtype) {
  Tensor t = empty(shape, dtype, "full");
  kernels().fill(t.view(), value, static_cast<std::int64_t>(value));
  return made_of_numbers(t);
}
Tensor zeros(const Shape& shape, DType dtype) { return full(shape, 0.0, dtype); }
Tensor ones_like(const Tensor& x) { return full(x.shape(), 1.0, x.dtype()); }

std::span<const OpDef* const> create_ops() {
  static const OpDef* const ops[] = {
      &empty_op,     &zeros_op,       &ones_op,   &full_op,     &empty_like_op, &zeros_like_op, &ones_like_op,
      &full_like_op, &arange_stop_op, &arange_op, &linspace_op, &eye_square_op, &eye_op};
  return ops;
}

}  // namespace unspool
