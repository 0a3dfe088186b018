// The two readers of recorded calls: the reverse sweep (gradients) and the tangent sweep.
#pragma once

#include <span>
#include <vector>

#include "unspool/tensor/tensor.h"

namespace unspool {

struct SweepOptions {
  bool retain_graph = false;
  bool create_graph = false;
};

// Adds d(roots)/d(leaf), weighted by `grads` (null: 1 for a single element), to the `.grad` of
// every leaf that the roots reach; of `inputs` alone, where any are given.
void backward(std::span<const Tensor> roots, std::span<const Tensor> grads, std::span<const Tensor> inputs,
              const SweepOptions& options);

// The gradients with respect to `inputs` as values; null for one that the roots do not reach.
Vector<Tensor> grad(std::span<const Tensor> roots, std::span<const Tensor> grads,
                    std::span<const Tensor> inputs, const SweepOptions& options);

// Each input's gradient as what is sent to it, one by one and in that order, not added up. What lies behind
// an input is not visited.
std::vector<std::vector<Tensor>> contributions(std::span<const Tensor> roots, std::span<const Tensor> grads,
                                               std::span<const Tensor> inputs, const SweepOptions& options);

// The tangents of `outputs` for tangents of `inputs`, by one pass over the graph that the
// outputs' forward pass recorded. Null for an output that no input reaches.
Vector<Tensor> jvp(std::span<const Tensor> outputs, std::span<const Tensor> inputs,
                   std::span<const Tensor> tangents);

// Whether some thread's reverse sweep is running.
bool sweeping();

// While on, a gradient with NaN is an error that names the call that it came from.
bool anomaly_mode();
bool set_anomaly_mode(bool on);  // returns the previous

}  // namespace unspool
