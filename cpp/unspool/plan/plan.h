// A plan: a recorded function with its memory laid out, replayed by one loop without Python. Start at
// Plan::run. Made of a Recording by the passes fuse (fuse.cpp) and memory (memory.cpp), in freeze.cpp.
#pragma once

#include <algorithm>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <tuple>

#include "unspool/base/random.h"
#include "unspool/plan/budget.h"
#include "unspool/plan/chain.h"

namespace unspool {

// ---- Passes, each a function on the recording ----------------------------------------------------------

// Drops steps whose results nobody reads, and makes two steps one where an op does both.
void fuse(Recording& r);
// How many steps touch each buffer; what is visible from outside counts as touched once more.
std::vector<int> touches(const Recording& r);
// The step that makes a linear layer's gradients and updates its weight: parts are the two.
extern const OpDef linear_update_op;
// Whether a step runs a function of the layers above: it is never left out, and looks after its own threads.
bool calls_out(const Step& s);
// Whether it may raise in a replay.
bool raises(const Recording& r, const Step& s);
// Whether it takes numbers from a stream of random ones, or sets it.
bool draws(const Step& s);
// Takes out the steps that are marked.
void erase(Recording& r, const std::vector<bool>& gone);

// Where each temporary buffer lies in the arena: from its first step to its last it overlaps no other that
// lives then. Offsets of buffers that do not lie there are -1.
struct Layout {
  std::vector<std::int64_t> offset;
  std::int64_t bytes = 0;      // of the arena
  std::int64_t temporary = 0;  // of all buffers in it, one after the other
};
std::int64_t arena_bytes(const Buffer& b);  // what it takes there
// From the first step that touches a buffer to the last; of no bytes where it does not lie in the arena.
struct Life {
  std::int64_t bytes = 0;
  std::size_t first = std::numeric_limits<std::size_t>::max(), last = 0;
  void touch(std::size_t step) {
    first = std::min(first, step);
    last = step;
  }
};
Layout lay_out(const std::vector<Life>& lives, std::size_t steps);
// `own`: buffers with memory of their own.
Layout lay_out(const Recording& r, const std::vector<bool>& own);

// ---- The plan --------------------------------------------------------------------------------------------

struct Instruction {
  Call call;
  Attrs attrs;
  std::vector<Tensor> in, given;  // what the call has, and the plan's own where `checks`
  Tensor out[kMaxOutputs], aux;   // the plan's: a kernel may put tensors of its own into the call
  bool checks = false;        // indices and labels are other ones at each replay: the op looks at them again
  bool alone = false;         // no other thread may change what it reads meanwhile, nor draw random numbers
  bool alone_always = false;  // also where the arguments are the caller's own
  bool whole = false;
  int fused = 1;  // how many recorded steps this is
  bool again = false;
  std::int64_t flops = 0;
  std::uint32_t site = 0;
  std::unique_ptr<Bound> bound;  // the kernel, where the op has it so
  std::unique_ptr<Chain> chain;
  std::vector<const OpDef*> parts;      // of the chain
  std::unique_ptr<Instruction> update;  // by the gradient of the weight, result 1
  explicit Instruction(const OpDef& op) : call(op) {}
};

std::string label_of(const Instruction& i);                // the op's name, or those of a chain
std::int64_t flops_of(const Recording& r, const Step& s);  // of products; multiply-adds count two
std::int64_t bytes_of(const Instruction& i);               // read and written

// A step as a picture shows it.
struct DrawnStep {
  std::string name, shape, site;
  std::vector<int> reads, writes;  // buffers
};
std::vector<DrawnStep> drawn(const Recording& r);

struct PlanMemory {
  std::int64_t arena, temporaries, outputs, gradients, constants;
  Recomputed recomputed;
};

class Plan {
 public:
  // `given`: so many first arguments are another plan's results, which nobody else writes.
  // budget: of bytes for the arena, or negative for none.
  explicit Plan(Recording r, std::size_t given = 0, std::int64_t budget = -1);

