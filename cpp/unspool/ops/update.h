// The optimizer updates as C++ functions; bindings/optim.cpp loops over the parameters.
#pragma once

#include <array>
#include <span>
#include <variant>

#include "unspool/kernels/table.h"
#include "unspool/ops/op.h"

namespace unspool {

struct SgdOptions {
  double lr, momentum, dampening, weight_decay;
  bool nesterov, maximize;
};
// in: param, grad, momentum_buffer, which is null where momentum is 0; `first` says that it holds nothing
// yet.
void sgd_update(std::span<Tensor, 3> in, const Attrs& attrs);
Attrs attrs_of(const SgdOptions& o, bool first);

struct AdamOptions {
  double lr, beta1, beta2, eps, weight_decay;
  bool maximize, decoupled;
};
// in: param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq, which is null without amsgrad, and step, the number
// of updates before this one, which counts up.
void adam_update(std::span<Tensor, 6> in, const Attrs& attrs);
Attrs attrs_of(const AdamOptions& o);

struct RmspropOptions {
  double lr, alpha, eps, weight_decay, momentum;
  bool maximize;
};
// in: param, grad, square_avg, momentum_buffer, which is null without momentum, grad_avg, null where the
// update isn't centered, and step.
void rmsprop_update(std::span<Tensor, 6> in, const Attrs& attrs);
Attrs attrs_of(const RmspropOptions& o);

// One of these updates, of dense tensors of float32 or float64, on some elements at a time: a gradient that
// is being made is used while it is at hand. Made once for a step, which it counts.
class UpdateParts {
 public:
  explicit UpdateParts(const Call& c);
  // Of `rows` pieces of `count` elements each, `apart` elements from one to the next.
  void operator()(std::int64_t first, std::int64_t count, std::int64_t rows, std::int64_t apart) const;
  // Two of the tensors beside the gradient that an update reads.
  std::array<const void*, 2> reads() const;

 private:
  std::variant<SgdCall, AdamCall, RmspropCall> call_;
};
bool updates_in_parts(const OpDef& op);

}  // namespace unspool
