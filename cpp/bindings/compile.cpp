// Freezing functions: captures, and what they note of the parts of a function that stay in Python. The plans
// and their calls are in frozen.cpp; unspool/_compile.py takes arguments and results apart.
#include "compile.h"

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>

#include "guards.h"
#include "unspool/base/pool.h"
#include "unspool/ops/before_write.h"
#include "unspool/ops/ops.h"
#include "unspool/tape/hooks.h"

namespace unspool::python {
namespace {

thread_local std::vector<OptimizerUse>* uses_of_thread = nullptr;

thread_local Captured* captured_now = nullptr;

// The first element of `values` where `bad` says so becomes an error.
const OpDef refuse_op = {
    .schema = "refuse(Tensor bad, Tensor values, int function)",
    .cls = Class::Update,
    .shape = [](Call&) {},
    .forward =
        [](Call& c) {
          const Tensor bad = contiguous(c.in[0]);
          const auto* at = reinterpret_cast<const std::uint8_t*>(bad->data);
          const std::uint8_t* end = at + bad.numel();
          const std::uint8_t* found = std::find_if(at, end, [](std::uint8_t x) { return x != 0; });
          if (found == end) return;
          const GradMode off(false);
          const Tensor value = as_strided(reshape(c.in[1], {-1}), {}, {}, found - at);
          const auto number = py::reinterpret_steal<py::object>(to_scalar(value));
          const py::object error = static_cast<const PythonCheck*>(c.attrs[0].p)->error(number);
          PyErr_SetObject(py::type::handle_of(error).ptr(), error.ptr());
          throw py::error_already_set();
        },
    .derivative = none("it is a part of the program"),
    .refuses = true,
};

void refuse(const Tensor& bad, const Tensor& values, const py::object& error) {
  if (!(bad.shape() == values.shape()) || bad.dtype() != DType::Bool)
    fail(ErrorKind::Type, "_refuse: bad must be a bool tensor of the values' shape ", values.shape(),
         ", got shape ", bad.shape(), " and dtype ", name(bad.dtype()));
  auto check = std::make_unique<PythonCheck>(PythonCheck{error});
  Tensor in[] = {bad, values};
  Call c(refuse_op);
  c.in = in;
  const Attrs attrs{Attr(static_cast<void*>(check.get()))};
  c.attrs = attrs;
  c.n_out = 0;
  if (!capturing) return refuse_op.forward(c);
  {
    const Pause pause;
    refuse_op.forward(c);
  }
  Recording& r = *current_recording();
  Step s;
  s.op = &refuse_op;
  s.attrs = attrs;
  s.n_out = 0;
  s.site = sites.here ? sites.here() : 0;
  for (const Tensor& t : in) s.in.push_back(r.place_of(t));
  r.steps.push_back(std::move(s));
  captured_now->checks.push_back(std::move(check));
}

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
    .refuses = true,
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

void python_step(const py::object& function, const py::object& optimizer) {
  if (!capturing) {
    function();
    return;
  }
  Recording& r = captured_now->recording;
  auto step = std::make_unique<PythonStep>();
  step->function = function;
  step->optimizer = optimizer;
  step->params = params_of(optimizer.attr("param_groups"));
  Step s;
  s.op = &python_step_op;
  s.attrs = Attrs{Attr(static_cast<void*>(step.get()))};
  s.site = sites.here ? sites.here() : 0;
  keep_state(optimizer.attr("state"));
  for (const Tensor& t : step->params) {
    before_write(t);
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

void put_back(Generator& g, const Generator& before) {
  const Undivided whole;
  const std::lock_guard lock(g.mutex());
  g = before;
}

// A backward that the program has not asked for: it leaves streams of random numbers as they were, and the
// call goes on where it fails.
void note_backward(Captured& captured, const std::vector<Tensor>& arguments,
                   const std::vector<Tensor>& results) {
  struct Streams {
    const std::vector<Drawn>& all;
    std::vector<Generator> before;
    explicit Streams(const std::vector<Drawn>& drawn) : all(drawn) {
      for (const Drawn& d : all) before.push_back(*d.generator);
    }
    ~Streams() {
      for (std::size_t i = 0; i < all.size(); ++i)
        put_back(*all[i].generator, i < before.size() ? before[i] : all[i].before);
    }
  } const streams(captured.generators);
  constexpr const char* kWhy = "it returns a tensor with a history, whose backward failed: ";
  try {
    captured.backward = record_backward(captured.recording, arguments, results);
  } catch (const Error& e) {
    captured.recording.refuse(kWhy + std::string(e.what()));
  } catch (const py::error_already_set& e) {
    if (!e.matches(PyExc_Exception)) throw;
    captured.recording.refuse(kWhy + std::string(py::str(e.value())));  // what() has the traceback, too
  }
}

// What run() gives; where it raises, state, gradients and streams of random numbers are as before.
py::tuple whole(const py::object& run, Captured& captured) {
  try {
    return run();
  } catch (...) {
    if (current_recording()) {  // else it ran eagerly at last
      undo(captured.recording);
      captured.state.put_back();
      for (const Drawn& d : captured.generators) put_back(*d.generator, d.before);
    }
    throw;
  }
}

// run() calls the function and gives (result, tensors of the result).
py::tuple capture(const py::object& run, const py::sequence& inputs, bool goes_on) {
  if (current_recording()) refuse_nested();
  auto captured = std::make_shared<Captured>();
  captured->recording.goes_on = goes_on;
  captured->generators.push_back({py::object(), &default_generator(), default_generator()});
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
    const std::vector<Tensor> arguments = tensors_of(inputs);
    const Capture on(captured->recording, arguments);
    const py::tuple both = whole(run, *captured);
    result = both[0];
    if (!current_recording()) return py::make_tuple(result, captured);  // it was stopped
    const std::vector<Tensor> results = tensors_of(both[1]);
    note_backward(*captured, arguments, results);
    if (!current_recording()) return py::make_tuple(result, captured);
    finish(captured->recording, results, &captured->backward.held);
    captured->state.clear();
    for (const Tensor& t : captured->recording.leaves)
      captured->marks.push_back({t, mark_of(*t.get()), t->storage});
    for (const GradientSlot& g : captured->recording.gradients)
      for (const Tensor& t : arguments)
        if (t.get() == g.leaf.get())
          captured->recording.refuse("it reads or sets the gradient of an argument; leave backward outside");
  }
  return py::make_tuple(result, captured);
}

// What tells calls apart whose tensors are of one shape and dtype: strides, which share memory, and how, and
// which require a gradient.
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
    put(all[i].requires_grad());
  }
  return text;
}

// Whether the gradients that two calls read first were there, and lay alike.
bool same_gradients(const Recording& a, const Recording& b) {
  std::unordered_map<int, std::pair<int, std::int64_t>> partner;  // of a's buffer: b's, and how far apart
  std::unordered_map<int, int> back;
  const auto alike = [&](int p, int q) {
    if (p < 0 || q < 0) return p == q;
    const Place &x = a.places[static_cast<std::size_t>(p)], &y = b.places[static_cast<std::size_t>(q)];
    const std::pair there{y.buffer, y.offset - x.offset};
    return x.dtype == y.dtype && x.shape == y.shape && x.strides == y.strides &&
           partner.try_emplace(x.buffer, there).first->second == there &&
           back.try_emplace(y.buffer, x.buffer).first->second == x.buffer;
  };
  // Arguments first: a gradient may be one.
  const auto places = [](const Recording& r) {
    std::vector<int> all(r.inputs.begin(),
                         r.inputs.end() - static_cast<std::ptrdiff_t>(r.read_gradients.size()));
    for (const GradientSlot& g : r.gradients)
      if (g.read) all.push_back(g.before);
    return all;
  };
  const std::vector<int> first = places(a), later = places(b);
  return std::equal(first.begin(), first.end(), later.begin(), later.end(), alike);
}

// Whether two calls found leaves, gradients and the optimizers' state alike: if not, one was changed between
// them.
bool alike(const Captured& a, const Captured& b) {
  if (!same_gradients(a.recording, b.recording)) return false;
  std::unordered_map<const TensorImpl*, const Captured::Mark*> before;
  for (const Captured::Mark& m : a.marks) before[m.leaf.get()] = &m;
  for (const Captured::Mark& m : b.marks)
    if (const auto found = before.find(m.leaf.get());
        found != before.end() && (found->second->mark != m.mark || found->second->storage != m.storage))
      return false;
  bool same = a.uses.size() == b.uses.size();
  for (std::size_t i = 0; same && i < a.uses.size(); ++i) {
    const auto &x = a.uses[i].updated, &y = b.uses[i].updated;
    same = x.size() == y.size();
    for (std::size_t k = 0; same && k < x.size(); ++k)
      same = x[k].updated == y[k].updated && x[k].state == y[k].state && x[k].handle == y[k].handle;
  }
  return same;
}

}  // namespace

