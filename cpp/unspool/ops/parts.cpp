// Views of a part: select, slice, narrow; and as_strided, which the tape makes of a stale view.
#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"
#include "unspool/ops/view.h"

namespace unspool {
namespace {

std::int64_t wrap_index(const char* op, std::int64_t index, std::int64_t size, int dim) {
  if (index < -size || index >= size)
    fail(ErrorKind::Index, op, ": index ", index, " is out of bounds for dimension ", dim, " with size ",
         size);
  return index < 0 ? index + size : index;
}

// Zeros of the input's shape with g at the place of the part: the transpose of select and slice.
extern const OpDef embed_op;
Tensor embed(const Tensor& g, const Record& r, std::int64_t dim, std::int64_t start, std::int64_t stop,
             std::int64_t step) {
  return call(embed_op, {g}, {{dim, start, stop, step}, {r.shape(0)}});
}

const OpDef embed_op = {
    .schema = "embed(Tensor grad, int[] size, int dim, int start, int stop, int step)",
    .grad_name = "SliceBackwardBackward0",
    .cls = Class::Fused,
    .shape = [](Call& c) { c.allocate(0, c.attrs.list(0), c.in[0].dtype()); },
    .forward =
        [](Call& c) {
          GradMode off(false);
          kernels().fill(c.out[0].view(), 0.0, 0);
          const Tensor part = slice(c.out[0], c.attrs.i(0), c.attrs.i(1), c.attrs.i(2), c.attrs.i(3));
          View in = c.in[0].view();
          in.shape = part.shape();
          kernels().copy(part.view(), in);
        },
    .derivative = linear([](const Record& r, const Tensor* g, Tensor* gx) {
      gx[0] = slice(g[0], r.attrs.i(0), r.attrs.i(1), r.attrs.i(2), r.attrs.i(3));
    }),
};

const OpDef select_op = {
    .schema = "select(Tensor input, int dim, int index)",
    .doc = "A view of the slice at `index` along `dim`, which vanishes.",
    .grad_name = "SelectBackward0",
    .surface = kBoth,
    .cls = Class::View,
    .shape =
        [](Call& c) {
          const Tensor& x = c.in[0];
          if (x.ndim() == 0) fail(ErrorKind::Index, "select: cannot be applied to a 0-dim tensor");
          const int dim = wrap_dim("select", c.attrs.i(0), x.ndim());
          const std::int64_t i = wrap_index("select", c.attrs.i(1), x.shape()[dim], dim);
          Shape shape = x.shape();
          Strides strides = x.strides();
          const std::int64_t offset = x->offset() + i * strides[dim];
          shape.erase(dim);
          strides.erase(dim);
          make_view(c, shape, strides, offset);
        },
    .forward = no_kernel,
    .derivative = linear([](const Record& r, const Tensor* g, Tensor* gx) {
      const int dim = wrap_dim("select", r.attrs.i(0), r.shape(0).ndim);
      const std::int64_t i = wrap_index("select", r.attrs.i(1), r.shape(0)[dim], dim);
      gx[0] = embed(unsqueeze(g[0], dim), r, dim, i, i + 1, 1);
    }),
};

// Python's slice rules for a positive step.
std::int64_t clip(std::int64_t i, std::int64_t size) {
  if (i < 0) i += size;
  return i < 0 ? 0 : i > size ? size : i;
}

const OpDef slice_op = {
    .schema = "slice(Tensor input, int dim, int start, int stop, int step)",
    .doc = "A view of every step-th slice from start to stop along `dim`.",
    .grad_name = "SliceBackward0",
    .cls = Class::View,
    .shape =
        [](Call& c) {
          const Tensor& x = c.in[0];
          const int dim = wrap_dim("slice", c.attrs.i(0), x.ndim());
          const std::int64_t size = x.shape()[dim], step = c.attrs.i(3);
          if (step <= 0) fail(ErrorKind::Value, "slice: step must be greater than zero, got ", step);
          const std::int64_t start = clip(c.attrs.i(1), size), stop = clip(c.attrs.i(2), size);
          Shape shape = x.shape();
          Strides strides = x.strides();
          shape[dim] = stop > start ? (stop - start - 1) / step + 1 : 0;
          strides[dim] *= step;
          const std::int64_t at = shape[dim] ? start : 0;  // an empty part starts inside, too
          make_view(c, shape, strides, x->offset() + at * x.strides()[dim]);
        },
    .forward = no_kernel,
    .derivative = linear([](const Record& r, const Tensor* g, Tensor* gx) {
      gx[0] = embed(g[0], r, r.attrs.i(0), r.attrs.i(1), r.attrs.i(2), r.attrs.i(3));
    }),
};

const OpDef narrow_op = {
    .schema = "narrow(Tensor input, int dim, int start, int length)",
    .doc = "A view of `length` slices from `start` along `dim`.",
    .surface = kBoth,
    .cls = Class::View,
    .composite =
        [](Call& c) {
          const Tensor& x = c.in[0];
          if (x.ndim() == 0) fail(ErrorKind::Runtime, "narrow: cannot be applied to a 0-dim tensor");
          const int dim = wrap_dim("narrow", c.attrs.i(0), x.ndim());
          const std::int64_t size = x.shape()[dim], length = c.attrs.i(2);
          std::int64_t start = c.attrs.i(1);
          if (start < -size || start > size)
            fail(ErrorKind::Index, "narrow: start ", start, " is out of range for dimension ", dim,
                 " of size ", size);
          if (start < 0) start += size;
          if (length < 0 || start + length > size)
            fail(ErrorKind::Runtime, "narrow: start (", start, ") + length (", length,
                 ") exceeds dimension size (", size, ")");
          c.out[0] = slice(x, dim, start, start + length, 1);
        },
};

// ---- as_strided: what the tape makes of a stale view -----------------------------------------------------

// attrs: offset from the input's first element; lists: shape, strides, and the strides of the input, which
// a gradient or tangent of it is given before it is read by offsets.
const OpDef as_strided_backward_op = {
    .schema =
        "as_strided_backward(Tensor grad, int offset, int[] size, int[] stride, int[] base_stride, int[] base)",
    .grad_name = "AsStridedBackwardBackward0",
    .cls = Class::Fused,
    .shape = [](Call& c) { c.allocate(0, c.attrs.list(3), c.attrs.list(2), c.in[0].dtype()); },
    .forward =
        [](Call& c) {
          // Elements that the view shows twice add up.
          kernels().fill(c.out[0].view(), 0.0, 0);
          const Tensor g = contiguous(c.in[0]);
          const Shape& shape = c.attrs.list(0);
          const Strides& strides = c.attrs.list(1);
          visit_floating(g.dtype(), [&]<class T>() {
            const T* from = reinterpret_cast<const T*>(g->data);
            T* to = reinterpret_cast<T*>(c.out[0]->data) + c.attrs.i(0);
            for (std::int64_t i = 0; i < g.numel(); ++i) {
              std::int64_t rest = i, at = 0;
              for (int d = shape.ndim - 1; d >= 0; --d) {
                at += rest % shape[d] * strides[d];
                rest /= shape[d];
              }
              to[at] += from[i];
            }
          });
        },
    .derivative = linear([](const Record& r, const Tensor* g, Tensor* gx) {
      gx[0] = as_strided(laid_out(g[0], r.attrs.list(2)), r.attrs.list(0), r.attrs.list(1), r.attrs.i(0));
    }),
};

const OpDef as_strided_op = {
    .schema = "as_strided(Tensor input, int offset, int[] size, int[] stride, int[] base_stride)",
    .grad_name = "AsStridedBackward0",
    .cls = Class::View,
    .shape =
        [](Call& c) { make_view(c, c.attrs.list(0), c.attrs.list(1), c.in[0]->offset() + c.attrs.i(0)); },
    .forward = no_kernel,
    .derivative = {[](const Record& r, const Tensor* g, Tensor* gx) {
                     gx[0] = call(
                         as_strided_backward_op, {g[0]},
                         {{r.attrs[0]}, {r.attrs.list(0), r.attrs.list(1), r.attrs.list(2), r.shape(0)}});
                   },
                   [](const Record& r, const Tensor* dx, Tensor* dy) {
                     dy[0] = as_strided(laid_out(dx[0], r.attrs.list(2)), r.attrs.list(0), r.attrs.list(1),
                                        r.attrs.i(0));
                   },
                   {},
                   nullptr},
};

// Whether all elements of a view lie between the first and the last one of a tensor without gaps.
bool inside(const Tensor& t, const Dims& size, const Dims& stride, std::int64_t offset) {
  if (!is_dense(t.shape(), t.strides())) return false;
  std::int64_t last = offset;
  for (int d = 0; d < size.ndim; ++d) {
    if (size[d] == 0) return offset >= t->offset() && offset <= t->offset() + t.numel();
    last += (size[d] - 1) * stride[d];
  }
  return offset >= t->offset() && last < t->offset() + t.numel();
}

void check_storage(const Tensor& t, const Dims& size, const Dims& stride, std::int64_t offset) {
  if (size.ndim != stride.ndim)
    fail(ErrorKind::Runtime, "as_strided: mismatch in length of strides and shape: size ", size, ", stride ",
         stride);
  if (offset < 0) fail(ErrorKind::Runtime, "as_strided: invalid storage offset ", offset);
  const std::int64_t item = static_cast<std::int64_t>(item_size(t.dtype()));
  const std::int64_t held = t->storage->bytes / item;
  numel_of(size, "as_strided");  // negative sizes and overflow
  __int128 last = offset;
  for (int d = 0; d < size.ndim; ++d) {
    if (stride[d] < 0)
      fail(ErrorKind::Runtime, "as_strided: Negative strides are not supported; got strides: ", stride);
    if (size[d] == 0) return;
    last += static_cast<__int128>(size[d] - 1) * stride[d];
  }
  if (last >= held)
    fail(ErrorKind::Runtime, "as_strided: sizes ", size, ", strides ", stride, ", storage offset ", offset,
         " are out of bounds for storage of size ", held);
}

constexpr OpDef as_strided_public_op = {
    .schema = "as_strided(Tensor input, int[] size, int[] stride, int? storage_offset=None)",
    .doc =
        "A view of the tensor's storage with these sizes and strides, in elements from the start of the storage. "
        "RuntimeError where an element would lie outside of the storage.",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const Tensor& x = c.in[0];
          const Dims &size = c.attrs.list(0), &stride = c.attrs.list(1);
          const std::int64_t offset = c.attrs.given(0) ? c.attrs.i(0) : x->offset();
          check_storage(x, size, stride, offset);
          // Its history is that of a tensor that covers it: x, or what x is a view of.
          for (const Tensor& whole : {x, x->view ? x->view->base : x})
            if (inside(whole, size, stride, offset)) {
              c.out[0] = as_strided(whole, size, stride, offset - whole->offset());
              return;
            }
          if (x.requires_grad())
            fail(ErrorKind::Runtime, "as_strided: of a tensor that requires grad, only its own elements in ",
                 "memory without gaps; shape ", x.shape(), ", strides ", x.strides(),
                 ". Call it on detach() or contiguous()");
          c.out[0] = alias(x, size, stride, offset);
        },
};

}  // namespace

