// Chains of elementwise operations as one instruction. chain.cpp has the pass that finds them, and the loop.
#pragma once

#include <memory>
#include <vector>

#include "unspool/ops/map.h"
#include "unspool/plan/recording.h"

namespace unspool {

extern const OpDef chain_op;

// Neighbouring elementwise steps over the same elements, made one.
void chain_maps(Recording& r);

// The operations of a chain, run on a block of elements after the other; what only the chain sees lies in
// slots of a block's size, and never in memory.
class Chain {
 public:
  // tensors: what the chain's step reads and writes, in the order of its inputs.
  Chain(const Recording& r, const Step& step, const std::vector<Tensor>& tensors);
  void run() const;

 private:
  struct Operand {
    Tensor tensor;  // null: in a slot
    int slot = -1;
    DType dtype{};
    bool single = false;  // one number for all elements
  };
  struct Part {
    decltype(MapInfo::run) run;
    int arity;
    int out, in[kMaxMapInputs];  // operands
    double params[kMaxAttrs];
  };
  void run_block(std::int64_t block, char* slots) const;

  std::int64_t n_;
  int slots_ = 0;
  std::vector<Operand> operands_;
  std::vector<Part> parts_;
};

}  // namespace unspool
