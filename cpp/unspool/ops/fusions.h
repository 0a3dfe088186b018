// The ops that a plan makes of others: plan/fuse.cpp looks for the ones and puts the others in their place.
#pragma once

#include "unspool/ops/update.h"

namespace unspool {

extern const OpDef linear_op, linear_relu_op, linear_backward_op;  // matmul.cpp
extern const OpDef relu_op, relu_backward_op;                      // relu.cpp
// loss.cpp: a loss, its gradient, and both at once.
extern const OpDef mse_op, mse_backward_op, mse_with_gradient_op;
extern const OpDef cross_entropy_rows_op, cross_entropy_backward_op, cross_entropy_with_gradient_op;

}  // namespace unspool
