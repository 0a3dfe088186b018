// In-place writes under the tape, and views: inplace.cpp says how they keep gradients right.
#pragma once

#include "unspool/ops/op.h"

namespace unspool {

// Throws where the target of an in-place op must not be written.
void check_inplace(const Call& c);
void record_inplace(Call& c, const Tensor& target);
void note_view(const Tensor& base, const Tensor& view);

}  // namespace unspool
