// Running sums and products, and products: cumsum, cumprod, prod. The ops named …_rows work on the last dim
// and hold the derivatives; those that users call move their dim there and back.
#include <algorithm>

#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"
#include "unspool/ops/halves.h"
#include "unspool/ops/last_dim.h"
#include "unspool/ops/reduce.h"
#include "unspool/ops/take.h"

namespace unspool {
namespace {

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
  const Tensor zero = contiguous(alias(x) == wrapped_number(0.0));
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
  return where(made_of_numbers(mask), unsqueeze(x, x.ndim() - 1), wrapped_number(1.0));
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
  return where(made_of_numbers(counts), prod_rows(where(made_of_numbers(mask), wide, wrapped_number(1.0))),
               wrapped_number(0.0));
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

}  // namespace

std::span<const OpDef* const> scan_ops() {
  static const OpDef* const ops[] = {&cumsum_rows_op, &prod_rows_op, &cumprod_rows_op, &cumsum_op,
                                     &cumprod_op,     &prod_all_op,  &prod_op};
  return ops;
}

}  // namespace unspool
