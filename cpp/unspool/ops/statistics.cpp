// Reductions that are made of sums and extremes: var, std, amax, amin, logsumexp, norm, count_nonzero.
// Running sums and products stand in scan.cpp, sort and median in order.cpp.
#include <algorithm>
#include <limits>

#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"
#include "unspool/ops/reduce.h"

namespace unspool {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

Tensor number(double x) { return wrapped_number(x); }

Dims dims_in(const Call& c, int list) {
  const Dims& given = c.attrs.list(list);
  Dims dims;
  const std::uint32_t mask = dims_of(*c.op, c.in[0].ndim(), given);
  for (int d = 0; d < c.in[0].ndim(); ++d)
    if ((mask >> d) & 1) dims.push(d);
  return dims;
}

std::int64_t count_in(const Tensor& x, const Dims& dims) {
  std::int64_t n = 1;
  for (std::int64_t d : dims) n *= x.shape()[static_cast<int>(d)];
  return n;
}

// Sum over dims; of none of them, x itself.
Tensor sum_over(const Tensor& x, const Dims& dims, bool keepdim) {
  return dims.ndim ? sum(x, dims, keepdim) : x;
}

Tensor without_dims(const Tensor& y, const Dims& dims, bool keepdim) {
  if (keepdim) return y;
  Shape shape;
  for (int d = 0; d < y.ndim(); ++d)
    if (std::find(dims.begin(), dims.end(), d) == dims.end()) shape.push(y.shape()[d]);
  return reshape(y, shape);
}

// sqrt with a slope of 0 at 0: for lengths and spreads, as PyTorch.
Tensor root(const Tensor& x) {
  const Tensor zero = x == number(0.0);
  return where(zero, x * 0.0, sqrt(where(zero, number(1.0), x)));
}

// ---- Spread ------------------------------------------------------------------------------------------

// Two passes: the mean first, then the squares of what is left.
void spread(Call& c, const Dims& dims, double correction, bool keepdim, bool is_std, bool with_mean) {
  const Tensor& x = c.in[0];
  if (!is_floating(x.dtype()))
    fail(ErrorKind::DType, name_of(*c.op), ": only support floating point dtypes, got ", name(x.dtype()));
  const auto n = static_cast<double>(count_in(x, dims));
  const Tensor mean = sum_over(x, dims, true) / number(n);
  const Tensor rest = x - mean;
  const double freedom = std::max(0.0, n - correction);
  const Tensor var = sum_over(rest * rest, dims, true) / number(freedom);
  c.out[0] = without_dims(is_std ? root(var) : var, dims, keepdim);
  if (!with_mean) return;
  c.n_out = 2;
  c.out[1] = without_dims(mean, dims, keepdim);
}

template <bool Std, bool Mean>
void spread_by_correction(Call& c) {
  const double correction = c.attrs.given(0) ? c.attrs.f(0) : 1.0;
  spread(c, dims_in(c, 0), correction, c.attrs.i(1) != 0, Std, Mean);
}
template <bool Std, bool Mean>
void spread_of_all(Call& c) {
  Dims dims;
  for (int d = 0; d < c.in[0].ndim(); ++d) dims.push(d);
  spread(c, dims, c.attrs.i(0) ? 1.0 : 0.0, false, Std, Mean);
}
template <bool Std, bool Mean>
void spread_by_flag(Call& c) {
  spread(c, dims_in(c, 0), c.attrs.i(0) ? 1.0 : 0.0, c.attrs.i(1) != 0, Std, Mean);
}

#define UNSPOOL_SPREAD(Name, name, grad, Std, Mean, results, text)                                          \
  constexpr OpDef Name##_all_op = {.schema = name "(Tensor input, bool unbiased)" results,                  \
                                   .doc = text,                                                             \
                                   .grad_name = grad,                                                       \
                                   .surface = kBoth,                                                        \
                                   .composite = spread_of_all<Std, Mean>,                                   \
                                   .wide = true};                                                           \
  constexpr OpDef Name##_flag_op = {                                                                        \
      .schema = name "(Tensor input, int[]? dim, bool unbiased, bool keepdim=False)" results,               \
      .doc = text " Of n elements: over n - 1 where unbiased, else over n.",                                \
      .grad_name = grad,                                                                                    \
      .surface = kBoth,                                                                                     \
      .composite = spread_by_flag<Std, Mean>,                                                               \
      .wide = true};                                                                                        \
  constexpr OpDef Name##_op = {                                                                             \
      .schema =                                                                                             \
          name "(Tensor input, int[]? dim=None, *, Scalar? correction=None, bool keepdim=False)" results,   \
      .doc = text " In two passes; the divisor is n - correction (1 where None), NaN of too few elements.", \
      .grad_name = grad,                                                                                    \
      .surface = kBoth,                                                                                     \
      .composite = spread_by_correction<Std, Mean>,                                                         \
      .wide = true};

