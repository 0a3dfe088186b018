// softmax and log_softmax, shifted by the maximum. The kernels work on rows; another dim is moved
// to the end first.
#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"

namespace unspool {
namespace {

View rows(const Tensor& t) {
  const std::int64_t n = t.ndim() ? t.shape()[t.ndim() - 1] : 1;
  return {t->data, t.dtype(), {n ? t.numel() / n : 0, n}, {n, 1}};
}

void rows_shape(Call& c) {
  for (Tensor& t : c.in) t = contiguous(t);
  c.allocate(0, c.in[0].shape(), c.in[0].dtype());
}

const OpDef softmax_backward_op = {
    .schema = "softmax_backward(Tensor grad, Tensor output)",
    .cls = Class::Fused,
    .shape = rows_shape,
    .forward = [](Call& c) { kernels().softmax_backward(rows(c.out[0]), rows(c.in[0]), rows(c.in[1])); },
};

// The Jacobian diag(y) - y yᵀ is symmetric: gradient and tangent have one formula.
Tensor through_softmax(const Tensor& y, const Tensor& g) { return y * (g - sum(g * y, {-1}, true)); }

const OpDef softmax_rows_op = {
    .schema = "softmax_rows(Tensor input)",
    .grad_name = "SoftmaxBackward0",
    .cls = Class::Fused,
    .shape = rows_shape,
    .forward = [](Call& c) { kernels().softmax(rows(c.out[0]), rows(c.in[0])); },
    .derivative = custom(
        [](const Record& r, const Tensor* g, Tensor* gx) {
          gx[0] = r.taped ? through_softmax(r.y, g[0]) : call(softmax_backward_op, {g[0], r.y});
        },
        [](const Record& r, const Tensor* dx, Tensor* dy) { dy[0] = through_softmax(r.y, dx[0]); }, kSaveOut),
};

const OpDef log_softmax_backward_op = {
    .schema = "log_softmax_backward(Tensor grad, Tensor output)",
    .cls = Class::Fused,
    .shape = rows_shape,
    .forward = [](Call& c) { kernels().log_softmax_backward(rows(c.out[0]), rows(c.in[0]), rows(c.in[1])); },
};

const OpDef log_softmax_rows_op = {
    .schema = "log_softmax_rows(Tensor input)",
    .grad_name = "LogSoftmaxBackward0",
    .cls = Class::Fused,
    .shape = rows_shape,
    .forward = [](Call& c) { kernels().log_softmax(rows(c.out[0]), rows(c.in[0])); },
    .derivative = custom(
        [](const Record& r, const Tensor* g, Tensor* gx) {
          gx[0] =
              r.taped ? g[0] - exp(r.y) * sum(g[0], {-1}, true) : call(log_softmax_backward_op, {g[0], r.y});
        },
        [](const Record& r, const Tensor* dx, Tensor* dy) {
          dy[0] = dx[0] - sum(exp(r.y) * dx[0], {-1}, true);
        },
        kSaveOut),
};

template <const OpDef& rows_op>
void along_dim(Call& c) {
  Tensor x = c.in[0];
  const std::string name = name_of(*c.op);
  const int dim = wrap_dim(name.c_str(), c.attrs.i(0), x.ndim());
  if (c.attrs.given(1)) x = to(x, c.attrs[1].dtype());
  if (!is_floating(x.dtype()))
    fail(ErrorKind::DType, name, ": not implemented for '", unspool::name(x.dtype()),
         "'; pass dtype= or convert it");
  const bool last = dim >= x.ndim() - 1;
  const Tensor y = call(rows_op, {last ? x : transpose(x, dim, -1)});
  c.out[0] = last ? y : contiguous(transpose(y, dim, -1));
}

constexpr OpDef softmax_op = {
    .schema = "softmax(Tensor input, int dim, DType? dtype=None)",
    .doc = "e^x over its sum along dim. A row of -inf alone is NaN.",
    .grad_name = "SoftmaxBackward0",
    .surface = kBoth,
    .cls = Class::Fused,
    .composite = along_dim<softmax_rows_op>,
    .doctest = ">>> unspool.softmax(unspool.tensor([0.0, 0.0]), 0)\ntensor([0.5000, 0.5000])",
};

constexpr OpDef log_softmax_op = {
    .schema = "log_softmax(Tensor input, int dim, DType? dtype=None)",
    .doc = "The logarithm of softmax, computed without underflow.",
    .grad_name = "LogSoftmaxBackward0",
    .surface = kBoth,
    .cls = Class::Fused,
    .composite = along_dim<log_softmax_rows_op>,
};

}  // namespace

std::span<const OpDef* const> softmax_ops() {
  static const OpDef* const ops[] = {&softmax_op,          &log_softmax_op,      &softmax_rows_op,
                                     &log_softmax_rows_op, &softmax_backward_op, &log_softmax_backward_op};
  return ops;
}

Tensor log_softmax(const Tensor& x, std::int64_t dim) { return call(log_softmax_op, {x}, {dim, Attr()}); }
Tensor softmax(const Tensor& x, std::int64_t dim) { return call(softmax_op, {x}, {dim, Attr()}); }

}  // namespace unspool
