// Several tensors into one: cat and stack.
#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"

namespace unspool {
namespace {

// Where each input lies in the result; attrs: dim (wrapped).
template <class F>
void each_part(const Shape* shapes, int n, int dim, F&& f) {
  std::int64_t start = 0;
  for (int i = 0; i < n; ++i) {
    f(i, start, shapes[i][dim]);
    start += shapes[i][dim];
  }
}

const OpDef cat_op = {
    .schema = "cat_same_ndim(Tensor[] tensors, int dim)",
    .grad_name = "CatBackward0",
    .cls = Class::Fused,
    .promote = Promote::Common,
    .shape =
        [](Call& c) {
          const int dim = static_cast<int>(c.attrs.i(0));
          Shape shape = c.in[0].shape();
          for (std::size_t i = 1; i < c.in.size(); ++i) {
            const Shape& s = c.in[i].shape();
            bool fits = s.ndim == shape.ndim;
            for (int d = 0; fits && d < s.ndim; ++d) fits = d == dim || s[d] == shape[d];
            if (!fits)
              fail(ErrorKind::Shape, "cat: Sizes of tensors must match except in dimension ", dim,
                   "; tensors[0] has shape ", c.in[0].shape(), ", tensors[", i, "] has shape ", s);
            shape[dim] += s[dim];
          }
          c.allocate(0, shape, c.in[0].dtype());
        },
    .forward =
        [](Call& c) {
          const int dim = static_cast<int>(c.attrs.i(0));
          View part = c.out[0].view();
          const std::int64_t step = part.strides[dim] * static_cast<std::int64_t>(item_size(part.dtype));
          for (const Tensor& t : c.in) {
            part.shape[dim] = t.shape()[dim];
            kernels().copy(part, t.view());
            part.data = static_cast<char*>(part.data) + t.shape()[dim] * step;
          }
        },
    .derivative = custom(
        [](const Record& r, const Tensor* g, Tensor* gx) {
          const int dim = static_cast<int>(r.attrs.i(0));
          each_part(r.shapes_in, r.n_in, dim, [&](int i, std::int64_t start, std::int64_t length) {
            if (r.needs(i)) gx[i] = slice(g[0], dim, start, start + length, 1);
          });
        },
        [](const Record& r, const Tensor* dx, Tensor* dy) {
          Vector<Tensor> parts;
          parts.reserve(static_cast<std::size_t>(r.n_in));
          for (int i = 0; i < r.n_in; ++i) parts.push_back(dx[i] ? dx[i] : zeros(r.shape(i), r.dtype(i)));
          dy[0] = cat(parts, r.attrs.i(0));
        }),
    .takes_halves = true,
};

const OpDef cat_any_op = {
    .schema = "cat(Tensor[] tensors, int dim=0)",
    .doc = "The tensors one after the other along an existing dim; all other sizes are equal.",
    .surface = kFunction,
    .cls = Class::Fused,
    .composite = [](Call& c) { c.out[0] = cat(c.in, c.attrs.i(0)); },
    .doctest =
        ">>> unspool.cat([unspool.tensor([1]), unspool.tensor([2, 3])])\n"
        "tensor([1, 2, 3])",
};

const OpDef stack_op = {
    .schema = "stack(Tensor[] tensors, int dim=0)",
    .doc = "The tensors, all of one shape, along a new dim.",
    .surface = kFunction,
    .cls = Class::Fused,
    .composite =
        [](Call& c) {
          if (c.in.empty()) fail(ErrorKind::Runtime, "stack: expects a non-empty list of tensors, got 0");
          Vector<Tensor> parts;
          for (std::size_t i = 0; i < c.in.size(); ++i) {
            const Tensor& t = c.in[i];
            if (!(t.shape() == c.in[0].shape()))
              fail(ErrorKind::Shape,
                   "stack: expects each tensor to be equal size; tensors[0] has "
                   "shape ",
                   c.in[0].shape(), ", tensors[", i, "] has shape ", t.shape());
            parts.push_back(unsqueeze(t, wrap_dim("stack", c.attrs.i(0), t.ndim() + 1)));
          }
          c.out[0] = cat(parts, wrap_dim("stack", c.attrs.i(0), parts[0].ndim()));
        },
};

}  // namespace

Tensor cat(std::span<const Tensor> tensors, std::int64_t dim) {
  if (tensors.empty()) fail(ErrorKind::Value, "cat: expects a non-empty list of tensors, got 0");
  // A 1-D tensor of no elements fits anywhere, as in PyTorch.
  Vector<Tensor> parts;
  ResultType type;  // to which such a tensor contributes, too
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].ndim() == 0)
      fail(ErrorKind::Runtime, "cat: zero-dimensional tensor (at position ", i, ") cannot be concatenated");
    type.add(tensors[i]);
    if (!(tensors[i].shape() == Shape{0})) parts.push_back(tensors[i]);
  }
  if (parts.empty()) parts.push_back(tensors[0]);
  parts[0] = to(parts[0], type.get());
  const int wrapped = wrap_dim("cat", dim, parts[0].ndim());
  return call(cat_op, std::span<Tensor>(parts), Attrs{wrapped});
}

std::span<const OpDef* const> join_ops() {
  static const OpDef* const ops[] = {&cat_any_op, &stack_op, &cat_op};
  return ops;
}

}  // namespace unspool
