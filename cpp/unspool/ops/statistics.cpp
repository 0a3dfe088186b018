// Reductions and scans that are made of sums, extremes and sorted orders: var, norm, logsumexp, prod, cumsum,
// sort, median. A scan or an order works on the last dim; the dim that is asked for is moved there and back.
#include <algorithm>
#include <cmath>
#include <limits>

#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"
#include "unspool/ops/halves.h"
#include "unspool/ops/order.h"
#include "unspool/ops/reduce.h"
#include "unspool/ops/take.h"

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

// ---- Along the last dim ------------------------------------------------------------------------------

// x with `dim` last, and back. A 0-d tensor counts as a vector of one.
Tensor last(const Tensor& x, int dim) {
  const Tensor y = x.ndim() ? x : reshape(x, {1});
  return contiguous(dim == y.ndim() - 1 ? y : transpose(y, dim, y.ndim() - 1));
}
Tensor back(const Tensor& y, int dim, int ndim) {
  if (ndim == 0) return reshape(y, {});
  return dim == ndim - 1 ? y : contiguous(transpose(y, dim, ndim - 1));
}
std::int64_t rows_of(const Tensor& x) {
  const std::int64_t n = x.shape()[x.ndim() - 1];
  return n ? x.numel() / n : 0;
}
template <class T, class F>
void each_row(const Tensor& x, F&& f) {
  const std::int64_t n = x.shape()[x.ndim() - 1];
  const T* from = reinterpret_cast<const T*>(x->data);
  for (std::int64_t r = 0, rows = rows_of(x); r < rows; ++r) f(from + r * n, r, n);
}

void scan_shape(Call& c) { c.allocate(0, c.in[0].shape(), c.in[0].dtype()); }

// The last dim in reverse order.
Tensor reversed(const Tensor& x) {
  Vector<Vector<std::int64_t>> tables(static_cast<std::size_t>(x.ndim()));
  for (int d = 0; d < x.ndim(); ++d)
    for (std::int64_t i = 0; i < x.shape()[d]; ++i)
      tables[static_cast<std::size_t>(d)].push_back(d == x.ndim() - 1 ? x.shape()[d] - 1 - i : i);
  return take_flat(x, separable_places("flip", x.shape(), tables));
}

extern const OpDef cumsum_rows_op;
Tensor cumsum_rows(const Tensor& x) { return call(cumsum_rows_op, {contiguous(x)}); }
const OpDef cumsum_rows_op = {
    .schema = "cumsum_rows(Tensor input)",
    .grad_name = "CumsumBackward0",
    .cls = Class::Fused,
    .shape = scan_shape,
    .forward =
        [](Call& c) {
          visit_dtype(c.in[0].dtype(), [&]<class T>() {
            T* y = reinterpret_cast<T*>(c.out[0]->data);
            each_row<T>(c.in[0], [&](const T* x, std::int64_t r, std::int64_t n) {
              T total{};
              for (std::int64_t i = 0; i < n; ++i) y[r * n + i] = total = static_cast<T>(total + x[i]);
            });
          });
        },
    .derivative = linear(
        [](const Record&, const Tensor* g, Tensor* gx) { gx[0] = reversed(cumsum_rows(reversed(g[0]))); }),
};

bool any_zero(const Tensor& x) {
  GradMode off(false);
  const Tensor zero = contiguous(alias(x) == number(0.0));
  const auto* hit = reinterpret_cast<const std::uint8_t*>(zero->data);
  return std::find_if(hit, hit + zero.numel(), [](std::uint8_t h) { return h != 0; }) != hit + zero.numel();
}

extern const OpDef prod_rows_op;
Tensor prod_rows(const Tensor& x) { return call(prod_rows_op, {contiguous(x)}); }

// x repeated into a square of its last dim, with 1 where keep(i, j) does not hold: rows i, columns j.
template <class Keep>
Tensor masked_square(const Tensor& x, Keep keep) {
  const std::int64_t n = x.shape()[x.ndim() - 1];
  Tensor mask = empty({n, n}, DType::Bool);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) reinterpret_cast<bool*>(mask->data)[i * n + j] = keep(i, j);
  return where(made_of_numbers(mask), unsqueeze(x, x.ndim() - 1), number(1.0));
}

