// Plans behind their guards: what runs at every call of a frozen function. Start at FrozenFunction::call.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <utility>

#include "compile.h"
#include "guards.h"
#include "unspool/base/pool.h"
#include "unspool/ops/halves.h"
#include "unspool/ops/ops.h"
#include "unspool/plan/batches.h"

namespace unspool::python {
namespace {

constexpr std::int64_t kStepsBetweenSignals = 64;  // a look at them costs as much as a tenth of a small step

// What a thread has switched on, on which a recording depends.
struct Modes {
  bool grad = grad_enabled();
  Autocast mixed = autocast();
  bool operator==(const Modes&) const = default;
};

// A plan, and which calls it is for. Arguments come as a structure (None where they are given one by one, by
// position) and its leaves.
class FrozenFunction {
 public:
  // rebuild: makes the function's result of its tensors; None where it is one tensor.
  FrozenFunction(const std::shared_ptr<Captured>& captured, const py::list& guards, py::object structure,
                 const py::sequence& leaves, py::object rebuild, py::object apply, std::int64_t budget)
      : FrozenFunction(phases_of(*captured), *captured, guards, std::move(structure), leaves,
                       std::move(rebuild), std::move(apply), budget) {}
  FrozenFunction(Phases phases, Captured& captured, const py::list& guards, py::object structure,
                 const py::sequence& leaves, py::object rebuild, py::object apply, std::int64_t budget)
      : plan_(std::move(phases.forward), 0, budget),
        uses_(std::move(captured.uses)),
        steps_(std::move(captured.steps)),
        checks_(std::move(captured.checks)),
        generators_(std::move(captured.generators)),
        guards_(guards),
        structure_(std::move(structure)),
        leaves_(leaves.begin(), leaves.end()),
        rebuild_(std::move(rebuild)),
        apply_(std::move(apply)) {
    record_.there = captured.backward.there;
    for (py::object& leaf : leaves_) {
      if (!is_tensor(leaf.ptr())) continue;
      wants_.push_back(unwrap(leaf.ptr()).requires_grad());
      leaf = py::object();
    }
    for (const Tensor& t : plan_.leaves()) marks_.push_back(mark(t));
    find_pinned(guards);
    if (!captured.backward.there) return;
    if (budget >= 0)
      fail(
          ErrorKind::Plan,
          "compile: memory_budget is for functions that run backward themselves; this one returns a tensor with a "
          "history");
    backward_ = std::make_unique<Plan>(std::move(phases.backward), phases.saved);
    n_saved_ = phases.saved;
    record_ = std::move(captured.backward);
    record_.held.clear();
  }

