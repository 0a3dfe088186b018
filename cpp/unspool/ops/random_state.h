// The state of a stream of random numbers as a tensor. Reading and setting it are operations, so that a plan
// does both in their turn; null stands for the default generator.
#pragma once

#include "unspool/base/random.h"
#include "unspool/tensor/tensor.h"

namespace unspool {

Tensor generator_state(Generator* g);
// Throws RuntimeError for what is no state, and changes nothing then.
void set_generator_state(Generator* g, const Tensor& state);

}  // namespace unspool