// The product of all other elements of the row: y/x, or without a division where an element is 0.
Tensor others(const Record& r) {
  const Tensor& x = r.x(0);
  if (!any_zero(x)) return unsqueeze(r.y, r.y.ndim()) / x;
  return prod_rows(masked_square(x, [](std::int64_t i, std::int64_t j) { return i != j; }));
}
const OpDef prod_rows_op = {
    .schema = "prod_rows(Tensor input)",
    .grad_name = "ProdBackward0",
    .cls = Class::Fused,
    .shape =
        [](Call& c) {
          Shape shape = c.in[0].shape();
          --shape.ndim;
          c.allocate(0, shape, c.in[0].dtype());
        },
    .forward =
        [](Call& c) {
          if (is_floating(c.in[0].dtype())) {
            const int dim = c.in[0].ndim() - 1;
            return kernels().prod(kept_view(c.out[0], c.in[0], 1u << dim), c.in[0].view(), 1u << dim);
          }
          kernels().fill(c.out[0].view(), 1.0, 1);
          visit_dtype(c.in[0].dtype(), [&]<class T>() {
            T* y = reinterpret_cast<T*>(c.out[0]->data);
            each_row<T>(c.in[0], [&](const T* x, std::int64_t r, std::int64_t n) {
              T total{1};
              for (std::int64_t i = 0; i < n; ++i) total = static_cast<T>(total * x[i]);
              y[r] = total;
            });
          });
        },
    .derivative = custom([](const Record& r, const Tensor* g,
                            Tensor* gx) { gx[0] = unsqueeze(g[0], g[0].ndim()) * others(r); },
                         [](const Record& r, const Tensor* dx, Tensor* dy) {
                           dy[0] = sum(dx[0] * others(r), Dims{-1}, false);
                         },
                         kSaveIn0 | kSaveOut),
};

extern const OpDef cumprod_rows_op;
// The derivative of cumulative product k by element i: the product of the other elements up to k. (…, k, i)
Tensor cumprod_slopes(const Tensor& x) {
  const std::int64_t n = x.shape()[x.ndim() - 1];
  Tensor mask = empty({n, n, n}, DType::Bool), counts = empty({n, n}, DType::Bool);
  for (std::int64_t k = 0, at = 0; k < n; ++k)
    for (std::int64_t i = 0; i < n; ++i) {
      reinterpret_cast<bool*>(counts->data)[k * n + i] = i <= k;
      for (std::int64_t j = 0; j < n; ++j, ++at) reinterpret_cast<bool*>(mask->data)[at] = j <= k && j != i;
    }
  const Tensor wide = unsqueeze(unsqueeze(x, x.ndim() - 1), x.ndim() - 1);
  return where(made_of_numbers(counts), prod_rows(where(made_of_numbers(mask), wide, number(1.0))),
               number(0.0));
}
const OpDef cumprod_rows_op = {
    .schema = "cumprod_rows(Tensor input)",
    .grad_name = "CumprodBackward0",
    .cls = Class::Fused,
    .shape = scan_shape,
    .forward =
        [](Call& c) {
          visit_dtype(c.in[0].dtype(), [&]<class T>() {
            T* y = reinterpret_cast<T*>(c.out[0]->data);
            each_row<T>(c.in[0], [&](const T* x, std::int64_t r, std::int64_t n) {
              T total{1};
              for (std::int64_t i = 0; i < n; ++i) y[r * n + i] = total = static_cast<T>(total * x[i]);
            });
          });
        },
    .derivative = custom(
        [](const Record& r, const Tensor* g, Tensor* gx) {
          const Tensor& x = r.x(0);
          gx[0] = any_zero(x) ? sum(unsqueeze(g[0], g[0].ndim()) * cumprod_slopes(x), Dims{-2}, false)
                              : reversed(cumsum_rows(reversed(g[0] * r.y))) / x;
        },
        [](const Record& r, const Tensor* dx, Tensor* dy) {
          const Tensor& x = r.x(0);
          dy[0] = any_zero(x) ? sum(unsqueeze(dx[0], x.ndim() - 1) * cumprod_slopes(x), Dims{-1}, false)
                              : r.y * cumsum_rows(dx[0] / x);
        },
        kSaveIn0 | kSaveOut),
};

