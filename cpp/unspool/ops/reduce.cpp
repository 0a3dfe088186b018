// Sums: sum, mean, any, all; and sum_to, the transpose of a broadcast. A list of dims that is None or
// empty means all of them. Extremes are in extreme.cpp.
#include "unspool/ops/reduce.h"

#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"

namespace unspool {
namespace {

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
std::uint32_t recorded_mask(const Record& r) { return sum_args(*r.op, r.shape(0).ndim, r.attrs).mask; }

void sum_shape(Call& c) {
  const SumArgs args = sum_args(*c.op, c.in[0].ndim(), c.attrs);
  if (args.dtype.given()) c.in[0] = to(c.in[0], args.dtype.dtype());
  const DType d = c.in[0].dtype();
  const DType result = args.dtype.given() ? args.dtype.dtype() : is_floating(d) ? d : DType::Int64;
  if (!is_floating(result) && result != DType::Int64)
    fail(ErrorKind::DType, name_of(*c.op), ": dtype must be int64 or floating, got ", name(result));
  c.allocate(0, reduced(c.in[0].shape(), args.mask, args.keepdim), result);
}

void sum_forward(Call& c) {
  const std::uint32_t mask = sum_args(*c.op, c.in[0].ndim(), c.attrs).mask;
  kernels().sum(kept_view(c.out[0], c.in[0], mask), c.in[0].view(), mask);
}

constexpr Derivative kSum = linear(
    [](const Record& r, const Tensor* g, Tensor* gx) { gx[0] = spread(g[0], r.shape(0), recorded_mask(r)); });

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
    fail(ErrorKind::DType, "mean: the input dtype must be floating, got ", name(c.in[0].dtype()),
         "; convert it first, or pass dtype=");
  c.allocate(0, reduced(c.in[0].shape(), args.mask, args.keepdim), c.in[0].dtype());
}

void mean_forward(Call& c) {
  sum_forward(c);
  const std::uint32_t mask = sum_args(*c.op, c.in[0].ndim(), c.attrs).mask;
  const Tensor n = full({}, static_cast<double>(count_of(c.in[0].shape(), mask)), c.out[0].dtype());
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
constexpr OpDef all_op =
    truth<false>("all(Tensor input, int[]? dim, bool keepdim=False)", "Whether no element along dim is 0.");

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
  static const OpDef* const ops[] = {&sum_all_op, &sum_op, &mean_all_op, &mean_op,
                                     &any_all_op, &any_op, &all_all_op,  &all_op};
  return ops;
}

}  // namespace unspool