  // A new reference to the result of the last of so many replays; null, without an error, where this is not
  // the plan for the call.
  PyObject* call(PyObject* structure, std::span<PyObject* const> leaves, std::int64_t times = 1) {
    if (leaves.size() != leaves_.size() || !(modes_ == Modes())) return nullptr;
    if (structure != structure_.ptr() && !equal(structure, structure_.ptr())) return nullptr;
    for (std::size_t i = 0; i < leaves.size(); ++i)
      if (!leaves_[i] ? !is_tensor(leaves[i]) : !same_value(leaves[i], leaves_[i].ptr())) return nullptr;
    if (!guards_.hold()) return nullptr;
    std::unique_lock lock = locked(plan_);
    const Emptied scratch{inputs_, results_};
    for (std::size_t i = 0; i < leaves.size(); ++i)
      if (!leaves_[i]) inputs_.push_back(unwrap(leaves[i]));
    for (std::size_t i = 0; i < inputs_.size(); ++i)
      if (inputs_[i].requires_grad() != wants_[i]) return nullptr;
    if (times > 1 && !plan_.repeats()) return nullptr;
    if (!plan_.take_gradients(inputs_) || !plan_.fits(inputs_) || !leaves_as_they_were()) return nullptr;
    for (const auto& [i, held] : pinned_)
      if (inputs_[i]->storage != held->storage) return nullptr;
    if (backward_) {
      lock.unlock();
      return with_history(leaves, times);
    }
    if (!refresh()) return nullptr;
    for (std::int64_t i = 0; i < times; ++i) {
      results_.clear();
      run(inputs_, results_);
      if (i % kStepsBetweenSignals == kStepsBetweenSignals - 1 && PyErr_CheckSignals() != 0) return nullptr;
    }
    if (rebuild_.is_none()) return wrap(results_[0]);
    py::list tensors;
    for (const Tensor& t : results_) tensors.append(py::reinterpret_steal<py::object>(wrap(t)));
    return rebuild_(tensors).release().ptr();
  }
  // How many of the batches from `start` to `stop` are done when the time is over; 0 where this is not the
  // plan for them. Python runs in other threads meanwhile, unless an instruction forbids it.
  std::int64_t replay(Batches& batches, std::int64_t start, std::int64_t stop, double seconds) {
    if (backward_ || structure_.ptr() != Py_None || !(modes_ == Modes())) return 0;
    for (const py::object& leaf : leaves_)
      if (leaf) return 0;
    if (std::find(wants_.begin(), wants_.end(), true) != wants_.end() || !guards_.hold()) return 0;
    const std::unique_lock lock = locked(plan_);
    if (!pinned_.empty() || !plan_.fits(batches.blank(start)) || !leaves_as_they_were() || !refresh())
      return 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    const auto run = [&] {
      return batches.replay(plan_, start, stop,
                            std::chrono::time_point_cast<std::chrono::steady_clock::duration>(deadline));
    };
    if (!steps_.empty()) {
      std::int64_t done = 0;
      run_python([&] { done = batches.replay(plan_, start, start + 1, {}); });
      return done;
    }
    if (plan_.alone()) return run();
    const py::gil_scoped_release others_run;
    const Undivided already;
    return run();
  }
  // What an autograd.Function is made of: the results of the arguments, and what backward needs of them.
  py::tuple forward(const py::sequence& arguments) {
    const std::vector<Tensor> inputs = tensors_of(arguments);
    std::vector<Tensor> results;
    const std::unique_lock lock = locked(plan_);
    if (!plan_.fits(inputs)) fail(ErrorKind::Plan, "compile: another thread has changed what the plan reads");
    run(inputs, results);
    const std::size_t n = results.size() - n_saved_;
    return py::make_tuple(list_of({results.data(), n}), list_of({results.data() + n, n_saved_}));
  }
  // The gradients of wanted(), None where there is none.
  py::list backward(const py::sequence& saved, const py::sequence& arguments,
                    const py::sequence& cotangents) {
    std::vector<Tensor> inputs = tensors_of(saved), results;
    for (const Tensor& t : tensors_of(arguments)) inputs.push_back(t);
    for (const Tensor& t : tensors_of(cotangents)) inputs.push_back(contiguous(t));
    {
      const std::unique_lock lock = locked(*backward_);
      if (!backward_->fits(inputs))
        fail(
            ErrorKind::Runtime,
            "compile: backward of a frozen function: a parameter's data, an argument or the gradient's layout is "
            "another than in forward");
      backward_->run(inputs, results);
    }
    py::list grads;
    std::size_t next = 0;
    for (int place : record_.grads)
      grads.append(place < 0 ? py::none() : py::reinterpret_steal<py::object>(wrap(results[next++])));
    return grads;
  }
  // The leaves from outside and the arguments that have a gradient.
  py::list wanted(const py::sequence& arguments) const {
    py::list all;
    const std::size_t outside = record_.leaves.size() - record_.inputs.size();
    for (std::size_t i = 0; i < outside; ++i)
      all.append(py::reinterpret_steal<py::object>(wrap(record_.leaves[i])));
    for (std::size_t i : record_.inputs) all.append(arguments[i]);
    return all;
  }
  // The leaves from outside whose numbers backward reads.
  py::list read_in_backward() const { return list_of(backward_->leaves()); }
  // Which results have a history.
  py::tuple roots() const {
    py::list all;
    for (std::size_t i : record_.roots) all.append(i);
    return py::tuple(all);
  }

  std::string explain() const {
    return backward_ ? plan_.explain() + "backward\n" + backward_->explain() : plan_.explain();
  }
  // (steps before fusion, steps after it, {buffer: kind and number}) of each plan: forward, or forward and
  // backward.
  py::list drawing() const {
    py::list all;
    for (const Plan* plan : {&plan_, static_cast<const Plan*>(backward_.get())}) {
      if (!plan) continue;
      const auto listed = [](const std::vector<DrawnStep>& steps) {
        py::list list;
        for (const DrawnStep& s : steps) {
          py::list reads, writes;
          for (int b : s.reads) reads.append(b);
          for (int b : s.writes) writes.append(b);
          list.append(py::make_tuple(s.name, s.shape, s.site, reads, writes));
        }
        return list;
      };
      py::dict kinds;
      const Recording& r = plan->recording();
      for (std::size_t i = 0; i < r.buffers.size(); ++i) {
        const char* kind = r.is_argument(static_cast<int>(i))      ? "argument"
                           : r.buffers[i].kind == Buffer::Input    ? "from outside"
                           : r.buffers[i].kind == Buffer::External ? "from outside"
                           : r.buffers[i].kind == Buffer::Constant ? "constant"
                                                                   : "temporary";
        kinds[py::int_(i)] = kind;
      }
      for (int p : r.outputs) {
        const int b = r.places[static_cast<std::size_t>(p)].buffer;
        if (r.buffers[static_cast<std::size_t>(b)].kind == Buffer::Temporary) kinds[py::int_(b)] = "result";
      }
      for (const GradientSlot& g : r.gradients)
        if (g.after >= 0) kinds[py::int_(r.places[static_cast<std::size_t>(g.after)].buffer)] = "gradient";
      all.append(py::make_tuple(listed(plan->before_fusion()), listed(drawn(r)), kinds));
    }
    return all;
  }
  py::dict memory() const {
    PlanMemory m = plan_.memory();
    if (backward_) {
      const PlanMemory more = backward_->memory();
      m.arena += more.arena;
      m.temporaries += more.temporaries;
      m.outputs += more.outputs;
      m.constants += more.constants;
    }
    py::dict d;
    d["arena"] = m.arena;
    d["temporaries"] = m.temporaries;
    d["outputs"] = m.outputs;
    d["gradients"] = m.gradients;
    d["constants"] = m.constants;
    d["saved"] = m.recomputed.saved;
    d["extra_flops"] = m.recomputed.extra_flops;
    d["recomputed"] = m.recomputed.steps;
    return d;
  }