// Integers count as int64.
Tensor summed_dtype(const Tensor& x, const Attr& dtype) {
  if (dtype.given()) return to(x, dtype.dtype());
  return is_floating(x.dtype()) ? x : to(x, DType::Int64);
}

template <const OpDef& Rows>
void scan(Call& c) {
  const Tensor x = summed_dtype(c.in[0], c.attrs[1]);
  const int dim = wrap_dim(c.op->schema, c.attrs.i(0), x.ndim());
  c.out[0] = back(call(Rows, {last(x, dim)}), dim, x.ndim());
}
constexpr OpDef cumsum_op = {
    .schema = "cumsum(Tensor input, int dim, *, DType? dtype=None)",
    .doc = "The sums of the elements up to and with each, along dim; of integers as int64.",
    .grad_name = "CumsumBackward0",
    .surface = kBoth | kInplace,
    .composite = scan<cumsum_rows_op>,
};
constexpr OpDef cumprod_op = {
    .schema = "cumprod(Tensor input, int dim, *, DType? dtype=None)",
    .doc = "The products of the elements up to and with each, along dim; of integers as int64.",
    .grad_name = "CumprodBackward0",
    .surface = kBoth | kInplace,
    .composite = scan<cumprod_rows_op>,
};

constexpr OpDef prod_all_op = {
    .schema = "prod(Tensor input, *, DType? dtype=None)",
    .doc = "The product of all elements; of integers as int64; 1 of none.",
    .grad_name = "ProdBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const Tensor x = summed_dtype(c.in[0], c.attrs[0]);
          c.out[0] = prod_rows(reshape(x, {x.numel()}));
        },
};
constexpr OpDef prod_op = {
    .schema = "prod(Tensor input, int dim, bool keepdim=False, *, DType? dtype=None)",
    .doc = "The product along dim. Its gradient is exact where elements are 0.",
    .grad_name = "ProdBackward1",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const Tensor x = summed_dtype(c.in[0], c.attrs[2]);
          const int dim = wrap_dim("prod", c.attrs.i(0), x.ndim());
          const Tensor y = unsqueeze(prod_rows(last(x, dim)), -1);
          const bool keep = c.attrs.i(1) != 0 && x.ndim();
          const Tensor placed =
              x.ndim() > 1 && dim != x.ndim() - 1 ? contiguous(transpose(y, dim, x.ndim() - 1)) : y;
          c.out[0] = keep ? placed : squeeze(placed, x.ndim() ? dim : 0);
        },
};

// ---- Orders ------------------------------------------------------------------------------------------

// For each row of the last dim the positions of its elements in order; NaN counts as the largest.
constexpr OpDef order_op = {
    .schema = "order_rows(Tensor input, bool descending)",
    .cls = Class::Fused,
    .shape = [](Call& c) { c.allocate(0, c.in[0].shape(), DType::Int64); },
    .forward =
        [](Call& c) {
          const Tensor& x = c.in[0];
          const bool descending = c.attrs.i(0) != 0;
          auto* out = reinterpret_cast<std::int64_t*>(c.out[0]->data);
          const Tensor scratch = empty({order_scratch(x.shape()[x.ndim() - 1])}, DType::Int64);
          visit_dtype(x.dtype(), [&]<class T>() {
            each_row<T>(x, [&](const T* v, std::int64_t r, std::int64_t n) {
              order_row(v, n, descending, out + r * n, reinterpret_cast<std::uint64_t*>(scratch->data));
            });
          });
        },
    .derivative = none("its result is an index"),
};
Tensor order_of(const Tensor& x, bool descending) { return call(order_op, {x}, {descending}); }

