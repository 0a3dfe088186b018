// The optimizer updates as C++ functions; bindings/optim.cpp loops over the parameters.
#pragma once

#include "unspool/tensor/tensor.h"

namespace unspool {

struct SgdOptions {
  double lr, momentum, dampening, weight_decay;
  bool nesterov, maximize;
};
// `buffer` is null where momentum is 0; `first` says that it holds nothing yet.
void sgd_update(const Tensor& param, const Tensor& grad, const Tensor& buffer, const SgdOptions& o,
                bool first);

struct AdamOptions {
  double lr, beta1, beta2, eps, weight_decay;
  bool maximize, decoupled;
};
// `step` counts from 1; max_exp_avg_sq is null without amsgrad.
void adam_update(const Tensor& param, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
                 const Tensor& max_exp_avg_sq, const AdamOptions& o, double step);

struct RmspropOptions {
  double lr, alpha, eps, weight_decay, momentum;
  bool maximize;
};
// momentum_buffer is null without momentum, grad_avg where the update isn't centered.
void rmsprop_update(const Tensor& param, const Tensor& grad, const Tensor& square_avg,
                    const Tensor& momentum_buffer, const Tensor& grad_avg, const RmspropOptions& o);

}  // namespace unspool