const OpDef as_strided_scatter_op = {
    .schema =
        "as_strided_scatter(Tensor input, Tensor value, int offset, int[] size, int[] stride, int[] base_stride)",
    .grad_name = "CopySlices",
    .cls = Class::Fused,
    .shape = [](Call& c) { c.allocate(0, c.in[0].shape(), c.attrs.list(2), c.in[0].dtype()); },
    .forward =
        [](Call& c) {
          kernels().copy(c.out[0].view(), c.in[0].view());
          const Tensor part =
              alias(c.out[0], c.attrs.list(0), c.attrs.list(1), c.out[0]->offset() + c.attrs.i(0));
          kernels().copy(part.view(), c.in[1].view());
        },
    .derivative = {[](const Record& r, const Tensor* g, Tensor* gx) {
                     const Tensor alike = laid_out(g[0], r.attrs.list(2));
                     if (r.needs(0))
                       gx[0] = as_strided_scatter(alike, zeros(r.shape(1), g[0].dtype()), r.attrs.list(0),
                                                  r.attrs.list(1), r.attrs.i(0));
                     if (r.needs(1))
                       gx[1] = as_strided(alike, r.attrs.list(0), r.attrs.list(1), r.attrs.i(0));
                   },
                   [](const Record& r, const Tensor* dx, Tensor* dy) {
                     const DType d = r.dtype(0);
                     const Tensor base = laid_out(dx[0] ? dx[0] : zeros(r.shape(0), d), r.attrs.list(2));
                     const Tensor value = dx[1] ? dx[1] : zeros(r.shape(1), d);
                     dy[0] = as_strided_scatter(base, value, r.attrs.list(0), r.attrs.list(1), r.attrs.i(0));
                   },
                   {},
                   nullptr},
};