std::uint64_t mark_of(const TensorImpl& leaf) {
  const bool hooked = leaf.hooks && !leaf.hooks->all.empty();
  return 2 * (hooked ? leaf.hooks->all.back().id * 1024 + leaf.hooks->all.size() : 0) + leaf.requires_grad;
}

bool PythonStep::holds() const {
  const std::vector<Tensor> now = params_of(optimizer.attr("param_groups"));
  return std::equal(now.begin(), now.end(), params.begin(), params.end(),
                    [](const Tensor& a, const Tensor& b) { return a.get() == b.get(); });
}

std::vector<Tensor> tensors_of(const py::sequence& list) {
  std::vector<Tensor> all;
  for (const py::handle o : list) all.push_back(unwrap(o.ptr()));
  return all;
}

void refuse_nested() {
  const std::string why = "a frozen function is called by another that is being frozen; call the plain one";
  if (!current_recording()->goes_on) fail(ErrorKind::Plan, "compile: ", why);
  stop_capture(why + at_site(sites.here ? sites.here() : 0));
}

bool PythonStep::hooked() const { return py::hasattr(optimizer, "_watches_steps"); }

void keep_state(const py::object& state) { captured_now->state.keep(state, before_write); }

void StateBefore::put_back() const {
  for (const auto& [dict, copy] : dicts_) {
    PyDict_Clear(dict.ptr());
    if (PyDict_Update(dict.ptr(), copy.ptr()) != 0) PyErr_Clear();
  }
}