  // Whether these arguments are of the dtypes, shapes, strides and aliasing that were recorded, and all that
  // the plan reads and writes elsewhere lies where it lay. As run(), under lock().
  bool fits(std::span<const Tensor> inputs);
  // Appends the gradients that it reads, which come after the arguments; false where there is none.
  bool take_gradients(std::vector<Tensor>& inputs) const;
  // Whether a replay leaves gradients as it wants them, so that another may follow.
  bool repeats() const;
  // Tensors from outside that were leaves, as they were recorded.
  const std::vector<Tensor>& leaves() const { return r_.leaves; }
  // Whether it has instructions during which no other thread may run Python, although nobody else has the
  // arguments.
  bool alone() const;
  // One call; the results are fresh tensors, or the argument or outside tensor that the function returned.
  // Not by two threads at once: lock() first.
  void run(std::span<const Tensor> inputs, std::vector<Tensor>& results);
  std::mutex& lock() { return mutex_; }

  // The attribute that is setting i of the recording.
  Attr& setting(std::size_t i);
  // Whether the last instruction that may raise is the one that calls this function of the layers above.
  bool raises_last_in(const void* function) const;
  std::string explain() const;
  const std::vector<DrawnStep>& before_fusion() const { return before_fusion_; }
  const Recording& recording() const { return r_; }  // after fusion
  PlanMemory memory() const;

 private:
  // A buffer whose memory is another one at every call, and the plan's tensors that show it.
  struct Moving {
    int buffer;
    Tensor base;
    std::vector<std::pair<Tensor, std::int64_t>> tensors;  // and their offsets in bytes
    std::int64_t bytes = 0;
    bool gradient = false;
    bool undone = false;             // where a replay raises, what lay there must lie there still
    std::vector<std::size_t> slots;  // the gradients that lie there after a replay
  };
  // Memory from outside that is written before an instruction that may raise, and what was there.
  struct Before {
    Tensor at;  // where it begins
    std::vector<char> bytes;
  };
  Tensor tensor_at(int place);
  std::unique_ptr<Instruction> instruction_of(const Step& s);
  void bind(const Moving& m, Storage* storage) const;
  void renew(Moving& m);
  void find_undone();
  void keep_undone();
  void put_back_undone();
  bool is_free(const Moving& m) const;
  bool aliases_as_recorded(std::span<const Tensor> inputs);

  std::vector<DrawnStep> before_fusion_;
  std::mutex mutex_;
  std::size_t own_;
  Recording r_;
  Layout layout_;
  Tensor arena_;
  std::vector<Tensor> at_place_;  // the plan's tensor of each place
  std::vector<Tensor> base_;      // of each buffer that does not lie in the arena
  std::vector<int> moving_of_;    // of each buffer: its number in moving_, or -1
  std::vector<Moving> moving_;
  std::vector<std::unique_ptr<Instruction>> instructions_;
  std::vector<std::pair<int, int>> restored_;  // constants that a step writes: buffer, first place
  std::vector<std::pair<Tensor, Storage*>> leaves_;
  std::vector<const Storage*> outside_;                              // in the order of addresses
  std::size_t input_buffers_ = 0;                                    // that inputs after own_ lie in
  std::vector<std::tuple<const Storage*, int, const char*>> shown_;  // scratch of aliases_as_recorded
  std::vector<std::pair<int, int>> written_;  // buffers from outside that are written: and the input, or -1
  // (result, gradient slot) where the function returned what it left in .grad: one tensor, not two of one
  // memory.
  std::vector<std::pair<std::size_t, std::size_t>> returned_gradients_;
  Recomputed recomputed_;
  const Step* raises_last_ = nullptr;  // of the steps
  std::vector<Before> undone_;
  std::vector<std::pair<Generator*, Generator>> streams_;  // of random numbers, and how they were
  std::int64_t work_ = 0;                                  // of a replay, about nanoseconds of one core
};

}  // namespace unspool
