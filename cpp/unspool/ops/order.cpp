// What needs the elements in order: sort, argsort, topk, kthvalue, median. Start at ordered(); how a row is
// put in order stands in order.h.
#include "unspool/ops/order.h"

#include <algorithm>
#include <limits>

#include "unspool/ops/blocks.h"
#include "unspool/ops/halves.h"
#include "unspool/ops/last_dim.h"

namespace unspool {
namespace {

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

}  // namespace

std::span<const OpDef* const> order_ops() {
  static const OpDef* const ops[] = {&order_op,   &median_rows_op, &sort_op, &sort_stable_op,
                                     &argsort_op, &msort_op,       &topk_op, &kthvalue_op,
                                     &median_op,  &median_dim_op};
  return ops;
}

}  // namespace unspool
