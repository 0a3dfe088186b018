// Extremes: max, min, argmax, argmin.
#include <utility>

#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"
#include "unspool/ops/halves.h"
#include "unspool/ops/reduce.h"

namespace unspool {
namespace {

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
    fail(ErrorKind::Runtime, name_of(*c.op),
         ": Expected reduction dim to be specified for "
         "input.numel() == 0; input has shape ",
         c.in[0].shape());
  c.allocate(0, {}, c.in[0].dtype());
}

// Equal extremes share the gradient evenly; so do NaNs, where one won.
Tensor shares(const Record& r) {
  const Tensor &x = r.x(0), &y = r.y;
  const Tensor hit = where(y == y, to(x == y, r.dtype(0)), 1.0 - to(x == x, r.dtype(0)));
  return hit / sum(hit);
}
constexpr Derivative kExtremeAll =
    custom([](const Record& r, const Tensor* g, Tensor* gx) { gx[0] = g[0] * shares(r); },
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
    for (std::int64_t i = 0; i < inner; ++i) f((o * n + at[o * inner + i]) * inner + i, o * inner + i);
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
    .derivative =
        custom([](const Record& r, const Tensor* g,
                  Tensor* gx) { gx[0] = unpick(g[0], r.x(1), r.shape(0), static_cast<int>(r.attrs.i(0))); },
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
    .derivative = custom([](const Record& r, const Tensor* g,
                            Tensor* gx) { gx[0] = call(pick_op, {g[0], r.x(1)}, {r.attrs[0]}); },
                         [](const Record& r, const Tensor* dx, Tensor* dy) {
                           dy[0] = unpick(dx[0], r.x(1), r.attrs.list(0), static_cast<int>(r.attrs.i(0)));
                         },
                         kSaveIn1),
};

// Where the extremes along a dim stand; in halves as they are, which promote to nothing here.
template <bool Max>
constexpr OpDef extreme_places_op = {
    .schema = Max ? "max_places(Tensor input, int dim, bool keepdim)"
                  : "min_places(Tensor input, int dim, bool keepdim)",
    .cls = Class::Reduction,
    .shape =
        [](Call& c) {
          const Tensor& x = c.in[0];
          const std::uint32_t mask = (1u << c.attrs.i(0)) & all_dims(x.ndim());
          c.allocate(0, reduced(x.shape(), mask, c.attrs.i(1)), DType::Int64);
        },
    .forward =
        [](Call& c) {
          const Tensor& x = c.in[0];
          if (x.ndim() == 0) return kernels().fill(c.out[0].view(), 0.0, 0);
          const auto dim = static_cast<int>(c.attrs.i(0));
          (Max ? kernels().argmax : kernels().argmin)(kept_view(c.out[0], x, 1u << dim), x.view(), dim);
        },
    .derivative = none("its result is an index"),
};

template <bool Max>
void extreme_dim(Call& c) {
  const Tensor& x = c.in[0];
  const int dim = wrap_dim(c.op->schema, c.attrs.i(0), x.ndim());
  const std::uint32_t mask = (1u << dim) & all_dims(x.ndim());
  refuse_empty(c, mask);
  const bool recorded = grad_enabled();
  GradMode off(false);
  Tensor index = call(extreme_places_op<Max>, {readable(alias(x))}, {dim, c.attrs.i(1) != 0});
  const GradMode on(recorded);
  c.n_out = 2;
  c.out[0] = call(pick_op, {x, index}, {dim});
  c.out[1] = std::move(index);
}

constexpr OpDef max_dim_op = {
    .schema = "max(Tensor input, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
    .doc =
        "The largest elements along dim and where they stand (the first of equal ones, which "
        "gets the gradient); NaN wins.",
    .grad_name = "MaxBackward0",
    .surface = kBoth,
    .composite = extreme_dim<true>,
};

constexpr OpDef min_dim_op = {
    .schema = "min(Tensor input, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
    .doc =
        "The smallest elements along dim and where they stand (the first of equal ones, which "
        "gets the gradient); NaN wins.",
    .grad_name = "MinBackward0",
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
      fail(ErrorKind::Index, name_of(*c.op),
           ": Expected reduction dim to be specified for "
           "input.numel() == 0; input has shape ",
           x.shape());
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
    .doc =
        "Where the largest element stands, along dim or in the flattened tensor; the first of "
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
    .doc =
        "Where the smallest element stands, along dim or in the flattened tensor; the first of "
        "equal ones.",
    .surface = kBoth,
    .cls = Class::Reduction,
    .shape = arg_shape,
    .forward = arg_forward<false>,
    .derivative = none("its result is an index"),
};

}  // namespace

std::span<const OpDef* const> extreme_ops() {
  static const OpDef* const ops[] = {&max_all_op,
                                     &min_all_op,
                                     &unpick_op,
                                     &pick_op,
                                     &max_dim_op,
                                     &min_dim_op,
                                     &max_other_op,
                                     &min_other_op,
                                     &argmax_op,
                                     &argmin_op,
                                     &extreme_places_op<true>,
                                     &extreme_places_op<false>};
  return ops;
}

}  // namespace unspool
