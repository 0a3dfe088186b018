// Functions whose results keep a history: a recording of the forward and of its backward, and how it becomes
// two.
#pragma once

#include <unordered_set>
#include <utility>
#include <vector>

#include "unspool/plan/recording.h"

namespace unspool {

struct Backward {
  bool there = false;
  std::size_t boundary = 0;        // the first step of backward
  std::vector<std::size_t> roots;  // results that have a history, by their number
  // What gradients are for, once for each that is sent there: leaves from outside, then arguments.
  std::vector<Tensor> leaves;
  std::vector<std::size_t> inputs;          // the arguments among them, by their number
  std::vector<int> cotangents;              // places
  std::vector<int> grads;                   // places, -1 where the roots do not reach
  std::unordered_set<const Storage*> held;  // by the graph that the caller has
};

// After the function has run, within the capture: runs and notes backward from those of the results that have
// a history, to all leaves that they reach and to the arguments that require a gradient.
Backward record_backward(Recording& r, const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs);

// Forward and backward as recordings of their own. Forward gives, after its results, the memory of all that
// backward reads of it; backward takes that memory, then the arguments, then the cotangents.
struct Phases {
  Recording forward, backward;
  std::size_t saved = 0;  // how many buffers go from one to the other
};
Phases split_phases(Recording r, const Backward& b);

}  // namespace unspool