Tensor ordered(const Tensor& x, int dim, bool descending) {
  GradMode off(false);
  return back(order_of(last(readable(alias(x)), dim), descending), dim, x.ndim());
}

// Values and indices of an order, both in x's layout.
void sorted(Call& c, std::int64_t dim, bool descending) {
  const int d = wrap_dim(c.op->schema, dim, c.in[0].ndim());
  c.n_out = 2;
  const Tensor order = ordered(c.in[0], d, descending);
  c.out[1] = laid_out_like(order, c.in[0]);
  c.out[0] = laid_out_like(gather(c.in[0], d, order), c.in[0]);
}
constexpr OpDef sort_op = {
    .schema =
        "sort(Tensor input, int dim=-1, bool descending=False, *, bool stable=False) -> (Tensor values, Tensor indices)",
    .doc = "The elements in order along dim, and where they stood; stable; NaN counts as the largest.",
    .grad_name = "SortBackward0",
    .surface = kBoth,
    .composite = [](Call& c) { sorted(c, c.attrs.i(0), c.attrs.i(1) != 0); },
};
constexpr OpDef sort_stable_op = {
    .schema =
        "sort(Tensor input, *, bool? stable, int dim=-1, bool descending=False) -> (Tensor values, Tensor indices)",
    .doc = "The order is always stable.",
    .grad_name = "SortBackward0",
    .surface = kBoth,
    .composite = [](Call& c) { sorted(c, c.attrs.i(1), c.attrs.i(2) != 0); },
};
constexpr OpDef argsort_op = {
    .schema = "argsort(Tensor input, int dim=-1, bool descending=False, *, bool stable=False)",
    .doc = "Where the elements of the order along dim stand.",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const int dim = wrap_dim("argsort", c.attrs.i(0), c.in[0].ndim());
          c.out[0] = laid_out_like(ordered(c.in[0], dim, c.attrs.i(1) != 0), c.in[0]);
        },
};
constexpr OpDef msort_op = {
    .schema = "msort(Tensor input)",
    .doc = "The elements in order along the first dim.",
    .grad_name = "SortBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) { c.out[0] = laid_out_like(gather(c.in[0], 0, ordered(c.in[0], 0, false)), c.in[0]); },
};

std::int64_t length_along(const Tensor& x, int dim) { return x.ndim() ? x.shape()[dim] : 1; }

constexpr OpDef topk_op = {
    .schema =
        "topk(Tensor input, int k, int dim=-1, bool largest=True, bool sorted=True) -> (Tensor values, Tensor indices)",
    .doc = "The k largest (or smallest) elements along dim in order, and where they stand.",
    .grad_name = "TopkBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const int dim = wrap_dim("topk", c.attrs.i(1), c.in[0].ndim());
          const std::int64_t k = c.attrs.i(0), n = length_along(c.in[0], dim);
          if (k < 0 || k > n)
            fail(ErrorKind::Runtime, "topk: selected index k out of range; k is ", k, ", size is ", n);
          Tensor order = ordered(c.in[0], dim, c.attrs.i(2) != 0);
          c.n_out = 2;
          c.out[1] = c.in[0].ndim() ? contiguous(narrow(order, dim, 0, k)) : order;
          c.out[0] = gather(c.in[0], dim, c.out[1]);
        },
};

// The elements at place k of the order.
void ranked(Call& c, int dim, std::int64_t k, bool keepdim) {
  const Tensor order = ordered(c.in[0], dim, false);
  const Tensor at = c.in[0].ndim() ? contiguous(narrow(order, dim, k, 1)) : order;
  const Tensor y = gather(c.in[0], dim, at);
  c.n_out = 2;
  const bool drop = !keepdim && c.in[0].ndim();
  c.out[0] = drop ? squeeze(y, dim) : y;
  c.out[1] = drop ? squeeze(at, dim) : at;
}
constexpr OpDef kthvalue_op = {
    .schema =
        "kthvalue(Tensor input, int k, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)",
    .doc = "The k-th smallest element along dim, k from 1, and where it stands.",
    .grad_name = "KthvalueBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const int dim = wrap_dim("kthvalue", c.attrs.i(1), c.in[0].ndim());
          const std::int64_t k = c.attrs.i(0), n = length_along(c.in[0], dim);
          if (k < 1 || k > n)
            fail(ErrorKind::Runtime, "kthvalue: selected number k out of range for dimension ", dim,
                 "; k is ", k, ", size is ", n);
          ranked(c, dim, k - 1, c.attrs.i(2) != 0);
        },
};

