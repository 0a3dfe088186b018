// Reductions: sum, mean, max, min, argmax, argmin, any, all; and sum_to, the transpose of a
// broadcast. A list of dims that is None or empty means all of them.
#include "unspool/ops/map.h"
#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"

namespace unspool {
namespace {

std::uint32_t all_dims(int ndim) { return (1u << ndim) - 1; }

std::uint32_t dims_of(const OpDef& op, int ndim, const Dims& dims) {
  if (dims.ndim <= 0) return all_dims(ndim);
  std::uint32_t mask = 0;
  for (std::int64_t d : dims) {
    const std::uint32_t bit = 1u << wrap_dim(op.schema, d, ndim);
    if (mask & bit)
      fail(ErrorKind::Runtime, name_of(op), ": dim ", d, " appears multiple times in the list of dims ",
           dims);
    mask |= bit;
  }
  return mask & all_dims(ndim);  // a 0-d tensor has a dim 0 to name, none to reduce
}

Shape reduced(const Shape& shape, std::uint32_t mask, bool keepdim) {
  Shape out;
  for (int d = 0; d < shape.ndim; ++d) {
    if (!((mask >> d) & 1))
      out.push(shape[d]);
    else if (keepdim)
      out.push(1);
  }
  return out;
}

// The view of a result that kernels want: the input's ndim, size 1 where it was reduced.
View kept_view(const Tensor& out, const Tensor& in, std::uint32_t mask) {
  View v = out.view();
  v.shape = reduced(in.shape(), mask, true);
  v.strides = contiguous_strides(v.shape);
  return v;
}

std::int64_t count_of(const Shape& shape, std::uint32_t mask) {
  std::int64_t n = 1;
  for (int d = 0; d < shape.ndim; ++d)
    if ((mask >> d) & 1) n *= shape[d];
  return n;
}

// g of the result in the shape of the input, as a broadcast view.
Tensor spread(const Tensor& g, const Shape& shape, std::uint32_t mask) {
  return expand(view(contiguous(g), reduced(shape, mask, true)), shape);
}

// attrs: [keepdim, dtype] and a list of dims, or [dtype] alone.
struct SumArgs {
  std::uint32_t mask;
  bool keepdim;
  Attr dtype;
};
SumArgs sum_args(const OpDef& op, int ndim, const AttrsView& a) {
  if (a.n_lists == 0) return {all_dims(ndim), false, a[0]};
  return {dims_of(op, ndim, a.list(0)), a.i(0) != 0, a[1]};
}
std::uint32_t recorded_mask(const Record& r) {
  return sum_args(*r.op, r.shape(0).ndim, r.attrs).mask;
}

void sum_shape(Call& c) {
  const SumArgs args = sum_args(*c.op, c.in[0].ndim(), c.attrs);
  if (args.dtype.given()) c.in[0] = to(c.in[0], args.dtype.dtype());
  const DType d = c.in[0].dtype();
  const DType result = args.dtype.given() ? args.dtype.dtype() : is_floating(d) ? d : DType::Int64;
  if (!is_floating(result) && result != DType::Int64)
    fail(ErrorKind::DType, name_of(*c.op), ": dtype must be int64 or floating, got ",
         name(result));
  c.allocate(0, reduced(c.in[0].shape(), args.mask, args.keepdim), result);
}

void sum_forward(Call& c) {
  const std::uint32_t mask = sum_args(*c.op, c.in[0].ndim(), c.attrs).mask;
  kernels().sum(kept_view(c.out[0], c.in[0], mask), c.in[0].view(), mask);
}

constexpr Derivative kSum = linear([](const Record& r, const Tensor* g, Tensor* gx) {
  gx[0] = spread(g[0], r.shape(0), recorded_mask(r));
});

constexpr OpDef sum_all_op = {
    .schema = "sum(Tensor input, *, DType? dtype=None)",
    .doc = "The sum of all elements; of integers and bools as int64.",
    .grad_name = "SumBackward0",
    .surface = kBoth,
    .cls = Class::Reduction,
    .shape = sum_shape,
    .forward = sum_forward,
    .derivative = kSum,
    .doctest = ">>> unspool.sum(unspool.tensor([1.0, 2.0]))\ntensor(3.)",
};

constexpr OpDef sum_op = {
    .schema = "sum(Tensor input, int[]? dim, bool keepdim=False, *, DType? dtype=None)",
    .doc = "The sum over the dims `dim`, which vanish, or keep size 1 with keepdim.",
    .grad_name = "SumBackward1",
    .surface = kBoth,
    .cls = Class::Reduction,
    .shape = sum_shape,
    .forward = sum_forward,
    .derivative = kSum,
};

void mean_shape(Call& c) {
  const SumArgs args = sum_args(*c.op, c.in[0].ndim(), c.attrs);
  if (args.dtype.given()) c.in[0] = to(c.in[0], args.dtype.dtype());
  if (!is_floating(c.in[0].dtype()))
    fail(ErrorKind::DType, "mean: the input dtype must be floating, got ",
         name(c.in[0].dtype()), "; convert it first, or pass dtype=");
  c.allocate(0, reduced(c.in[0].shape(), args.mask, args.keepdim), c.in[0].dtype());
}

void mean_forward(Call& c) {
  sum_forward(c);
  const std::uint32_t mask = sum_args(*c.op, c.in[0].ndim(), c.attrs).mask;
  const Tensor n = full({}, static_cast<double>(count_of(c.in[0].shape(), mask)),
                        c.out[0].dtype());
  GradMode off(false);
  const Tensor mean = c.out[0] / n;
  kernels().copy(c.out[0].view(), mean.view());
}

constexpr Derivative kMean = linear([](const Record& r, const Tensor* g, Tensor* gx) {
  const std::uint32_t mask = recorded_mask(r);
  const double n = static_cast<double>(count_of(r.shape(0), mask));
  gx[0] = spread(g[0] / wrapped_number(n), r.shape(0), mask);
});

constexpr OpDef mean_all_op = {
    .schema = "mean(Tensor input, *, DType? dtype=None)",
    .doc = "The mean of all elements; NaN of none.",
    .grad_name = "MeanBackward0",
    .surface = kBoth,
    .cls = Class::Reduction,
    .shape = mean_shape,
    .forward = mean_forward,
    .derivative = kMean,
};

constexpr OpDef mean_op = {
    .schema = "mean(Tensor input, int[]? dim, bool keepdim=False, *, DType? dtype=None)",
    .doc = "The mean over the dims `dim`, which vanish, or keep size 1 with keepdim.",
    .grad_name = "MeanBackward1",
    .surface = kBoth,
    .cls = Class::Reduction,
    .shape = mean_shape,
    .forward = mean_forward,
    .derivative = kMean,
};

// ---- Extremes ------------------------------------------------------------------------------------

void refuse_empty(const Call& c, std::uint32_t mask) {
  for (int d = 0; d < c.in[0].ndim(); ++d)
    if (((mask >> d) & 1) && c.in[0].shape()[d] == 0)
      fail(ErrorKind::Index, name_of(*c.op), ": Expected reduction dim ", d,
           " to have non-zero size; input has shape ", c.in[0].shape());
}

template <bool Max>
void extreme_all_forward(Call& c) {
  const std::uint32_t mask = all_dims(c.in[0].ndim());
  (Max ? kernels().max : kernels().min)(kept_view(c.out[0], c.in[0], mask), c.in[0].view(), mask);
}

void extreme_all_shape(Call& c) {
  if (c.in[0].numel() == 0)
    fail(ErrorKind::Runtime, name_of(*c.op), ": Expected reduction dim to be specified for "
         "input.numel() == 0; input has shape ", c.in[0].shape());
  c.allocate(0, {}, c.in[0].dtype());
}

// Equal extremes share the gradient evenly; so do NaNs, where one won.
Tensor shares(const Record& r) {
  const Tensor &x = r.x(0), &y = r.y;
  const Tensor hit = where(y == y, to(x == y, r.dtype(0)), 1.0 - to(x == x, r.dtype(0)));
  return hit / sum(hit);
}
constexpr Derivative kExtremeAll = custom(
    [](const Record& r, const Tensor* g, Tensor* gx) { gx[0] = g[0] * shares(r); },
    [](const Record& r, const Tensor* dx, Tensor* dy) { dy[0] = sum(dx[0] * shares(r)); },
    kSaveIn0 | kSaveOut);

constexpr OpDef max_all_op = {
    .schema = "max(Tensor input)",
    .doc = "The largest element; NaN wins. Equal ones share the gradient evenly.",
    .grad_name = "MaxBackward1",
    .surface = kBoth,
    .cls = Class::Reduction,
    .shape = extreme_all_shape,
    .forward = extreme_all_forward<true>,
    .derivative = kExtremeAll,
};

constexpr OpDef min_all_op = {
    .schema = "min(Tensor input)",
    .doc = "The smallest element; NaN wins. Equal ones share the gradient evenly.",
    .grad_name = "MinBackward1",
    .surface = kBoth,
    .cls = Class::Reduction,
    .shape = extreme_all_shape,
    .forward = extreme_all_forward<false>,
    .derivative = kExtremeAll,
};

// pick: x at index along dim (one element a row); unpick: its transpose.
template <class F>
void each_picked(const Tensor& x, const Tensor& index, int dim, F&& f) {
  // x is contiguous of shape (outer, n, inner), index of shape (outer, inner).
  const std::int64_t n = x.ndim() ? x.shape()[dim] : 1;
  std::int64_t inner = 1, outer = 1;
  for (int d = 0; d < x.ndim(); ++d) (d < dim ? outer : inner) *= d == dim ? 1 : x.shape()[d];
  const auto* at = reinterpret_cast<const std::int64_t*>(index->data);
  for (std::int64_t o = 0; o < outer; ++o)
    for (std::int64_t i = 0; i < inner; ++i)
      f((o * n + at[o * inner + i]) * inner + i, o * inner + i);
}

extern const OpDef unpick_op;
Tensor unpick(const Tensor& g, const Tensor& index, const Shape& shape, int dim) {
  return call(unpick_op, {g, index}, {{dim}, {shape}});
}

const OpDef pick_op = {
    .schema = "pick(Tensor input, Tensor index, int dim)",
    .grad_name = "PickBackward0",
    .cls = Class::Reduction,
    .shape =
        [](Call& c) {
          c.in[0] = contiguous(c.in[0]);
          c.allocate(0, c.in[1].shape(), c.in[0].dtype());
        },
    .forward =
        [](Call& c) {
          visit_dtype(c.in[0].dtype(), [&]<class T>() {
            const T* x = reinterpret_cast<const T*>(c.in[0]->data);
            T* y = reinterpret_cast<T*>(c.out[0]->data);
            each_picked(c.in[0], c.in[1], static_cast<int>(c.attrs.i(0)),
                        [&](std::int64_t from, std::int64_t at) { y[at] = x[from]; });
          });
        },
    .derivative = custom(
        [](const Record& r, const Tensor* g, Tensor* gx) {
          gx[0] = unpick(g[0], r.x(1), r.shape(0), static_cast<int>(r.attrs.i(0)));
        },
        [](const Record& r, const Tensor* dx, Tensor* dy) {
          dy[0] = call(pick_op, {dx[0], r.x(1)}, {r.attrs[0]});
        },
        kSaveIn1),
};

const OpDef unpick_op = {
    .schema = "unpick(Tensor grad, Tensor index, int[] size, int dim)",
    .grad_name = "UnpickBackward0",
    .cls = Class::Reduction,
    .shape =
        [](Call& c) {
          c.in[0] = contiguous(c.in[0]);
          c.allocate(0, c.attrs.list(0), c.in[0].dtype());
        },
    .forward =
        [](Call& c) {
          kernels().fill(c.out[0].view(), 0.0, 0);
          visit_dtype(c.in[0].dtype(), [&]<class T>() {
            const T* g = reinterpret_cast<const T*>(c.in[0]->data);
            T* y = reinterpret_cast<T*>(c.out[0]->data);
            each_picked(c.out[0], c.in[1], static_cast<int>(c.attrs.i(0)),
                        [&](std::int64_t to, std::int64_t at) { y[to] = g[at]; });
          });
        },
    .derivative = custom(
        [](const Record& r, const Tensor* g, Tensor* gx) {
          gx[0] = call(pick_op, {g[0], r.x(1)}, {r.attrs[0]});
        },
        [](const Record& r, const Tensor* dx, Tensor* dy) {
          dy[0] = unpick(dx[0], r.x(1), r.attrs.list(0), static_cast<int>(r.attrs.i(0)));
        },
        kSaveIn1),
};

template <bool Max>
void extreme_dim(Call& c) {
  const Tensor& x = c.in[0];
  const int dim = wrap_dim(c.op->schema, c.attrs.i(0), x.ndim());
  const std::uint32_t mask = (1u << dim) & all_dims(x.ndim());
  refuse_empty(c, mask);
  Tensor index = empty(reduced(x.shape(), mask, c.attrs.i(1)), DType::Int64);
  if (x.ndim() == 0) {
    kernels().fill(index.view(), 0.0, 0);
  } else {
    const View at = kept_view(index, x, mask);
    (Max ? kernels().argmax : kernels().argmin)(at, x.view(), dim);
  }
  c.n_out = 2;
  c.out[0] = call(pick_op, {x, index}, {dim});
  c.out[1] = index;
}

constexpr OpDef max_dim_op = {
    .schema = "max(Tensor input, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
    .doc = "The largest elements along dim and where they stand (the first of equal ones, which "
           "gets the gradient); NaN wins.",
    .surface = kBoth,
    .composite = extreme_dim<true>,
};

constexpr OpDef min_dim_op = {
    .schema = "min(Tensor input, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
    .doc = "The smallest elements along dim and where they stand (the first of equal ones, which "
           "gets the gradient); NaN wins.",
    .surface = kBoth,
    .composite = extreme_dim<false>,
};

constexpr OpDef max_other_op = {
    .schema = "max(Tensor input, Tensor other)",
    .doc = "maximum(input, other).",
    .surface = kBoth,
    .composite = [](Call& c) { c.out[0] = max(c.in[0], c.in[1]); },
};

constexpr OpDef min_other_op = {
    .schema = "min(Tensor input, Tensor other)",
    .doc = "minimum(input, other).",
    .surface = kBoth,
    .composite = [](Call& c) { c.out[0] = min(c.in[0], c.in[1]); },
};

void arg_shape(Call& c) {
  Tensor& x = c.in[0];
  if (!c.attrs.given(0)) {
    if (x.numel() == 0)
      fail(ErrorKind::Index, name_of(*c.op), ": Expected reduction dim to be specified for "
           "input.numel() == 0; input has shape ", x.shape());
    Shape kept;
    for (int d = 0; c.attrs.i(1) && d < x.ndim(); ++d) kept.push(1);
    c.allocate(0, kept, DType::Int64);
    x = reshape(x, {x.numel()});
    return;
  }
  const int dim = wrap_dim(c.op->schema, c.attrs.i(0), x.ndim());
  const std::uint32_t mask = (1u << dim) & all_dims(x.ndim());
  refuse_empty(c, mask);
  c.allocate(0, reduced(x.shape(), mask, c.attrs.i(1)), DType::Int64);
}

template <bool Max>
void arg_forward(Call& c) {
  const Tensor& x = c.in[0];
  if (x.ndim() == 0) return kernels().fill(c.out[0].view(), 0.0, 0);
  const int dim = c.attrs.given(0) ? wrap_dim("", c.attrs.i(0), x.ndim()) : 0;
  (Max ? kernels().argmax : kernels().argmin)(kept_view(c.out[0], x, 1u << dim), x.view(), dim);
}

constexpr OpDef argmax_op = {
    .schema = "argmax(Tensor input, int? dim=None, bool keepdim=False)",
    .doc = "Where the largest element stands, along dim or in the flattened tensor; the first of "
           "equal ones.",
    .surface = kBoth,
    .cls = Class::Reduction,
    .shape = arg_shape,
    .forward = arg_forward<true>,
    .derivative = none("its result is an index"),
    .doctest = ">>> unspool.argmax(unspool.tensor([3, 9, 9]))\ntensor(1)",
};

constexpr OpDef argmin_op = {
    .schema = "argmin(Tensor input, int? dim=None, bool keepdim=False)",
    .doc = "Where the smallest element stands, along dim or in the flattened tensor; the first of "
           "equal ones.",
    .surface = kBoth,
    .cls = Class::Reduction,
    .shape = arg_shape,
    .forward = arg_forward<false>,
    .derivative = none("its result is an index"),
};

template <bool Any>
void truth_forward(Call& c) {
  const std::uint32_t mask =
      c.attrs.n_lists ? dims_of(*c.op, c.in[0].ndim(), c.attrs.list(0)) : all_dims(c.in[0].ndim());
  View out = kept_view(c.out[0], c.in[0], mask);
  out.dtype = DType::Bool;
  (Any ? kernels().any : kernels().all)(out, c.in[0].view(), mask);
}
void truth_shape(Call& c) {
  const bool listed = c.attrs.n_lists;
  const std::uint32_t mask =
      listed ? dims_of(*c.op, c.in[0].ndim(), c.attrs.list(0)) : all_dims(c.in[0].ndim());
  // Of uint8 the result is uint8, as in PyTorch, where it stood for bool once.
  const DType dtype = c.in[0].dtype() == DType::UInt8 ? DType::UInt8 : DType::Bool;
  c.allocate(0, reduced(c.in[0].shape(), mask, listed && c.attrs.i(0)), dtype);
}
template <bool Any>
constexpr OpDef truth(const char* schema, const char* doc) {
  return {.schema = schema,
          .doc = doc,
          .surface = kBoth,
          .cls = Class::Reduction,
          .shape = truth_shape,
          .forward = truth_forward<Any>,
          .derivative = none("its result is bool")};
}
constexpr OpDef any_all_op = truth<true>("any(Tensor input)", "Whether any element is not 0.");
constexpr OpDef any_op = truth<true>("any(Tensor input, int[]? dim, bool keepdim=False)",
                                     "Whether any element along dim is not 0.");
constexpr OpDef all_all_op = truth<false>("all(Tensor input)", "Whether no element is 0.");
constexpr OpDef all_op = truth<false>("all(Tensor input, int[]? dim, bool keepdim=False)",
                                      "Whether no element along dim is 0.");

}  // namespace

Tensor sum(const Tensor& x) { return call(sum_all_op, {x}, {Attr()}); }
Tensor sum(const Tensor& x, const Dims& dims, bool keepdim) {
  return call(sum_op, {x}, {{keepdim, Attr()}, {dims}});
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  const int lead = x.ndim() - shape.ndim;
  Dims dims;
  for (int d = 0; d < x.ndim(); ++d)
    if (d < lead || (shape[d - lead] == 1 && x.shape()[d] != 1)) dims.push(d);
  Tensor y = dims.ndim ? sum(x, dims, true) : x;
  return y.shape() == shape ? y : view(y, shape);
}

std::span<const OpDef* const> reduce_ops() {
  static const OpDef* const ops[] = {
      &sum_all_op, &sum_op,       &mean_all_op,  &mean_op,    &max_all_op, &max_dim_op,
      &max_other_op, &min_all_op, &min_dim_op,   &min_other_op, &argmax_op, &argmin_op,
      &any_all_op, &any_op,       &all_all_op,   &all_op,     &pick_op,    &unpick_op};
  return ops;
}

}  // namespace unspool