void StateBefore::keep(const py::object& state, const std::function<void(const Tensor&)>& each) {
  const auto keep = [&](const py::handle dict) {
    for (const auto& [kept, copy] : dicts_)
      if (kept.is(dict)) return;
    dicts_.emplace_back(py::reinterpret_borrow<py::dict>(dict),
                        py::reinterpret_steal<py::dict>(PyDict_Copy(dict.ptr())));
  };
  if (!PyDict_Check(state.ptr())) return;
  keep(state);
  for (const auto& [key, own] : py::reinterpret_borrow<py::dict>(state)) {
    if (!PyDict_Check(own.ptr())) continue;
    keep(own);
    for (const auto& [name, value] : py::reinterpret_borrow<py::dict>(own))
      if (is_tensor(value.ptr())) each(unwrap(value.ptr()));
  }
}

void note_generator(PyObject* o, Generator& g) {
  auto& all = captured_now->generators;
  const auto same = [&](const Drawn& d) { return d.generator == &g; };
  if (std::none_of(all.begin(), all.end(), same))
    all.push_back({py::reinterpret_borrow<py::object>(o), &g, g});
}

std::vector<OptimizerUse>* capture_uses() { return uses_of_thread; }

bool goes_on_eagerly(const char* op, const char* what) {
  if (!current_recording()->goes_on) return false;
  stop_capture(op + at_site(sites.here ? sites.here() : 0) + ": " + what +
               ", and a plan replays operations without Python");
  return true;
}

void refuse_in_capture(const char* op, const char* what) {
  if (!capturing || goes_on_eagerly(op, what)) return;
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
      .def(
          "alike", alike, py::arg("later"),
          "alike(self, later: Captured) -> bool\n\nWhether a later call found the same gradients there, by dtype, shape, "
          "strides and shared memory, and optimizers had the same parameters and state.")
      .def(
          "difference",
          [](const Captured& a, const Captured& b) -> std::string {
            const auto same = [](const Tensor& x, const Tensor& y) { return x.get() == y.get(); };
            const std::size_t outside = a.backward.leaves.size() - a.backward.inputs.size();
            if (a.backward.roots != b.backward.roots || a.backward.inputs != b.backward.inputs ||
                a.backward.boundary != b.backward.boundary ||
                a.backward.leaves.size() != b.backward.leaves.size() ||
                !std::equal(a.backward.leaves.begin(),
                            a.backward.leaves.begin() + static_cast<std::ptrdiff_t>(outside),
                            b.backward.leaves.begin(), same))
              return "the results depended on other tensors in the second call than in the first";
            return difference(a.recording, b.recording);
          },
          py::arg("later"),
          "difference(self, later: Captured) -> str\n\nHow a later call was another program; empty where it was not.");
  bind_frozen(m);
  m.def("_layout", layout_of, py::arg("tensors"),
        "_layout(tensors: Sequence[Tensor]) -> bytes\n\nDtypes, shapes, strides, and which share memory.");
  m.def(
      "_guards_hold", [](const py::list& guards) { return Guards(guards).hold(); }, py::arg("guards"),
      "_guards_hold(guards: list[tuple[int, Any, Any, Any]]) -> bool\n\nWhether all is as it was.");
  m.def(
      "_capturing", [] { return capturing; },
      "_capturing() -> bool\n\nWhether a function is being recorded: what depends on numbers must not decide what runs.");
  m.def(
      "_refuse_in_capture",
      [](const std::string& op, const std::string& what) { refuse_in_capture(op.c_str(), what.c_str()); },
      py::arg("op"), py::arg("what"),
      "_refuse_in_capture(op: str, what: str) -> None\n\nWhere a function is being recorded, PlanError: no plan does "
      "this; or the end of the recording.");
  m.def(
      "_refuse", refuse, py::arg("bad"), py::arg("values"), py::arg("error"),
      "_refuse(bad: Tensor, values: Tensor, error: Callable[[Any], BaseException]) -> None\n\nRaises error(value) "
      "for the first of the values where bad is True; frozen functions do so at each replay.");
  m.def(
      "_python_step", python_step, py::arg("function"), py::arg("optimizer"),
      "_python_step(function: Callable[[], None], optimizer: Any) -> None\n\nCalls a function that updates params that "
      "have a grad; a plan calls it at each replay.");
  m.def(
      "_capture", capture, py::arg("run"), py::arg("inputs"), py::arg("goes_on"),
      "_capture(run: Callable[[], tuple[Any, Sequence[Tensor]]], inputs: Sequence[Tensor], goes_on: bool) -> "
      "tuple[Any, Captured]\n\nRuns a function and notes what it does. What cannot be frozen is PlanError, or the end "
      "of the notes where it `goes_on`.");
}

}  // namespace unspool::python
