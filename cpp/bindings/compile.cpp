// Freezing functions: captures, and plans behind their guards. Python (unspool/_compile.py) takes arguments
// and results apart and keeps the plans; here is what runs at every call.
#include "compile.h"

#include <memory>
#include <utility>

#include "guards.h"

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

constexpr std::int64_t kStepsBetweenSignals = 64;  // a look at them costs as much as a tenth of a small step

// A plan, and which calls it is for. Arguments come as a structure (None where they are given one by one, by
// position) and its leaves.
class FrozenFunction {
 public:
  // rebuild: makes the function's result of its tensors; None where it is one tensor.
  FrozenFunction(const std::shared_ptr<Captured>& captured, const py::list& guards, py::object structure,
                 const py::sequence& leaves, py::object rebuild)
      : plan_(std::move(captured->recording)),
        uses_(std::move(captured->uses)),
        steps_(std::move(captured->steps)),
        guards_(guards),
        structure_(std::move(structure)),
        leaves_(leaves.begin(), leaves.end()),
        rebuild_(std::move(rebuild)),
        grad_(grad_enabled()) {
    for (py::object& leaf : leaves_)
      if (is_tensor(leaf.ptr())) leaf = py::object();
  }

  // A new reference to the result of the last of so many replays; null, without an error, where this is not
  // the plan for the call.
  PyObject* call(PyObject* structure, std::span<PyObject* const> leaves, std::int64_t times = 1) {
    if (leaves.size() != leaves_.size() || grad_ != grad_enabled()) return nullptr;
    if (structure != structure_.ptr() && !equal(structure, structure_.ptr())) return nullptr;
    for (std::size_t i = 0; i < leaves.size(); ++i)
      if (!leaves_[i] ? !is_tensor(leaves[i]) : !same_value(leaves[i], leaves_[i].ptr())) return nullptr;
    if (!guards_.hold()) return nullptr;
    std::unique_lock lock(plan_.lock(), std::try_to_lock);
    if (!lock) {
      const py::gil_scoped_release others_run;
      lock.lock();
    }
    const Emptied scratch{inputs_, results_};
    for (std::size_t i = 0; i < leaves.size(); ++i)
      if (!leaves_[i]) inputs_.push_back(unwrap(leaves[i]));
    if (!plan_.fits(inputs_)) return nullptr;
    for (const OptimizerUse& use : uses_)
      if (!use.refresh(use, plan_)) return nullptr;
    for (std::int64_t i = 0; i < times; ++i) {
      results_.clear();
      plan_.run(inputs_, results_);
      if (i % kStepsBetweenSignals == kStepsBetweenSignals - 1 && PyErr_CheckSignals() != 0) return nullptr;
    }
    if (rebuild_.is_none()) return wrap(results_[0]);
    py::list tensors;
    for (const Tensor& t : results_) tensors.append(py::reinterpret_steal<py::object>(wrap(t)));
    return rebuild_(tensors).release().ptr();
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
  struct Emptied {
    std::vector<Tensor>&a, &b;
    ~Emptied() {
      a.clear();
      b.clear();
    }
  };
  static bool equal(PyObject* a, PyObject* b) {
    const int same = PyObject_RichCompareBool(a, b, Py_EQ);
    if (same < 0) PyErr_Clear();
    return same == 1;
  }

  Plan plan_;
  std::vector<OptimizerUse> uses_;
  std::vector<std::unique_ptr<PythonStep>> steps_;
  Guards guards_;
  py::object structure_;
  std::vector<py::object> leaves_;  // null where a tensor is
  py::object rebuild_;
  bool grad_;
  std::vector<Tensor> inputs_, results_;  // of the call that has the lock: kept for their memory
};

// The plans of one function, latest first.
class Plans {
 public:
  void add(std::shared_ptr<FrozenFunction> plan, std::size_t most) {
    plans_.insert(plans_.begin(), std::move(plan));
    if (plans_.size() > most) plans_.resize(most);
  }
  py::list all() const {
    py::list list;
    for (const auto& plan : plans_) list.append(plan);
    return list;
  }
  PyObject* call(PyObject* structure, std::span<PyObject* const> leaves, std::int64_t times = 1) const {
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      const std::shared_ptr<FrozenFunction> plan = plans_[i];  // the call may change the list
      if (PyObject* result = plan->call(structure, leaves, times)) return result;
      if (PyErr_Occurred()) return nullptr;
    }
    return Py_NewRef(Py_NotImplemented);
  }

