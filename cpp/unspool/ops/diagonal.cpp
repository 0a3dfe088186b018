// Diagonals, triangles and windows: diagonal and unfold, views with strides of their own; diag, tril, triu,
// copies.
#include <algorithm>

#include "unspool/ops/blocks.h"
#include "unspool/ops/take.h"
#include "unspool/ops/view.h"

namespace unspool {
namespace {

// ---- Views -----------------------------------------------------------------------------------------------

extern const OpDef diagonal_op;

void diagonal_shape(Call& c) {
  const Tensor& x = c.in[0];
  const int a = wrap_dim("diagonal", c.attrs.i(1), x.ndim()),
            b = wrap_dim("diagonal", c.attrs.i(2), x.ndim());
  if (a == b || x.ndim() < 2)
    fail(ErrorKind::Runtime, "diagonal: diagonal dimensions cannot be identical ", c.attrs.i(1), ", ",
         c.attrs.i(2));
  const std::int64_t offset = c.attrs.i(0);
  const std::int64_t down = offset < 0 ? -offset : 0, right = offset > 0 ? offset : 0;
  const std::int64_t n = std::max<std::int64_t>(0, std::min(x.shape()[a] - down, x.shape()[b] - right));
  Shape shape;
  Strides strides;
  for (int d = 0; d < x.ndim(); ++d) {
    if (d == a || d == b) continue;
    shape.push(x.shape()[d]);
    strides.push(x.strides()[d]);
  }
  shape.push(n);
  strides.push(x.strides()[a] + x.strides()[b]);
  make_view(c, shape, strides, x->offset() + (n ? down * x.strides()[a] + right * x.strides()[b] : 0));
}

// Where the elements that a view shows stand: the same view of the flat positions.
Tensor places_of(const Record& r, const OpDef& view) {
  GradMode off(false);
  Tensor all = empty(r.shape(0), DType::Int64);
  for (std::int64_t i = 0; i < all.numel(); ++i) reinterpret_cast<std::int64_t*>(all->data)[i] = i;
  return contiguous(call(view, {made_of_numbers(all)}, {r.attrs[0], r.attrs[1], r.attrs[2]}));
}

const OpDef diagonal_op = {
    .schema = "diagonal(Tensor input, int offset=0, int dim1=0, int dim2=1)",
    .doc = "A view of the diagonal of two dims, which vanish, as a new last dim; `offset` counts above it.",
    .grad_name = "DiagonalBackward0",
    .surface = kBoth,
    .cls = Class::View,
    .shape = diagonal_shape,
    .forward = no_kernel,
    .derivative = linear([](const Record& r, const Tensor* g, Tensor* gx) {
      gx[0] = put_flat(zeros(r.shape(0), g[0].dtype()), places_of(r, diagonal_op), g[0], false);
    }),
};

void unfold_shape(Call& c) {
  const Tensor& x = c.in[0];
  const std::int64_t size = c.attrs.i(1), step = c.attrs.i(2);
  const int dim = wrap_dim("unfold", c.attrs.i(0), x.ndim());
  const std::int64_t n = x.ndim() ? x.shape()[dim] : 1, stride = x.ndim() ? x.strides()[dim] : 1;
  if (size < 0) fail(ErrorKind::Runtime, "unfold: size is ", size, " but must be >= 0");
  if (size > n)
    fail(ErrorKind::Runtime, "unfold: maximum size for tensor at dimension ", dim, " is ", n, " but size is ",
         size);
  if (step <= 0) fail(ErrorKind::Runtime, "unfold: step is ", step, " but must be > 0");
  Shape shape = x.shape();
  Strides strides = x.strides();
  if (x.ndim()) {
    shape[dim] = (n - size) / step + 1;
    strides[dim] = stride * step;
  }
  shape.push(size);
  strides.push(stride);
  make_view(c, shape, strides, x->offset());
}

const OpDef unfold_op = {
    .schema = "unfold(Tensor input, int dimension, int size, int step)",
    .doc = "A view of the windows of that size along a dim, `step` apart, as a new last dim.",
    .grad_name = "UnfoldBackward0",
    .surface = kMethod,
    .cls = Class::View,
    .shape = unfold_shape,
    .forward = no_kernel,
    .derivative = linear([](const Record& r, const Tensor* g, Tensor* gx) {
      const Tensor places = places_of(r, unfold_op);
      gx[0] = put_flat(zeros(r.shape(0), g[0].dtype()), places, g[0], true);
    }),
};

// ---- Copies ----------------------------------------------------------------------------------------------

template <bool Lower>
void triangle(Call& c) {
  const Tensor& x = c.in[0];
  if (x.ndim() < 2)
    fail(ErrorKind::Runtime, name_of(*c.op), ": input tensor must have at least 2 dimensions, got shape ",
         x.shape());
  const std::int64_t rows = x.shape()[x.ndim() - 2], columns = x.shape()[x.ndim() - 1], k = c.attrs.i(0);
  Tensor keep = empty({rows, columns}, DType::Bool);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j)
      reinterpret_cast<bool*>(keep->data)[i * columns + j] = Lower ? j - i <= k : j - i >= k;
  c.out[0] = contiguous(where(made_of_numbers(keep), x, full({}, 0.0, x.dtype())));
}
constexpr OpDef tril_op = {
    .schema = "tril(Tensor input, int diagonal=0)",
    .doc = "The lower triangle of the last two dims, up to and with the diagonal; 0 above.",
    .grad_name = "TrilBackward0",
    .surface = kBoth | kInplace,
    .composite = triangle<true>,
};
constexpr OpDef triu_op = {
    .schema = "triu(Tensor input, int diagonal=0)",
    .doc = "The upper triangle of the last two dims, from the diagonal; 0 below.",
    .grad_name = "TriuBackward0",
    .surface = kBoth | kInplace,
    .composite = triangle<false>,
};

constexpr OpDef diag_op = {
    .schema = "diag(Tensor input, int diagonal=0)",
    .doc = "Of a vector the matrix with it on the diagonal; of a matrix its diagonal, copied.",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const Tensor& x = c.in[0];
          const std::int64_t k = c.attrs.i(0);
          if (x.ndim() == 2) {
            c.out[0] = clone(call(diagonal_op, {x}, {k, 0, 1}));
            return;
          }
          if (x.ndim() != 1)
            fail(ErrorKind::Runtime, "diag: supports 1D or 2D tensors, got shape ", x.shape());
          const std::int64_t n = x.numel(), size = n + (k < 0 ? -k : k);
          numel_of(Shape{size, size}, "diag");
          Tensor places = empty({n}, DType::Int64);
          for (std::int64_t i = 0; i < n; ++i)
            reinterpret_cast<std::int64_t*>(places->data)[i] =
                (i + (k < 0 ? -k : 0)) * size + i + (k > 0 ? k : 0);
          c.out[0] = put_flat(zeros({size, size}, x.dtype()), made_of_numbers(places), x, false);
        },
};

}  // namespace

std::span<const OpDef* const> diagonal_ops() {
  static const OpDef* const ops[] = {&unfold_op, &diagonal_op, &tril_op, &triu_op, &diag_op};
  return ops;
}

}  // namespace unspool
