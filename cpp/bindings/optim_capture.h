// What a captured step tells the plan about its optimizer.
#pragma once

#include <vector>

#include "optim_rules.h"

namespace unspool::python {

// One parameter's update.
struct Update {
  std::size_t rule = 0;
  bool first = false;  // its state is new
  Tensor in[6]{};
};

// Tells the capture which numbers of the steps to come are settings of this optimizer.
template <class Rule>
void note_use(PyObject* optimizer, const std::vector<Rule>& rules, const std::vector<Update>& updates);

}  // namespace unspool::python