 private:
  std::vector<std::shared_ptr<FrozenFunction>> plans_;
};

// replay(structure, *leaves): no pybind11 call, which costs as much as all else around a small replay.
PyObject* replay(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  const auto* plans = static_cast<const Plans*>(PyCapsule_GetPointer(self, nullptr));
  return guarded([&] { return plans->call(args[0], {args + 1, static_cast<std::size_t>(n - 1)}); });
}
// Of plans that live as long as what is returned.
py::object replayer(const std::shared_ptr<Plans>& plans) {
  static PyMethodDef def = {"replay", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(replay)),
                            METH_FASTCALL, nullptr};
  auto* own = new std::shared_ptr<Plans>(plans);
  PyObject* capsule = PyCapsule_New(plans.get(), nullptr, [](PyObject* c) {
    delete static_cast<std::shared_ptr<Plans>*>(PyCapsule_GetContext(c));
  });
  if (!capsule || PyCapsule_SetContext(capsule, own) != 0) throw py::error_already_set();
  const auto held = py::reinterpret_steal<py::object>(capsule);
  return py::reinterpret_steal<py::object>(PyCFunction_NewEx(&def, held.ptr(), nullptr));
}

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
  py::class_<FrozenFunction, std::shared_ptr<FrozenFunction>>(m, "FrozenFunction", "A plan and its guards.")
      .def(py::init<const std::shared_ptr<Captured>&, const py::list&, py::object, const py::sequence&,
                    py::object>(),
           py::arg("captured"), py::arg("guards"), py::arg("structure"), py::arg("leaves"),
           py::arg("rebuild"),
           "__init__(self, captured: Captured, guards: list[tuple[int, Any, Any, Any]], structure: Any, "
           "leaves: Sequence[Any], rebuild: Callable[[list[Tensor]], Any] | None) -> None")
      .def("explain", &FrozenFunction::explain, "explain(self) -> str\n\nWhat runs, an instruction a line.")
      .def("memory", &FrozenFunction::memory,
           "memory(self) -> dict[str, int]\n\nBytes, by what they are for.");
  py::class_<Plans, std::shared_ptr<Plans>>(m, "Plans", "The plans of one function.")
      .def(py::init<>(), "__init__(self) -> None")
      .def(
          "add", &Plans::add, py::arg("plan"), py::arg("most"),
          "add(self, plan: FrozenFunction, most: int) -> None\n\nPuts a plan first, and drops the last of more than "
          "`most`.")
      .def("all", &Plans::all, "all(self) -> list[FrozenFunction]\n\nThe plans, latest first.")
      .def(
          "repeat",
          [](const Plans& plans, std::int64_t times, const py::object& structure,
             const py::sequence& leaves) {
            const std::vector<py::object> held(leaves.begin(), leaves.end());
            std::vector<PyObject*> all;
            for (const py::object& leaf : held) all.push_back(leaf.ptr());
            PyObject* result = plans.call(structure.ptr(), all, times);
            if (!result) throw py::error_already_set();
            return py::reinterpret_steal<py::object>(result);
          },
          py::arg("times"), py::arg("structure"), py::arg("leaves"),
          "repeat(self, times: int, structure: Any, leaves: Sequence[Any]) -> Any\n\nThe last of so many replays; "
          "NotImplemented where no plan is for the call.")
      .def(
          "replayer", replayer,
          "replayer(self) -> Callable[..., Any]\n\nreplay(structure, *leaves): one replay of the plan that is for the "
          "call; NotImplemented where there is none.");
  m.def("_layout", layout_of, py::arg("tensors"),
        "_layout(tensors: Sequence[Tensor]) -> bytes\n\nDtypes, shapes, strides, and which share memory.");
  m.def(
      "_guards_hold", [](const py::list& guards) { return Guards(guards).hold(); }, py::arg("guards"),
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