// The lower middle of the order; a NaN, where there is one.
constexpr OpDef median_rows_op = {
    .schema = "median_rows(Tensor input, Tensor order)",
    .cls = Class::Fused,
    .shape =
        [](Call& c) {
          Shape shape = c.in[0].shape();
          shape[shape.ndim - 1] = 1;
          c.allocate(0, shape, DType::Int64);
        },
    .forward =
        [](Call& c) {
          visit_dtype(c.in[0].dtype(), [&]<class T>() {
            each_row<T>(c.in[0], [&](const T* v, std::int64_t r, std::int64_t n) {
              const auto* at = reinterpret_cast<const std::int64_t*>(c.in[1]->data) + r * n;
              std::int64_t pick = at[(n - 1) / 2];
              if (v[at[n - 1]] != v[at[n - 1]])  // the first of the NaNs, which stand at the end
                pick = *std::find_if(at, at + n, [v](std::int64_t i) { return v[i] != v[i]; });
              reinterpret_cast<std::int64_t*>(c.out[0]->data)[r] = pick;
            });
          });
        },
    .derivative = none("its result is an index"),
};
Tensor median_places(const Tensor& x, int dim) {
  GradMode off(false);
  const Tensor rows = last(readable(alias(x)), dim);
  return back(call(median_rows_op, {rows, order_of(rows, false)}), dim, x.ndim());
}
constexpr OpDef median_dim_op = {
    .schema = "median(Tensor input, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
    .doc = "The lower of the two middle elements along dim, and where it stands; NaN wins.",
    .grad_name = "MedianBackward1",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const Tensor& x = c.in[0];
          const int dim = wrap_dim("median", c.attrs.i(0), x.ndim());
          if (length_along(x, dim) == 0)
            fail(ErrorKind::Index, "median: Expected reduction dim ", dim,
                 " to have non-zero size; input has shape ", x.shape());
          const Tensor at = median_places(x, dim);
          const Tensor y = gather(x, dim, at);
          const bool drop = !c.attrs.i(1) && x.ndim();
          c.n_out = 2;
          c.out[0] = drop ? squeeze(y, dim) : y;
          c.out[1] = drop ? squeeze(at, dim) : at;
        },
};
constexpr OpDef median_op = {
    .schema = "median(Tensor input)",
    .doc = "The lower of the two middle elements of all; NaN wins, and is the result of none.",
    .grad_name = "MedianBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const Tensor flat = reshape(c.in[0], {c.in[0].numel()});
          if (flat.numel() == 0) {
            c.out[0] = full({}, std::numeric_limits<double>::quiet_NaN(), c.in[0].dtype());
            return;
          }
          c.out[0] = reshape(gather(flat, 0, median_places(flat, 0)), {});
        },
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
      &order_op,         &median_rows_op,  &var_all_op,       &std_all_op,    &var_mean_all_op,
      &std_mean_all_op,  &var_flag_op,     &var_op,           &std_flag_op,   &std_op,
      &var_mean_flag_op, &var_mean_op,     &std_mean_flag_op, &std_mean_op,   &amax_op,
      &amin_op,          &logsumexp_op,    &norm_op,          &frobenius_op,  &cumsum_rows_op,
      &prod_rows_op,     &cumprod_rows_op, &cumsum_op,        &cumprod_op,    &prod_all_op,
      &prod_op,          &sort_op,         &sort_stable_op,   &argsort_op,    &msort_op,
      &topk_op,          &kthvalue_op,     &median_op,        &median_dim_op, &count_nonzero_op};
  return ops;
}

}  // namespace unspool