 private:
  void run(std::span<const Tensor> inputs, std::vector<Tensor>& results) {
    if (steps_.empty()) return plan_.run(inputs, results);
    run_python([&] { plan_.run(inputs, results); });
  }
  // One replay that has steps in Python: Ctrl-C within would leave it half done, and what it raises takes
  // back what they have changed.
  void run_python(const std::function<void()>& replay) {
    static const auto& whole = *new py::object(
        py::module_::import("unspool._interrupts").attr("whole"));  // never freed: no Python then
    struct Numbers {
      Tensor t;
      std::vector<char> bytes;
    };
    std::vector<Numbers> numbers;
    const auto keep = [&](const Tensor& t) {
      const auto* from = static_cast<const char*>(t->storage->data);
      numbers.push_back({t, {from, from + t->storage->bytes}});
    };
    StateBefore state;
    std::vector<std::pair<Tensor, Tensor>> gradients;  // leaf, its gradient
    for (const auto& step : steps_) {
      for (const Tensor& leaf : step->leaves) gradients.emplace_back(leaf, leaf->grad);
      // Alone and without hooks it raises before it has changed anything.
      if (!step->hooked() && plan_.raises_last_in(step.get())) continue;
      state.keep(step->optimizer.attr("state"), keep);
      for (const Tensor& leaf : step->leaves) keep(leaf);
    }
    try {
      whole(py::cpp_function(replay));
    } catch (...) {
      for (const auto& [t, bytes] : numbers)
        if (!bytes.empty()) std::memcpy(t->storage->data, bytes.data(), bytes.size());
      state.put_back();
      for (const auto& [leaf, gradient] : gradients) leaf->grad = gradient;
      throw;
    }
  }
  bool refresh() {
    return std::all_of(steps_.begin(), steps_.end(), [](const auto& step) { return step->holds(); }) &&
           std::all_of(uses_.begin(), uses_.end(),
                       [&](OptimizerUse& use) { return use.refresh(use, plan_); });
  }
  bool leaves_as_they_were() const {
    for (std::size_t i = 0; i < marks_.size(); ++i)
      if (mark(plan_.leaves()[i]) != marks_[i]) return false;
    return true;
  }
  // Hooks on leaves are called outside of a plan that has no backward.
  std::uint64_t mark(const Tensor& leaf) const {
    return record_.there ? leaf.requires_grad() : mark_of(*leaf.get());
  }
  // Arguments in the memory of a tensor that the function names, too: the recording cannot tell the two
  // apart.
  void find_pinned(const py::list& guards) {
    const Recording& r = plan_.recording();
    const auto look_at = [&](const py::handle value) {
      if (!is_tensor(value.ptr())) return;
      const Tensor named = unwrap(value.ptr());
      for (std::size_t i = 0; i < r.inputs.size(); ++i)
        if (r.buffer_of(r.inputs[i]).storage == named->storage) pinned_.emplace_back(i, alias(named));
    };
    for (const py::handle g : guards) {
      const py::object value = g[py::int_(3)];
      if (PyList_Check(value.ptr()))
        for (const py::handle held : value) look_at(held);
      else
        look_at(value);
    }
  }
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

  static Phases phases_of(Captured& c) {
    if (c.backward.there) return split_phases(std::move(c.recording), c.backward);
    return {std::move(c.recording), {}, 0};
  }
  static std::unique_lock<std::mutex> locked(Plan& plan) {
    std::unique_lock lock(plan.lock(), std::try_to_lock);
    if (!lock) {
      const py::gil_scoped_release others_run;
      lock.lock();
    }
    return lock;
  }
  PyObject* with_history(std::span<PyObject* const> leaves, std::int64_t times) {
    py::list arguments;
    for (std::size_t i = 0; i < leaves.size(); ++i)
      if (!leaves_[i]) arguments.append(py::handle(leaves[i]));
    py::object result;
    for (std::int64_t i = 0; i < times; ++i) result = apply_(py::cast(this), arguments);
    return (rebuild_.is_none() ? py::object(result[py::int_(0)]) : rebuild_(result)).release().ptr();
  }

