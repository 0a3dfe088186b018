// float16 and bfloat16 are storage: an op that does not just move elements runs in float32 between two
// conversions, both of which are recorded. So no kernel but copies and no derivative rule knows these types.
// Views, writes in place (which convert what they write) and ops with `takes_halves` run as they are; of
// composites the parts take that way, or all of it together (`wide`).
#pragma once

#include "unspool/ops/op.h"

namespace unspool {

// Whether this call must take that way.
bool needs_floats(const OpDef& op, std::span<const Tensor> in, const AttrsView& attrs);

// x, as float32 where it has 16 bits: for composites that read elements.
Tensor readable(const Tensor& x);

// Runs the call in float32. Its results have the dtype that PyTorch gives them.
void call_in_floats(Call& c, std::span<Tensor> in, const AttrsView& attrs);

// Mixed precision, of this thread: while it is on, products take float32 inputs as `to`, and losses take
// inputs of 16 bits as float32; the conversions are recorded.
struct Autocast {
  bool on = false;
  DType to = DType::BFloat16;
  bool operator==(const Autocast&) const = default;
};
Autocast autocast();
void set_autocast(const Autocast& state);
void convert_for_autocast(const OpDef& op, std::span<Tensor> in);

}  // namespace unspool
