// Freezing functions: captures, and plans behind their guards. Python (unspool/_compile.py) takes arguments
// and results apart and keeps the plans; here is what runs at every call.
#include "compile.h"

#include <memory>
#include <utility>

namespace unspool::python {
namespace {

thread_local std::vector<OptimizerUse>* uses_of_thread = nullptr;

struct Captured {
  Recording recording;
  std::vector<OptimizerUse> uses;
  std::vector<std::unique_ptr<PythonStep>> steps;
};
thread_local Captured* captured_now = nullptr;

// in: the leaves, as the step writes them, then their gradients.
const OpDef python_step_op = {
    .schema = "python_step(Tensor[] leaves_and_gradients, int function)",
    .cls = Class::Update,
    .shape = [](Call&) {},
    .forward =
        [](Call& c) {
          const auto& step = *static_cast<const PythonStep*>(c.attrs[0].p);
          for (std::size_t i = 0; i < step.leaves.size(); ++i)
            step.leaves[i]->grad = alias(c.in[step.leaves.size() + i]);
          step.function();
        },
    .derivative = none("it is a part of the program"),
};

// What is no group, no list or no tensor, the function itself refuses.
std::vector<Tensor> params_of(const py::handle groups) {
  std::vector<Tensor> params;
  for (const py::handle group : groups) {
    const py::handle list = PyDict_Check(group.ptr()) ? PyDict_GetItemString(group.ptr(), "params") : nullptr;
    if (!list || !PySequence_Check(list.ptr())) continue;
    for (const py::handle p : list)
      if (is_tensor(p.ptr())) params.push_back(unwrap(p.ptr()));
  }
  return params;
}

void python_step(const py::object& function, const py::object& groups) {
  if (!capturing) {
    function();
    return;
  }
  Recording& r = captured_now->recording;
  auto step = std::make_unique<PythonStep>();
  step->function = function;
  Step s;
  s.op = &python_step_op;
  s.attrs = Attrs{Attr(static_cast<void*>(step.get()))};
  s.site = sites.here ? sites.here() : 0;
  for (const Tensor& t : params_of(groups)) {
    note_gradient(t.get(), true);
    if (t->grad) step->leaves.push_back(t);
  }
  for (const Tensor& t : step->leaves) s.wrote.push_back(s.in.emplace_back(r.place_of(t)));
  for (const Tensor& t : step->leaves) s.in.push_back(r.place_of(t->grad));
  {
    const Pause pause;
    function();
  }
  r.steps.push_back(std::move(s));
  captured_now->steps.push_back(std::move(step));
}

std::vector<Tensor> tensors_of(const py::sequence& list) {
  std::vector<Tensor> all;
  for (const py::handle o : list) all.push_back(unwrap(o.ptr()));
  return all;
}

// run() calls the function and gives (result, tensors of the result).
py::tuple capture(const py::object& run, const py::sequence& inputs) {
  if (current_recording())
    fail(ErrorKind::Plan,
         "compile: a frozen function is called by another that is being frozen; call the plain one");
  auto captured = std::make_shared<Captured>();
  py::object result;
  {
    struct Uses {
      explicit Uses(Captured* captured) {
        uses_of_thread = &captured->uses;
        captured_now = captured;
      }
      ~Uses() {
        uses_of_thread = nullptr;
        captured_now = nullptr;
      }
    } uses(captured.get());
    const Capture on(captured->recording, tensors_of(inputs));
    const py::tuple both = run();
    result = both[0];
    finish(captured->recording, tensors_of(both[1]));
  }
  return py::make_tuple(result, captured);
}

// What must be as it was: an entry of a dict, the content of a closure's cell, the size of a dict.
struct Guard {
  enum Kind : std::uint8_t { Item, Cell, Size } kind;
  py::object owner, key, value;
};

bool holds(const Guard& g) {
  switch (g.kind) {
    case Guard::Size:
      return PyDict_GET_SIZE(g.owner.ptr()) == PyLong_AsSsize_t(g.value.ptr());
    case Guard::Cell:
    case Guard::Item: {
      PyObject* now = g.kind == Guard::Cell ? PyCell_GET(g.owner.ptr())
                                            : PyDict_GetItemWithError(g.owner.ptr(), g.key.ptr());
      if (now == g.value.ptr()) return true;
      if (!now || Py_TYPE(now) != Py_TYPE(g.value.ptr())) {
        PyErr_Clear();
        return false;
      }
      // Equal numbers and strings are the same setting.
      if (!(PyFloat_CheckExact(now) || PyLong_CheckExact(now) || PyUnicode_CheckExact(now) ||
            PyTuple_CheckExact(now)))
        return false;
      const int equal = PyObject_RichCompareBool(now, g.value.ptr(), Py_EQ);
      if (equal < 0) PyErr_Clear();
      return equal == 1;
    }
  }
  return false;
}

std::vector<Guard> guards_of(const py::list& guards) {
  std::vector<Guard> all;
  for (const py::handle g : guards) {
    const auto parts = py::reinterpret_borrow<py::tuple>(g);
    all.push_back({static_cast<Guard::Kind>(parts[0].cast<int>()), parts[1], parts[2], parts[3]});
  }
  return all;
}

// What tells calls apart whose tensors are of one shape and dtype: strides, and which share memory, and how.
py::bytes layout_of(const py::sequence& arguments) {
  const std::vector<Tensor> all = tensors_of(arguments);
  std::string text;
  auto put = [&](std::int64_t x) { text.append(reinterpret_cast<const char*>(&x), sizeof(x)); };
  for (std::size_t i = 0; i < all.size(); ++i) {
    put(static_cast<std::int64_t>(all[i].dtype()));
    put(all[i].ndim());
    for (std::int64_t n : all[i].shape()) put(n);
    for (std::int64_t n : all[i].strides()) put(n);
    std::size_t first = 0;
    while (all[first]->storage != all[i]->storage) ++first;
    put(static_cast<std::int64_t>(first));
    put(all[i]->data - all[first]->data);
  }
  return text;
}

// Whether two calls found the optimizers' state alike: if not, one was changed between them.
bool alike(const Captured& a, const Captured& b) {
  bool same = a.uses.size() == b.uses.size();
  for (std::size_t i = 0; same && i < a.uses.size(); ++i) {
    const auto &x = a.uses[i].updated, &y = b.uses[i].updated;
    same = x.size() == y.size();
    for (std::size_t k = 0; same && k < x.size(); ++k)
      same = x[k].updated == y[k].updated && x[k].state == y[k].state && x[k].handle == y[k].handle;
  }
  return same;
}

class FrozenFunction {
 public:
  FrozenFunction(const std::shared_ptr<Captured>& captured, const py::list& guards)
      : plan_(std::move(captured->recording)),
        uses_(std::move(captured->uses)),
        steps_(std::move(captured->steps)),
        guards_(guards_of(guards)) {}