UNSPOOL_SPREAD(var, "var", "VarBackward0", false, false, "", "The variance over dim, or of all elements.")
UNSPOOL_SPREAD(std, "std", "StdBackward0", true, false, "",
               "The standard deviation over dim, or of all elements.")
UNSPOOL_SPREAD(var_mean, "var_mean", "VarMeanBackward0", false, true, " -> (Tensor, Tensor)",
               "Variance and mean over dim.")
UNSPOOL_SPREAD(std_mean, "std_mean", "StdMeanBackward0", true, true, " -> (Tensor, Tensor)",
               "Standard deviation and mean over dim.")
#undef UNSPOOL_SPREAD

// ---- Extremes over several dims ----------------------------------------------------------------------

template <bool Max>
void extreme_shape(Call& c) {
  const std::uint32_t mask = dims_of(*c.op, c.in[0].ndim(), c.attrs.list(0));
  for (int d = 0; d < c.in[0].ndim(); ++d)
    if (((mask >> d) & 1) && c.in[0].shape()[d] == 0)
      fail(c.attrs.list(0).ndim ? ErrorKind::Index : ErrorKind::Runtime, name_of(*c.op),
           ": Expected reduction dim ", d, " to have non-zero size; input has shape ", c.in[0].shape());
  c.allocate(0, reduced(c.in[0].shape(), mask, c.attrs.i(0)), c.in[0].dtype());
}
template <bool Max>
void extreme_forward(Call& c) {
  const std::uint32_t mask = dims_of(*c.op, c.in[0].ndim(), c.attrs.list(0));
  if (!mask) return kernels().copy(c.out[0].view(), c.in[0].view());
  (Max ? kernels().max : kernels().min)(kept_view(c.out[0], c.in[0], mask), c.in[0].view(), mask);
}

// Each element's share of the gradient: equal extremes divide it.
Tensor shares(const Record& r, const Dims& dims) {
  const std::uint32_t mask = dims_of(*r.op, r.shape(0).ndim, r.attrs.list(0));
  const Tensor hit = to(r.x(0) == reshape(r.y, reduced(r.shape(0), mask, true)), r.dtype(0));
  return hit / sum_over(hit, dims, true);
}
Dims recorded_dims(const Record& r) {
  Dims dims;
  const std::uint32_t mask = dims_of(*r.op, r.shape(0).ndim, r.attrs.list(0));
  for (int d = 0; d < r.shape(0).ndim; ++d)
    if ((mask >> d) & 1) dims.push(d);
  return dims;
}
constexpr Derivative kExtreme = custom(
    [](const Record& r, const Tensor* g, Tensor* gx) {
      const std::uint32_t mask = dims_of(*r.op, r.shape(0).ndim, r.attrs.list(0));
      gx[0] = reshape(g[0], reduced(r.shape(0), mask, true)) * shares(r, recorded_dims(r));
    },
    [](const Record& r, const Tensor* dx, Tensor* dy) {
      const Dims dims = recorded_dims(r);
      dy[0] = sum_over(dx[0] * shares(r, dims), dims, r.attrs.i(0) != 0);
    },
    kSaveIn0 | kSaveOut);

constexpr OpDef amax_op = {
    .schema = "amax(Tensor input, int[] dim=(), bool keepdim=False)",
    .doc = "The largest elements over the dims; NaN wins. Equal ones share the gradient evenly.",
    .grad_name = "AmaxBackward0",
    .surface = kBoth,
    .cls = Class::Reduction,
    .shape = extreme_shape<true>,
    .forward = extreme_forward<true>,
    .derivative = kExtreme,
};
constexpr OpDef amin_op = {
    .schema = "amin(Tensor input, int[] dim=(), bool keepdim=False)",
    .doc = "The smallest elements over the dims; NaN wins. Equal ones share the gradient evenly.",
    .grad_name = "AminBackward0",
    .surface = kBoth,
    .cls = Class::Reduction,
    .shape = extreme_shape<false>,
    .forward = extreme_forward<false>,
    .derivative = kExtreme,
};
Tensor amax(const Tensor& x, const Dims& dims) { return call(amax_op, {x}, {{true}, {dims}}); }