  Plan plan_;
  std::unique_ptr<Plan> backward_;
  Backward record_;
  std::size_t n_saved_ = 0;
  std::vector<OptimizerUse> uses_;
  std::vector<std::unique_ptr<PythonStep>> steps_;
  std::vector<std::unique_ptr<PythonCheck>> checks_;
  std::vector<Drawn> generators_;
  Guards guards_;
  py::object structure_;
  std::vector<py::object> leaves_;  // null where a tensor is
  py::object rebuild_, apply_;
  std::vector<bool> wants_;                             // a gradient, of the arguments
  std::vector<std::uint64_t> marks_;                    // of plan_.leaves()
  std::vector<std::pair<std::size_t, Tensor>> pinned_;  // arguments, and where they must lie
  Modes modes_;
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
    if (capturing) refuse_nested();
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      const std::shared_ptr<FrozenFunction> plan = plans_[i];  // the call may change the list
      if (PyObject* result = plan->call(structure, leaves, times)) return result;
      if (PyErr_Occurred()) return nullptr;
    }
    return Py_NewRef(Py_NotImplemented);
  }
  std::int64_t replay(Batches& batches, std::int64_t start, std::int64_t stop, double seconds) const {
    if (capturing) refuse_nested();
    if (start < 0 || start >= stop || stop > batches.count())
      fail(ErrorKind::Index, "replay: batches ", start, " to ", stop, " are not among ", batches.count());
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      const std::shared_ptr<FrozenFunction> plan = plans_[i];
      if (const std::int64_t done = plan->replay(batches, start, stop, seconds)) return done;
      if (PyErr_Occurred()) throw py::error_already_set();
    }
    return 0;
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

void bind_frozen(py::module_& m) {
  bind_batches(m);
  py::class_<FrozenFunction, std::shared_ptr<FrozenFunction>>(m, "FrozenFunction", "A plan and its guards.")
      .def(
          py::init<const std::shared_ptr<Captured>&, const py::list&, py::object, const py::sequence&,
                   py::object, py::object, std::int64_t>(),
          py::arg("captured"), py::arg("guards"), py::arg("structure"), py::arg("leaves"), py::arg("rebuild"),
          py::arg("apply"), py::arg("budget"),
          "__init__(self, captured: Captured, guards: list[tuple[int, Any, Any, Any]], structure: Any, "
          "leaves: Sequence[Any], rebuild: Callable[[list[Tensor]], Any] | None, apply: Callable[..., Any], budget: int) -> None")
      .def(
          "forward", &FrozenFunction::forward, py::arg("arguments"),
          "forward(self, arguments: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]\n\nThe results, and what backward needs.")
      .def(
          "backward", &FrozenFunction::backward, py::arg("saved"), py::arg("arguments"),
          py::arg("cotangents"),
          "backward(self, saved: Sequence[Tensor], arguments: Sequence[Tensor], cotangents: Sequence[Tensor]) -> list[Tensor | None]\n\nThe gradients of what is wanted.")
      .def(
          "wanted", &FrozenFunction::wanted, py::arg("arguments"),
          "wanted(self, arguments: Sequence[Tensor]) -> list[Tensor]\n\nLeaves and arguments that have a gradient.")
      .def("read_in_backward", &FrozenFunction::read_in_backward,
           "read_in_backward(self) -> list[Tensor]\n\nLeaves whose numbers backward reads.")
      .def("roots", &FrozenFunction::roots, "roots(self) -> tuple[int, ...]\n\nWhich results have a history.")
      .def(
          "drawing", &FrozenFunction::drawing,
          "drawing(self) -> list[tuple[list[Any], list[Any], dict[int, str]]]\n\nOf each plan the steps before and after fusion (name, shape, line, buffers read, buffers written), and what buffers are.")
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
          "replay", &Plans::replay, py::arg("batches"), py::arg("start"), py::arg("stop"), py::arg("seconds"),
          "replay(self, batches: Batches, start: int, stop: int, seconds: float) -> int\n\nHow many of the batches "
          "were done in that time, at least one; 0 where no plan is for them. Stops after a loss that is not finite.")
      .def(
          "replayer", replayer,
          "replayer(self) -> Callable[..., Any]\n\nreplay(structure, *leaves): one replay of the plan that is for the "
          "call; NotImplemented where there is none.");
}

}  // namespace unspool::python
