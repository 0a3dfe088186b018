// Products of vectors, of a matrix and a vector, and of batches of matrices: outer, dot, mv, bmm. They check
// that their inputs have just these dims and leave the rest to mul and matmul.
#include "unspool/ops/blocks.h"

namespace unspool {
namespace {

void need_ndim(const Call& c, int i, int ndim, const char* what) {
  if (c.in[i].ndim() != ndim)
    fail(ErrorKind::Shape, name_of(*c.op), ": ", what, " must be ", ndim, "-D, got shape ", c.in[i].shape());
}
void need_one_dtype(const Call& c) {
  if (c.in[0].dtype() != c.in[1].dtype())
    fail(ErrorKind::DType, name_of(*c.op), ": expected both to have the same dtype, got ",
         name(c.in[0].dtype()), " and ", name(c.in[1].dtype()));
}

constexpr OpDef outer_op = {
    .schema = "outer(Tensor input, Tensor vec2)",
    .doc = "All products of the elements of two vectors: (n), (m) → (n, m).",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          need_ndim(c, 0, 1, "input");
          need_ndim(c, 1, 1, "vec2");
          c.out[0] = unsqueeze(c.in[0], 1) * c.in[1];
        },
};
constexpr OpDef dot_op = {
    .schema = "dot(Tensor input, Tensor tensor)",
    .doc = "The sum of the products of two vectors of one length.",
    .grad_name = "DotBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          need_ndim(c, 0, 1, "input");
          need_ndim(c, 1, 1, "tensor");
          need_one_dtype(c);
          if (c.in[0].numel() != c.in[1].numel())
            fail(ErrorKind::Shape,
                 "dot: inconsistent tensor size, expected the same number of elements, but got ",
                 c.in[0].numel(), " and ", c.in[1].numel());
          c.out[0] = to(sum(c.in[0] * c.in[1]), c.in[0].dtype());
        },
    .wide = true,
};
constexpr OpDef mv_op = {
    .schema = "mv(Tensor input, Tensor vec)",
    .doc = "A matrix times a vector: (n, m)·(m) → (n).",
    .grad_name = "MvBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          need_ndim(c, 0, 2, "input");
          need_ndim(c, 1, 1, "vec");
          c.out[0] = matmul(c.in[0], c.in[1]);
        },
};
constexpr OpDef bmm_op = {
    .schema = "bmm(Tensor input, Tensor mat2)",
    .doc = "Matrix by matrix over one batch dim: (b, n, m)·(b, m, k) → (b, n, k).",
    .grad_name = "BmmBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          need_ndim(c, 0, 3, "batch1");
          need_ndim(c, 1, 3, "batch2");
          if (c.in[0].shape()[0] != c.in[1].shape()[0])
            fail(ErrorKind::Shape, "bmm: batch sizes differ; input has shape ", c.in[0].shape(),
                 ", mat2 has shape ", c.in[1].shape());
          c.out[0] = matmul(c.in[0], c.in[1]);
        },
};

}  // namespace

std::span<const OpDef* const> product_ops() {
  static const OpDef* const ops[] = {&outer_op, &dot_op, &mv_op, &bmm_op};
  return ops;
}

}  // namespace unspool