  // The results' tensors, or None where this is not the plan for the call.
  py::object call(const py::sequence& arguments) {
    const std::vector<Tensor> inputs = tensors_of(arguments);
    for (const Guard& g : guards_)
      if (!holds(g)) return py::none();
    std::unique_lock lock(plan_.lock(), std::try_to_lock);
    if (!lock) {
      const py::gil_scoped_release others_run;
      lock.lock();
    }
    if (!plan_.fits(inputs)) return py::none();
    for (const OptimizerUse& use : uses_)
      if (!use.refresh(use, plan_)) return py::none();
    py::list results;
    for (const Tensor& t : plan_.run(inputs)) results.append(py::reinterpret_steal<py::object>(wrap(t)));
    return results;
  }
  std::string explain() const { return plan_.explain(); }
  py::dict memory() const {
    const PlanMemory m = plan_.memory();
    py::dict d;
    d["arena"] = m.arena;
    d["temporaries"] = m.temporaries;
    d["outputs"] = m.outputs;
    d["gradients"] = m.gradients;
    d["constants"] = m.constants;
    return d;
  }

 private:
  Plan plan_;
  std::vector<OptimizerUse> uses_;
  std::vector<std::unique_ptr<PythonStep>> steps_;
  std::vector<Guard> guards_;
};

}  // namespace

std::vector<OptimizerUse>* capture_uses() { return uses_of_thread; }

void refuse_in_capture(const char* op, const char* what) {
  if (!capturing) return;
  fail(ErrorKind::Plan, op, at_site(sites.here ? sites.here() : 0), ": ", what,
       " while the function is being frozen; a plan replays operations without Python. Move it out of the "
       "function, return the tensor instead, or use compile(fn, fallback=\"eager\")");
}

void bind_compile(py::module_& m) {
  py::options options;
  options.disable_function_signatures();
  py::class_<Captured, std::shared_ptr<Captured>>(m, "Captured", "What one call of a function did.")
      .def_property_readonly(
          "refusal", [](const Captured& c) { return c.recording.refusal; },
          "refusal: str\n\nWhy it cannot be frozen; empty where it can.")
      .def_property_readonly(
          "gradients",
          [](const Captured& c) {
            py::list all;
            for (const GradientSlot& g : c.recording.gradients)
              if (g.read) all.append(g.before >= 0);
            return py::tuple(all);
          },
          "gradients: tuple[bool, ...]\n\nWhich of the .grad that it read first were there.")
      .def(
          "alike", alike, py::arg("later"),
          "alike(self, later: Captured) -> bool\n\nWhether optimizers had the same parameters and state in a later call.")
      .def(
          "difference",
          [](const Captured& a, const Captured& b) { return difference(a.recording, b.recording); },
          py::arg("later"),
          "difference(self, later: Captured) -> str\n\nHow a later call was another program; empty where it was not.");
  py::class_<FrozenFunction>(m, "FrozenFunction", "A plan and its guards.")
      .def(py::init<const std::shared_ptr<Captured>&, const py::list&>(), py::arg("captured"),
           py::arg("guards"),
           "__init__(self, captured: Captured, guards: list[tuple[int, Any, Any, Any]]) -> None")
      .def(
          "__call__", &FrozenFunction::call, py::arg("tensors"),
          "__call__(self, tensors: Sequence[Tensor]) -> list[Tensor] | None\n\nOne replay; None where this plan is not "
          "for the call.")
      .def("explain", &FrozenFunction::explain, "explain(self) -> str\n\nWhat runs, an instruction a line.")
      .def("memory", &FrozenFunction::memory,
           "memory(self) -> dict[str, int]\n\nBytes, by what they are for.");
  m.def("_layout", layout_of, py::arg("tensors"),
        "_layout(tensors: Sequence[Tensor]) -> bytes\n\nDtypes, shapes, strides, and which share memory.");
  m.def(
      "_guards_hold",
      [](const py::list& guards) {
        for (const Guard& g : guards_of(guards))
          if (!holds(g)) return false;
        return true;
      },
      py::arg("guards"),
      "_guards_hold(guards: list[tuple[int, Any, Any, Any]]) -> bool\n\nWhether all is as it was.");
  m.def(
      "_python_step", python_step, py::arg("function"), py::arg("param_groups"),
      "_python_step(function: Callable[[], None], param_groups: list[dict[str, Any]]) -> None\n\nCalls a function that "
      "updates params that have a grad; a plan calls it at each replay.");
  m.def(
      "_capture", capture, py::arg("run"), py::arg("inputs"),
      "_capture(run: Callable[[], tuple[Any, Sequence[Tensor]]], inputs: Sequence[Tensor]) -> tuple[Any, Captured]\n\n"
      "Runs a function and notes what it does.");
}

}  // namespace unspool::python
