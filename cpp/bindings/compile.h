// What optimizers tell a capture about themselves: optim.cpp fills it in, compile.cpp keeps it with the plan.
#pragma once

#include <vector>

#include "handle.h"
#include "unspool/plan/plan.h"

namespace unspool::python {

// A parameter of a captured step.
struct Updated {
  PyObject* handle = nullptr;  // borrowed: the optimizer holds it, and is asked again
  bool updated = false;        // it had a gradient
  std::vector<const Storage*> state;
};

struct OptimizerUse {
  py::object optimizer;
  std::size_t first_setting;  // of the recording
  std::vector<Updated> updated;
  bool (*refresh)(const OptimizerUse&, Plan&);
};

// A part of the function that stays in Python: an optimizer that is written in it. A replay gives the leaves
// their gradients and calls it.
struct PythonStep {
  py::object function;
  std::vector<Tensor> leaves;
};

std::vector<OptimizerUse>* capture_uses();  // of this thread's capture, or null

}  // namespace unspool::python
