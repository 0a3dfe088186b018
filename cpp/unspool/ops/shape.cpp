// Views that show all of the input: view, reshape, the order of dims, sizes of 1. Shapes and strides
// change, no element moves. Parts of a tensor are in parts.cpp.
#include <utility>

#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"
#include "unspool/ops/view.h"

namespace unspool {
namespace {

// ---- view, reshape, flatten ----------------------------------------------------------------------

// A size of -1 stands for what is left.
Shape resolve(const char* op, const Shape& x, const Shape& asked) {
  Shape shape = asked;
  int open = -1;
  std::int64_t known = 1;
  for (int d = 0; d < shape.ndim; ++d) {
    if (shape[d] == -1) {
      if (open >= 0) fail(ErrorKind::Runtime, op, ": only one dimension can be inferred; size is ", asked);
      open = d;
    } else if (shape[d] < -1) {
      fail(ErrorKind::Runtime, op, ": invalid shape dimension ", shape[d], "; size is ", asked);
    } else if (__builtin_mul_overflow(known, shape[d], &known)) {
      fail_memory(op, asked, "more elements than memory can address");
    }
  }
  const std::int64_t n = numel_of(x, op);
  if (open >= 0) {
    if (known == 0 && n == 0)
      fail(ErrorKind::Runtime, op, ": cannot reshape a tensor of 0 elements into shape ", asked,
           " because the unspecified dimension size -1 can be any value and is ambiguous");
    if (known == 0 || n % known != 0)
      fail(ErrorKind::Shape, op, ": shape ", asked, " is invalid for input of size ", n, "; input has shape ",
           x);
    shape[open] = n / known;
  } else if (known != n) {
    fail(ErrorKind::Shape, op, ": shape ", asked, " is invalid for input of size ", n, "; input has shape ",
         x);
  }
  return shape;
}

// The strides of `shape` over x's memory, if x's dims can be split and joined into it.
bool view_strides(const Tensor& x, const Shape& shape, Strides& out) {
  if (x.contiguous() || x.numel() == 0) {
    out = contiguous_strides(shape);
    return true;
  }
  out.ndim = shape.ndim;
  int to = shape.ndim - 1;
  for (int from = x.ndim() - 1; from >= 0;) {
    // A run of x's dims that are dense among themselves.
    const std::int64_t step = x.strides()[from];
    std::int64_t run = x.shape()[from];
    for (--from; from >= 0 && (x.shape()[from] == 1 || x.strides()[from] == step * run); --from)
      run *= x.shape()[from];
    std::int64_t used = 1;
    while (to >= 0 && (used < run || shape[to] == 1)) {
      out[to] = step * used;
      used *= shape[to];
      --to;
    }
    if (used != run) return false;
  }
  for (; to >= 0; --to) out[to] = 1;
  return true;
}

const OpDef view_op = {
    .schema = "view(Tensor input, int[]* size)",
    .doc =
        "The same elements in another shape, without a copy. One size may be -1. Raises "
        "RuntimeError where the strides do not allow it; reshape copies there.",
    .grad_name = "ViewBackward0",
    .surface = kMethod,
    .cls = Class::View,
    .shape =
        [](Call& c) {
          const Shape shape = resolve("view", c.in[0].shape(), c.attrs.list(0));
          Strides strides;
          if (!view_strides(c.in[0], shape, strides))
            fail(ErrorKind::Runtime, "view: size ", shape, " is not compatible with input of shape ",
                 c.in[0].shape(), " and stride ", c.in[0].strides(),
                 " (at least one dimension spans across two contiguous subspaces). Use "
                 ".reshape(...) instead");
          make_view(c, shape, strides, c.in[0]->offset());
        },
    .forward = no_kernel,
    .derivative = {[](const Record& r, const Tensor* g, Tensor* gx) { gx[0] = reshape(g[0], r.shape(0)); },
                   [](const Record& r, const Tensor* dx, Tensor* dy) {
                     dy[0] = reshape(dx[0], resolve("view", r.shape(0), r.attrs.list(0)));
                   },
                   {},
                   nullptr},
};

// The copy of a reshape whose strides allow no view: a tensor of its own, no view of one.
const OpDef reshape_copy_op = {
    .schema = "reshape_copy(Tensor input, int[] shape)",
    .grad_name = "UnsafeViewBackward0",
    .cls = Class::Fused,
    .shape = [](Call& c) { c.allocate(0, c.attrs.list(0), c.in[0].dtype()); },
    .forward =
        [](Call& c) {
          const Tensor& x = c.in[0];
          kernels().copy({c.out[0]->data, x.dtype(), x.shape(), contiguous_strides(x.shape())}, x.view());
        },
    .derivative =
        linear([](const Record& r, const Tensor* g, Tensor* gx) { gx[0] = reshape(g[0], r.shape(0)); }),
};

// The same bytes as other numbers; the last dim takes up a difference in size.
const OpDef view_dtype_op = {
    .schema = "view(Tensor input, DType dtype)",
    .doc =
        "The same memory read as another dtype; of another size, the last dim grows or shrinks. Without history.",
    .surface = kMethod,
    .cls = Class::View,
    .composite =
        [](Call& c) {
          const Tensor& x = c.in[0];
          const DType dtype = c.attrs[0].dtype();
          const auto from = static_cast<std::int64_t>(item_size(x.dtype()));
          const auto to = static_cast<std::int64_t>(item_size(dtype));
          Shape shape = x.shape();
          Strides strides = x.strides();
          bool fits = true;
          if (from != to) {
            const int last = x.ndim() - 1;
            if (last < 0)
              fail(ErrorKind::Runtime, "view: a 0-d tensor of ", name(x.dtype()), " can't be read as ",
                   name(dtype), ", which has another size");
            fits = strides[last] == 1 || shape[last] * from == to;
            shape[last] = shape[last] * from / to;
            fits &= x.shape()[last] * from % to == 0 && x->offset() * from % to == 0;
            for (int d = 0; d < last; ++d) {
              fits &= strides[d] * from % to == 0;
              strides[d] = strides[d] * from / to;
            }
            strides[last] = 1;
          }
          if (!fits)
            fail(ErrorKind::Runtime, "view: shape ", x.shape(), ", stride ", x.strides(), " and offset ",
                 x->offset(), " of ", name(x.dtype()), " can't be read as ", name(dtype));
          Tensor y = alias(x);
          y->dtype = dtype;
          y->shape = shape;
          y->strides = strides;
          y->numel = numel_of(shape, "view");
          y->contiguous = is_contiguous(shape, strides);
          c.out[0] = std::move(y);
        },
};

const OpDef reshape_op = {
    .schema = "reshape(Tensor input, int[]* shape)",
    .doc =
        "The same elements in another shape: a view where the strides allow it, a copy "
        "otherwise. One size may be -1.",
    .surface = kBoth,
    .cls = Class::View,
    .composite = [](Call& c) { c.out[0] = reshape(c.in[0], c.attrs.list(0)); },
    .doctest =
        ">>> unspool.reshape(unspool.tensor([1, 2, 3, 4]), (2, 2))\n"
        "tensor([[1, 2],\n        [3, 4]])",
};

const OpDef flatten_op = {
    .schema = "flatten(Tensor input, int start_dim=0, int end_dim=-1)",
    .doc = "The dims from start_dim to end_dim joined into one.",
    .surface = kBoth,
    .cls = Class::View,
    .composite =
        [](Call& c) {
          const Tensor& x = c.in[0];
          const int start = wrap_dim("flatten", c.attrs.i(0), x.ndim());
          const int end = wrap_dim("flatten", c.attrs.i(1), x.ndim());
          if (start > end)
            fail(ErrorKind::Runtime, "flatten: start_dim ", c.attrs.i(0), " cannot come after end_dim ",
                 c.attrs.i(1));
          Shape shape;
          std::int64_t joined = 1;
          for (int d = 0; d < x.ndim(); ++d) {
            if (d < start || d > end) shape.push(x.shape()[d]);
            if (d >= start && d <= end) joined *= x.shape()[d];
            if (d == end) shape.push(joined);
          }
          c.out[0] = reshape(x, x.ndim() ? shape : Shape{1});
        },
};

// ---- The order of dims -----------------------------------------------------------------------------

const OpDef transpose_op = {
    .schema = "transpose(Tensor input, int dim0, int dim1)",
    .doc = "A view with two dims exchanged.",
    .grad_name = "TransposeBackward0",
    .surface = kBoth,
    .cls = Class::View,
    .shape =
        [](Call& c) {
          const Tensor& x = c.in[0];
          const int a = wrap_dim("transpose", c.attrs.i(0), x.ndim());
          const int b = wrap_dim("transpose", c.attrs.i(1), x.ndim());
          Shape shape = x.shape();
          Strides strides = x.strides();
          if (x.ndim()) {
            std::swap(shape[a], shape[b]);
            std::swap(strides[a], strides[b]);
          }
          make_view(c, shape, strides, x->offset());
        },
    .forward = no_kernel,
    .derivative = linear([](const Record& r, const Tensor* g, Tensor* gx) {
      gx[0] = transpose(g[0], r.attrs.i(0), r.attrs.i(1));
    }),
};

const OpDef t_op = {
    .schema = "t(Tensor input)",
    .doc = "The transpose of a matrix; a vector or a 0-d tensor as it is.",
    .grad_name = "TBackward0",
    .surface = kBoth,
    .cls = Class::View,
    .composite =
        [](Call& c) {
          if (c.in[0].ndim() > 2)
            fail(ErrorKind::Shape, "t: expects a tensor with <= 2 dimensions, but input has shape ",
                 c.in[0].shape());
          c.out[0] = c.in[0].ndim() == 2 ? transpose(c.in[0], 0, 1) : view(c.in[0], c.in[0].shape());
        },
};

Dims full_order(const char* op, const Dims& dims, int ndim) {
  if (dims.ndim != ndim)
    fail(ErrorKind::Runtime, op, ": dims ", dims, " must name each of the ", ndim,
         " dimensions of the input once");
  Dims order;
  unsigned seen = 0;
  for (std::int64_t d : dims) {
    const int w = wrap_dim(op, d, ndim);
    if ((seen >> w) & 1) fail(ErrorKind::Runtime, op, ": duplicate dims are not allowed, got ", dims);
    seen |= 1u << w;
    order.push(w);
  }
  return order;
}

const OpDef permute_op = {
    .schema = "permute(Tensor input, int[]* dims)",
    .doc = "A view with the dims in another order.",
    .grad_name = "PermuteBackward0",
    .surface = kBoth,
    .cls = Class::View,
    .shape =
        [](Call& c) {
          const Tensor& x = c.in[0];
          const Dims order = full_order("permute", c.attrs.list(0), x.ndim());
          Shape shape;
          Strides strides;
          for (std::int64_t d : order) {
            shape.push(x.shape()[static_cast<int>(d)]);
            strides.push(x.strides()[static_cast<int>(d)]);
          }
          make_view(c, shape, strides, x->offset());
        },
    .forward = no_kernel,
    .derivative = linear([](const Record& r, const Tensor* g, Tensor* gx) {
      const Dims order = full_order("permute", r.attrs.list(0), r.shape(0).ndim);
      Dims inverse = order;
      for (int d = 0; d < order.ndim; ++d) inverse[static_cast<int>(order[d])] = d;
      gx[0] = permute(g[0], inverse);
    }),
};

// ---- Sizes of 1 --------------------------------------------------------------------------------------

const OpDef expand_op = {
    .schema = "expand(Tensor input, int[]* size)",
    .doc = "A view in which dims of size 1 repeat to `size` without a copy; -1 keeps a size.",
    .grad_name = "ExpandBackward0",
    .surface = kMethod,
    .cls = Class::View,
    .shape =
        [](Call& c) {
          const Tensor& x = c.in[0];
          Shape shape = c.attrs.list(0);
          const int lead = shape.ndim - x.ndim();
          if (lead < 0)
            fail(ErrorKind::Shape, "expand: the number of sizes provided (", shape.ndim,
                 ") must be greater or equal to the number of dimensions in the tensor (", x.ndim(), ")");
          Strides strides;
          for (int d = 0; d < shape.ndim; ++d) {
            const bool fresh = d < lead;
            const std::int64_t size = fresh ? 1 : x.shape()[d - lead];
            if (shape[d] == -1 && !fresh) shape[d] = size;
            if (shape[d] < 0 || (size != 1 && size != shape[d]))
              fail(ErrorKind::Shape, "expand: input of shape ", x.shape(), " cannot be expanded to size ",
                   c.attrs.list(0), "; dimension ", d, " has size ", size);
            strides.push(fresh || (size == 1 && shape[d] != 1) ? 0 : x.strides()[d - lead]);
          }
          numel_of(shape, "expand");
          make_view(c, shape, strides, x->offset());
        },
    .forward = no_kernel,
    // The engine sums a gradient down to the input's shape.
    .derivative = linear([](const Record&, const Tensor* g, Tensor* gx) { gx[0] = g[0]; }),
};

const OpDef unsqueeze_op = {
    .schema = "unsqueeze(Tensor input, int dim)",
    .doc = "A view with a dim of size 1 put in at `dim`.",
    .grad_name = "UnsqueezeBackward0",
    .surface = kBoth,
    .cls = Class::View,
    .shape =
        [](Call& c) {
          const Tensor& x = c.in[0];
          const int dim = wrap_dim("unsqueeze", c.attrs.i(0), x.ndim() + 1);
          Shape shape = x.shape();
          Strides strides = x.strides();
          strides.insert(dim, dim < x.ndim() ? x.shape()[dim] * x.strides()[dim] : 1);
          shape.insert(dim, 1);
          make_view(c, shape, strides, x->offset());
        },
    .forward = no_kernel,
    .derivative =
        linear([](const Record& r, const Tensor* g, Tensor* gx) { gx[0] = reshape(g[0], r.shape(0)); }),
};

void squeeze_shape(Call& c) {
  const Tensor& x = c.in[0];
  unsigned gone = ~0u;
  if (c.attrs.n_lists) {
    gone = 0;
    for (std::int64_t d : c.attrs.list(0)) gone |= 1u << wrap_dim("squeeze", d, x.ndim());
  }
  Shape shape;
  Strides strides;
  for (int d = 0; d < x.ndim(); ++d) {
    if (x.shape()[d] == 1 && ((gone >> d) & 1)) continue;
    shape.push(x.shape()[d]);
    strides.push(x.strides()[d]);
  }
  make_view(c, shape, strides, x->offset());
}
constexpr Derivative kSqueeze =
    linear([](const Record& r, const Tensor* g, Tensor* gx) { gx[0] = reshape(g[0], r.shape(0)); });

const OpDef squeeze_all_op = {
    .schema = "squeeze(Tensor input)",
    .doc = "A view without the dims of size 1.",
    .grad_name = "SqueezeBackward0",
    .surface = kBoth,
    .cls = Class::View,
    .shape = squeeze_shape,
    .forward = no_kernel,
    .derivative = kSqueeze,
};
const OpDef squeeze_op = {
    .schema = "squeeze(Tensor input, int[] dim)",
    .doc = "A view without those of the dims `dim` that have size 1.",
    .grad_name = "SqueezeBackward1",
    .surface = kBoth,
    .cls = Class::View,
    .shape = squeeze_shape,
    .forward = no_kernel,
    .derivative = kSqueeze,
};

}  // namespace

Tensor view(const Tensor& x, const Shape& shape) { return call(view_op, {x}, {{}, {shape}}); }
Tensor reshape(const Tensor& x, const Shape& shape) {
  const Shape resolved = resolve("reshape", x.shape(), shape);
  Strides strides;
  return view_strides(x, resolved, strides) ? view(x, resolved)
                                            : call(reshape_copy_op, {x}, {{}, {resolved}});
}
Tensor transpose(const Tensor& x, std::int64_t dim0, std::int64_t dim1) {
  return call(transpose_op, {x}, {dim0, dim1});
}
Tensor permute(const Tensor& x, const Dims& dims) { return call(permute_op, {x}, {{}, {dims}}); }
Tensor expand(const Tensor& x, const Shape& shape) { return call(expand_op, {x}, {{}, {shape}}); }
Tensor squeeze(const Tensor& x, std::int64_t dim) { return call(squeeze_op, {x}, {{}, {Dims{dim}}}); }
Tensor unsqueeze(const Tensor& x, std::int64_t dim) { return call(unsqueeze_op, {x}, {dim}); }

std::span<const OpDef* const> shape_ops() {
  static const OpDef* const ops[] = {
      &view_op, &view_dtype_op, &reshape_copy_op, &reshape_op,   &flatten_op,     &transpose_op,
      &t_op,    &permute_op,    &expand_op,       &unsqueeze_op, &squeeze_all_op, &squeeze_op};
  return ops;
}

}  // namespace unspool
