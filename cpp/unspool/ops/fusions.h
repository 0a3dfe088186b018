// The ops that a plan makes of others: plan/fuse.cpp looks for the ones and puts the others in their place.
#pragma once

#include "unspool/ops/op.h"

namespace unspool {

extern const OpDef linear_op, linear_relu_op, linear_backward_op;  // matmul.cpp
extern const OpDef relu_op, relu_backward_op;                      // relu.cpp

}  // namespace unspool