Tensor select(const Tensor& x, std::int64_t dim, std::int64_t index) {
  return call(select_op, {x}, {dim, index});
}
Tensor slice(const Tensor& x, std::int64_t dim, std::int64_t start, std::int64_t stop, std::int64_t step) {
  return call(slice_op, {x}, {dim, start, stop, step});
}
Tensor narrow(const Tensor& x, std::int64_t dim, std::int64_t start, std::int64_t length) {
  return call(narrow_op, {x}, {dim, start, length});
}
Tensor as_strided(const Tensor& x, const Shape& shape, const Strides& strides, std::int64_t offset) {
  return call(as_strided_op, {x}, {{offset}, {shape, strides, x.strides()}});
}
Tensor as_strided_scatter(const Tensor& x, const Tensor& value, const Shape& shape, const Strides& strides,
                          std::int64_t offset) {
  return call(as_strided_scatter_op, {x, value}, {{offset}, {shape, strides, x.strides()}});
}

std::span<const OpDef* const> part_ops() {
  static const OpDef* const ops[] = {&embed_op,
                                     &select_op,
                                     &slice_op,
                                     &narrow_op,
                                     &as_strided_backward_op,
                                     &as_strided_public_op,
                                     &as_strided_op,
                                     &as_strided_scatter_op};
  return ops;
}

}  // namespace unspool