constexpr OpDef logsumexp_op = {
    .schema = "logsumexp(Tensor input, int[] dim, bool keepdim=False)",
    .doc = "ln of the sum of e^x over the dims, shifted by the largest element.",
    .grad_name = "LogsumexpBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const Tensor x = is_floating(c.in[0].dtype()) ? c.in[0] : to(c.in[0], default_dtype());
          const Dims dims = dims_in(c, 0);
          Tensor shift = number(0.0);
          if (count_in(x, dims) && x.numel()) {
            GradMode off(false);
            shift = dims.ndim ? amax(alias(x), dims) : alias(x);
            shift = where(abs(shift) == number(kInf), number(0.0), shift);
          }
          c.out[0] = without_dims(log(sum_over(exp(x - shift), dims, true)) + shift, dims, c.attrs.i(0) != 0);
        },
    .wide = true,
};

// ---- Norms -------------------------------------------------------------------------------------------

Tensor norm_of(const Tensor& x, double p, const Dims& dims) {
  if (p == 2.0) return root(sum_over(x * x, dims, true));
  if (p == 1.0) return sum_over(abs(x), dims, true);
  if (p == 0.0) return sum_over(to((x == number(0.0)) == wrapped_number(false), x.dtype()), dims, true);
  if (p == kInf) return dims.ndim ? amax(abs(x), dims) : abs(x);
  if (p == -kInf) return dims.ndim ? call(amin_op, {abs(x)}, {{true}, {dims}}) : abs(x);
  return pow(sum_over(pow(abs(x), p), dims, true), 1.0 / p);
}
void norm(Call& c, double p, int flag) {
  Tensor x = c.in[0];
  if (c.attrs.given(flag + 1)) x = to(x, c.attrs[flag + 1].dtype());
  if (!is_floating(x.dtype()))
    fail(ErrorKind::DType, "norm: expected a floating point input, got ", name(x.dtype()));
  const Dims dims = dims_in(c, 0);
  c.out[0] = without_dims(norm_of(x, p, dims), dims, c.attrs.i(flag) != 0);
}
constexpr OpDef norm_op = {
    .schema = "norm(Tensor input, Scalar? p=2, int[]? dim=None, bool keepdim=False, *, DType? dtype=None)",
    .doc =
        "The p-norm of the elements over dim, or of all: (sum |x|^p)^(1/p); the largest for inf, the number of "
        "elements that are not 0 for 0.",
    .grad_name = "LinalgVectorNormBackward0",
    .surface = kBoth,
    .composite = [](Call& c) { norm(c, c.attrs.given(0) ? c.attrs.f(0) : 2.0, 1); },
    .wide = true,
};
constexpr OpDef frobenius_op = {
    .schema = "norm(Tensor input, {fro} p, int[]? dim=None, bool keepdim=False, *, DType? dtype=None)",
    .doc = "p='fro' is the 2-norm of all elements over dim.",
    .grad_name = "LinalgVectorNormBackward0",
    .surface = kBoth,
    .composite = [](Call& c) { norm(c, 2.0, 1); },
    .wide = true,
};

constexpr OpDef count_nonzero_op = {
    .schema = "count_nonzero(Tensor input, int[]? dim=None)",
    .doc = "The number of elements that are not 0, over dim or of all; int64.",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          GradMode off(false);
          const Tensor hit = to((c.in[0] == number(0.0)) == wrapped_number(false), DType::Int64);
          c.out[0] = sum_over(hit, dims_in(c, 0), false);
        },
};

}  // namespace

std::span<const OpDef* const> statistics_ops() {
  static const OpDef* const ops[] = {
      &var_all_op,  &std_all_op, &var_mean_all_op,  &std_mean_all_op, &var_flag_op,      &var_op,
      &std_flag_op, &std_op,     &var_mean_flag_op, &var_mean_op,     &std_mean_flag_op, &std_mean_op,
      &amax_op,     &amin_op,    &logsumexp_op,     &norm_op,         &frobenius_op,     &count_nonzero_op};
  return ops;
}

}  // namespace unspool
