// Names and documentation of the layers' activation functions. Formulas: activations.h.
#include "unspool/ops/elementwise_rule.h"

namespace unspool {
namespace {

template <class F>
constexpr OpDef activation(const char* schema, const char* doc, const char* grad_name) {
  return {.schema = schema,
          .doc = doc,
          .grad_name = grad_name,
          .surface = kFunction,
          .map = map_id<F>,
          .derivative = elementwise<F>()};
}

constexpr OpDef leaky_relu_op =
    activation<LeakyRelu>("leaky_relu(Tensor input, Scalar negative_slope=0.01)",
                          "x where x > 0, negative_slope · x elsewhere.", "LeakyReluBackward0");
constexpr OpDef elu_op = activation<Elu>(
    "elu(Tensor input, Scalar alpha=1.0, Scalar scale=1.0, Scalar input_scale=1.0)",
    "scale · x where x > 0, scale · alpha · (e^(input_scale · x) - 1) elsewhere.", "EluBackward0");
constexpr OpDef gelu_op =
    activation<Gelu>("gelu(Tensor input, *, {none,tanh} approximate='none')",
                     "x Φ(x) with the normal distribution's Φ, or tanh in its place.", "GeluBackward0");
constexpr OpDef silu_op = activation<Silu>("silu(Tensor input)", "x sigmoid(x).", "SiluBackward0");
constexpr OpDef mish_op = activation<Mish>("mish(Tensor input)", "x tanh(softplus(x)).", "MishBackward0");
constexpr OpDef softplus_op = activation<Softplus>(
    "softplus(Tensor input, Scalar beta=1.0, Scalar threshold=20.0)",
    "ln(1 + e^(beta x)) / beta; x itself where beta x > threshold.", "SoftplusBackward0");
constexpr OpDef log_sigmoid_op = activation<LogSigmoid>(
    "log_sigmoid(Tensor input)", "ln sigmoid(x), without overflow.", "LogSigmoidBackward0");
constexpr OpDef hardtanh_op = activation<Hardtanh>(
    "hardtanh(Tensor input, Scalar min_val=-1.0, Scalar max_val=1.0)",
    "x brought into [min_val, max_val]; the derivative is 0 at the bounds.", "HardtanhBackward0");
constexpr OpDef hardsigmoid_op =
    activation<Hardsigmoid>("hardsigmoid(Tensor input)", "relu6(x + 3) / 6.", "HardsigmoidBackward0");
constexpr OpDef hardswish_op =
    activation<Hardswish>("hardswish(Tensor input)", "x relu6(x + 3) / 6.", "HardswishBackward0");
constexpr OpDef prelu_op =
    activation<Prelu>("_prelu_kernel(Tensor input, Tensor weight)",
                      "x where x > 0, weight · x elsewhere; broadcast.", "PreluKernelBackward0");

}  // namespace

std::span<const OpDef* const> activation_ops() {
  static const OpDef* const ops[] = {&leaky_relu_op,  &elu_op,       &gelu_op,        &silu_op,
                                     &mish_op,        &softplus_op,  &log_sigmoid_op, &hardtanh_op,
                                     &hardsigmoid_op, &hardswish_op, &prelu_op};
  return ops;
}

}  // namespace unspool
