// What a capture must know before it is too late: an operation is about to write into memory, also within the
// kernel of another, as one that keeps running statistics. plan/capture.cpp installs it.
#pragma once

#include "unspool/tensor/tensor.h"

namespace unspool {

extern void (*before_write)(const Tensor& target);

}  // namespace unspool
