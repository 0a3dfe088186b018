// What optimizers tell a capture about themselves: optim.cpp fills it in, compile.cpp keeps it with the plan.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "handle.h"
#include "unspool/base/random.h"
#include "unspool/plan/phases.h"
#include "unspool/plan/plan.h"

namespace unspool::python {

// A parameter of a captured step.
struct Updated {
  PyObject* handle = nullptr;  // borrowed: the optimizer holds it, and is asked again
  bool updated = false;        // it had a gradient
  std::vector<const Storage*> state;
};

// What was read when the settings were last found to be the same: as long as these dicts and lists have not
// changed, they still are.
struct Unchanged {
  std::vector<std::pair<py::object, std::uint64_t>> dicts;            // and their versions
  std::vector<std::pair<py::object, std::vector<py::object>>> lists;  // and their items
  std::vector<std::pair<const TensorImpl*, const Storage*>> state;    // of tensors that the dicts hold
  bool holds() const;
};

struct OptimizerUse {
  py::object optimizer;
  std::size_t first_setting;  // of the recording
  std::vector<Updated> updated;
  bool (*refresh)(OptimizerUse&, Plan&);
  Unchanged unchanged;
};

// A part of the function that stays in Python: an optimizer that is written in it. A replay gives the leaves
// their gradients and calls it.
struct PythonStep {
  py::object function;
  std::vector<Tensor> leaves;
  py::object optimizer;
  std::vector<Tensor> params;  // which it had
  bool holds() const;          // and has
  bool hooked() const;         // the program's own functions are called within, also after the update
};

// Dicts of an optimizer's state, as they were.
class StateBefore {
 public:
  // each: is told of the tensors in it.
  void keep(const py::object& state, const std::function<void(const Tensor&)>& each);
  void put_back() const;
  void clear() { dicts_.clear(); }

 private:
  std::vector<std::pair<py::dict, py::dict>> dicts_;  // and copies
};

// A check of numbers whose error is made in Python.
struct PythonCheck {
  py::object error;  // of the offending number, the exception
};

// A stream of random numbers that the function uses.
struct Drawn {
  py::object object;  // keeps it; the default one lives as long as the program
  Generator* generator;
  Generator before;  // as it was when the function first used it
};

// What one call of a function did.
struct Captured {
  Recording recording;
  std::vector<OptimizerUse> uses;
  std::vector<std::unique_ptr<PythonStep>> steps;
  std::vector<std::unique_ptr<PythonCheck>> checks;
  std::vector<Drawn> generators;
  StateBefore state;  // of optimizers, until the function has returned
  struct Mark {
    Tensor leaf;
    std::uint64_t mark;      // see mark_of
    const Storage* storage;  // where it lay: `.data =` moves it
  };
  std::vector<Mark> marks;  // of the leaves that it read
  Backward backward;
};

std::vector<Tensor> tensors_of(const py::sequence& list);
py::list list_of(std::span<const Tensor> tensors);
void bind_frozen(py::module_& m);   // frozen.cpp
void bind_batches(py::module_& m);  // batches.cpp
void refuse_nested();               // another frozen function is called while this thread records one
// Another number where the leaf requires a gradient no longer, or has other hooks.
std::uint64_t mark_of(const TensorImpl& leaf);
void keep_state(const py::object& state);  // an optimizer's, before a step within the capture of this thread
void note_generator(PyObject* o, Generator& g);  // that the capture of this thread uses it
std::vector<OptimizerUse>* capture_uses();       // of this thread's capture, or null

}  // namespace unspool::python
