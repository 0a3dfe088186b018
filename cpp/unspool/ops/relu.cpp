// ReLU. It saves one bit an element, not its input: the mask is !(x <= 0), so that NaN passes
// through forward and backward, and the gradient is selected, not multiplied (0·inf never appears).
#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"
#include "unspool/ops/fusions.h"

namespace unspool {

// Rows of bits padded to whole words, over the elements in row-major order.
Tensor relu_mask(const Tensor& x) {
  const std::int64_t columns = x.ndim() ? x.shape()[x.ndim() - 1] : 1;
  const std::int64_t rows = columns ? x.numel() / columns : 0;
  return empty({rows, (columns + 63) / 64}, DType::Int64);
}

Tensor relu_backward(const Tensor& g, const Tensor& mask) { return call(relu_backward_op, {g, mask}); }

const OpDef relu_op = {
    .schema = "relu(Tensor input)",
    .doc = "max(x, 0) of each element. The derivative at 0 is 0; NaN passes through.",
    .grad_name = "ReluBackward0",
    .surface = kBoth | kInplace,
    .shape =
        [](Call& c) {
          if (c.in[0].dtype() == DType::Bool)
            fail(ErrorKind::DType, "relu: Boolean inputs are not supported");
          c.allocate_alike(0, c.in[0].shape(), c.in[0].dtype());
        },
    .forward =
        [](Call& c) {
          const Tensor& x = c.in[0];
          if (!is_floating(x.dtype())) {
            GradMode off(false);
            kernels().copy(c.out[0].view(), max(x, wrapped_number(std::int64_t{0})).view());
            return;
          }
          if (c.recording && !c.aux) c.aux = relu_mask(x);
          kernels().relu(c.out[0].view(), x.view(),
                         c.aux ? reinterpret_cast<std::uint64_t*>(c.aux->data) : nullptr);
        },
    .derivative = custom(
        [](const Record& r, const Tensor* g, Tensor* gx) { gx[0] = relu_backward(g[0], r.aux); },
        [](const Record& r, const Tensor* dx, Tensor* dy) { dy[0] = relu_backward(dx[0], r.aux); }, kSaveAux),
    .doctest = ">>> unspool.relu(unspool.tensor([-1.0, 0.0, 2.0]))\ntensor([0., 0., 2.])",
    .domain = Domain::NonZero,
};

const OpDef relu_backward_op = {
    .schema = "relu_backward(Tensor grad, Tensor mask)",
    .doc = "grad where the mask bit is set, 0 elsewhere.",
    .grad_name = "ReluBackwardBackward0",
    .cls = Class::Fused,
    .shape = [](Call& c) { c.allocate(0, c.in[0].shape(), c.in[0].dtype()); },
    .forward =
        [](Call& c) {
          kernels().relu_backward(c.out[0].view(), c.in[0].view(),
                                  reinterpret_cast<std::uint64_t*>(c.in[1]->data));
        },
    .derivative =
        custom([](const Record& r, const Tensor* g, Tensor* gx) { gx[0] = relu_backward(g[0], r.x(1)); },
               [](const Record& r, const Tensor* dx, Tensor* dy) { dy[0] = relu_backward(dx[0], r.x(1)); },
               kSaveIn1),
};

Tensor relu(const Tensor& x) { return call(relu_op, {x}); }

std::span<const OpDef* const> relu_ops() {
  static const OpDef* const ops[] = {&relu_op, &relu_backward_op};
  return ops;
}

}  // namespace unspool
