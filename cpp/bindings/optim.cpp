// One native call for an optimizer's step and one for zero_grad, all parameter groups together. Settings are
// read from the groups' dicts, state lives in the optimizer's own dicts, both under PyTorch's keys. A step is
// two passes: `plan` checks all that it reads and makes the state that is missing, then all parameters are
// updated. Start at step(); optimizers written in Python take their plan from plan_step().
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "compile.h"
#include "guards.h"
#include "unspool/base/cpu.h"
#include "unspool/ops/ops.h"
#include "unspool/ops/update.h"

namespace unspool::python {
namespace {

// What is read from Python objects by name.
struct Names {
  static PyObject* of(const char* text) { return PyUnicode_InternFromString(text); }
  PyObject *params = of("params"), *lr = of("lr"), *momentum = of("momentum"), *dampening = of("dampening"),
           *weight_decay = of("weight_decay"), *nesterov = of("nesterov"), *maximize = of("maximize"),
           *betas = of("betas"), *eps = of("eps"), *amsgrad = of("amsgrad"), *alpha = of("alpha"),
           *decoupled = of("decoupled_weight_decay"), *centered = of("centered"), *step = of("step"),
           *momentum_buffer = of("momentum_buffer"), *exp_avg = of("exp_avg"), *exp_avg_sq = of("exp_avg_sq"),
           *max_exp_avg_sq = of("max_exp_avg_sq"), *square_avg = of("square_avg"), *grad_avg = of("grad_avg"),
           *param_groups = of("param_groups"), *state = of("state"), *defaults = of("defaults"),
           *not_negative = of("_not_negative"), *shaped_state = of("_shaped_state"),
           *counters = of("_counters"), *fresh_state = of("_fresh_state"),
           *watches_steps = of("_watches_steps");
};
const Names& names() {
  static const Names made;
  return made;
}

py::object attribute(PyObject* of, PyObject* name) {
  PyObject* value = PyObject_GetAttr(of, name);
  if (!value) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(value);
}

// An entry of a dict, borrowed; null where there is none.
PyObject* entry(PyObject* dict, PyObject* key) {
  PyObject* value = PyDict_GetItemWithError(dict, key);
  if (!value && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

template <class... Parts>
[[noreturn, gnu::cold]] void fail_key(const Parts&... parts) {
  std::string text;
  ((text += parts), ...);
  PyErr_SetString(PyExc_KeyError, text.c_str());
  throw py::error_already_set();
}

// What a check looks at, for its message.
struct Place {
  PyObject* optimizer = nullptr;  // null: zero_grad
  Py_ssize_t group = 0, param = 0;

  std::string op() const {
    return optimizer ? std::string(Py_TYPE(optimizer)->tp_name) + ".step" : "zero_grad";
  }
  std::string in_group() const { return " of parameter group " + std::to_string(group); }
  std::string of_param() const { return " of params[" + std::to_string(param) + "]" + in_group(); }
};

// Lists and dicts belong to the user, who may change them in a call that f makes, or from another thread.
template <class F>
void each_group(PyObject* groups, Place& at, F&& f) {
  if (!PyList_Check(groups))
    fail(ErrorKind::Type, at.op(), ": param_groups must be a list of dicts, got ", short_repr(groups));
  for (at.group = 0; at.group < PyList_GET_SIZE(groups); ++at.group) {
    const auto group = py::reinterpret_borrow<py::object>(PyList_GET_ITEM(groups, at.group));
    if (!PyDict_Check(group.ptr()))
      fail(ErrorKind::Type, at.op(), ": param_groups must hold dicts, got ", short_repr(group.ptr()));
    f(group.ptr());
  }
}

template <class F>
void each_param(PyObject* group, Place& at, F&& f) {
  const auto params = py::reinterpret_borrow<py::object>(entry(group, names().params));
  if (!params || !PyList_Check(params.ptr()))
    fail(ErrorKind::Type, at.op(), ": params", at.in_group(), " must be a list of Tensors, got ",
         params ? short_repr(params.ptr()) : "nothing");
  for (at.param = 0; at.param < PyList_GET_SIZE(params.ptr()); ++at.param) {
    const auto h = py::reinterpret_borrow<py::object>(PyList_GET_ITEM(params.ptr(), at.param));
    if (!is_tensor(h.ptr()))
      fail(ErrorKind::Type, at.op(), ": params", at.in_group(), " must hold Tensors, got ",
           short_repr(h.ptr()));
    f(h.ptr(), unwrap(h.ptr()));
  }
}

void zero_grad(const py::object& groups, bool set_to_none) {
  GradMode off(false);
  Place at;
  each_group(groups.ptr(), at, [&](PyObject* group) {
    each_param(group, at, [&](PyObject*, const Tensor& p) {
      note_gradient(p.get(), !set_to_none);
      if (!p->grad) return;
      if (set_to_none) {
        p->grad = Tensor();
      } else {
        if (p->grad->node) p->grad = alias(p->grad);
        fill_(p->grad, wrapped_number(0.0));
      }
    });
  });
}

// A group's settings; they may have changed since the constructor looked at them.
class Settings {
 public:
  Settings(PyObject* group, const Place& at) : group_(group), at_(at) {}

  double number(PyObject* key) const { return number(key, get(key), -kInf); }
  double not_negative(PyObject* key) const { return number(key, get(key), 0.0); }
  bool flag(PyObject* key) const {
    const int on = PyObject_IsTrue(get(key));
    if (on < 0) throw py::error_already_set();
    return on != 0;
  }
  std::array<double, 2> betas() const {
    PyObject* key = names().betas;
    const auto both = py::reinterpret_borrow<py::object>(get(key));
    std::array<double, 2> found;
    if (!several(both.ptr(), 2))
      fail(ErrorKind::Value, at_.op(), ": betas", at_.in_group(), " must be two numbers, got ",
           short_repr(both.ptr()));
    for (int i = 0; i < 2; ++i) {
      found[i] = number(key, PySequence_Fast_GET_ITEM(both.ptr(), i), 0.0);
      if (!(found[i] < 1.0))
        fail(ErrorKind::Value, at_.op(), ": betas", at_.in_group(), " must lie in [0, 1), got ",
             short_repr(both.ptr()));
    }
    return found;
  }

  // A setting by the kind of its default: a number, several, or something else, which has no rule.
  void check(PyObject* key, PyObject* like, bool negative) const {
    if (PyUnicode_Compare(key, names().betas) == 0) {
      betas();
    } else if (PyTuple_Check(like)) {
      const auto all = py::reinterpret_borrow<py::object>(get(key));
      const Py_ssize_t n = PyTuple_GET_SIZE(like);
      if (!several(all.ptr(), n))
        fail(ErrorKind::Value, at_.op(), ": ", PyUnicode_AsUTF8(key), at_.in_group(), " must be ", n,
             " numbers, got ", short_repr(all.ptr()));
      for (Py_ssize_t i = 0; i < n; ++i) {
        PyObject* const one = PySequence_Fast_GET_ITEM(all.ptr(), i);
        if (!(one == Py_None && PyTuple_GET_ITEM(like, i) == Py_None)) number(key, one, -kInf);
      }
    } else if (PyNumber_Check(like) && !PyBool_Check(like)) {
      negative ? number(key) : not_negative(key);
    } else {
      get(key);
    }
  }

 private:
  static constexpr double kInf = std::numeric_limits<double>::infinity();

  static bool several(PyObject* value, Py_ssize_t n) {
    return (PyTuple_Check(value) || PyList_Check(value)) && PySequence_Fast_GET_SIZE(value) == n;
  }
  PyObject* get(PyObject* key) const {  // borrowed
    if (PyObject* value = entry(group_, key)) return value;
    fail_key(at_.op(), ": parameter group ", std::to_string(at_.group), " lacks '", PyUnicode_AsUTF8(key),
             "'");
  }
  double number(PyObject* key, PyObject* borrowed, double least) const {
    const auto value = py::reinterpret_borrow<py::object>(borrowed);
    const double x = PyFloat_AsDouble(value.ptr());
    if (x >= least && (x != -1.0 || !PyErr_Occurred())) return x;  // NaN is not
    refuse(key, value.ptr(), x);
  }
  [[noreturn, gnu::cold, gnu::noinline]] void refuse(PyObject* key, PyObject* value, double x) const {
    const std::string what = at_.op() + ": " + PyUnicode_AsUTF8(key) + at_.in_group();
    if (PyErr_Occurred()) {
      PyErr_Clear();
      fail(ErrorKind::Type, what, " must be a number, got ", short_repr(value));
    }
    fail(ErrorKind::Value, what, " is ", short_repr(value),
         std::isnan(x) ? "; it must be a number" : "; it must be at least 0");
  }

  PyObject* group_;
  const Place& at_;
};

// Entries that a plan has put into the optimizer's dicts, where a parameter that is there twice finds them.
// They go again, and what stood there comes back, unless the whole plan is good.
class Made {
 public:
  Made() = default;
  Made(const Made&) = delete;
  Made& operator=(const Made&) = delete;
  ~Made() {
    for (; !entries_.empty(); entries_.pop_back()) {
      const auto& [dict, key, before] = entries_.back();
      if ((before ? PyDict_SetItem(dict.ptr(), key.ptr(), before.ptr())
                  : PyDict_DelItem(dict.ptr(), key.ptr())) < 0)
        PyErr_Clear();
    }
  }
  void put(PyObject* dict, PyObject* key, PyObject* value) {
    entries_.push_back({py::reinterpret_borrow<py::object>(dict), py::reinterpret_borrow<py::object>(key),
                        py::reinterpret_borrow<py::object>(entry(dict, key))});
    if (PyDict_SetItem(dict, key, value) < 0) throw py::error_already_set();
  }
  void keep() { entries_.clear(); }

 private:
  struct Entry {
    py::object dict, key, before;
  };
  std::vector<Entry> entries_;
};

// The names of a parameter's state: counters are single numbers, the others have its shape and dtype.
struct Kept {
  std::span<PyObject* const> counters, shaped;
  bool nothing() const { return counters.empty() && shaped.empty(); }
};

// A state entry; null where it is missing.
Tensor tensor_in(PyObject* own, PyObject* key, const Place& at) {
  PyObject* value = entry(own, key);
  if (!value || value == Py_None) return {};
  if (!is_tensor(value))
    fail(ErrorKind::Type, at.op(), ": state '", PyUnicode_AsUTF8(key), "'", at.of_param(),
         " must be a Tensor, got ", short_repr(value));
  return unwrap(value);
}

[[noreturn, gnu::cold]] void fail_unlike(const std::string& what, const Tensor& t, const Tensor& param,
                                         const Place& at) {
  if (!(t.shape() == param.shape()))
    fail(ErrorKind::Shape, at.op(), ": ", what, at.of_param(), " has shape ", t.shape(),
         ", the parameter has shape ", param.shape());
  fail(ErrorKind::DType, at.op(), ": ", what, at.of_param(), " has dtype ", name(t.dtype()),
       ", the parameter has dtype ", name(param.dtype()));
}
bool alike(const Tensor& a, const Tensor& b) { return a.dtype() == b.dtype() && a.shape() == b.shape(); }

double count_of(const Tensor& t) {
  return t.dtype() == DType::Float64 ? *reinterpret_cast<double*>(t->data)
                                     : static_cast<double>(*reinterpret_cast<float*>(t->data));
}
void check_counter(const Tensor& t, PyObject* key, const Place& at) {
  if (t.numel() != 1 || !(t.dtype() == DType::Float32 || t.dtype() == DType::Float64))
    fail(ErrorKind::Runtime, at.op(), ": state '", PyUnicode_AsUTF8(key), "'", at.of_param(),
         " must be one number of float32 or float64, got shape ", t.shape(), " and dtype ", name(t.dtype()));
  if (const double x = count_of(t); !(x >= 0))
    fail(ErrorKind::Value, at.op(), ": state '", PyUnicode_AsUTF8(key), "'", at.of_param(), " is ", x,
         "; it must be at least 0");
}

// Checks a parameter's state and calls take(counter or shaped, its number, tensor). The key that is missing,
// or null.
template <class F>
PyObject* read_state(PyObject* own, const Kept& kept, const Tensor& param, const Place& at, F&& take) {
  for (PyObject* key : kept.counters) {
    Tensor t = tensor_in(own, key, at);
    if (!t) return key;
    check_counter(t, key, at);
    take(true, 0, std::move(t));
  }
  for (std::size_t i = 0; i < kept.shaped.size(); ++i) {
    PyObject* key = kept.shaped[i];
    Tensor t = tensor_in(own, key, at);
    if (!t) return key;
    if (!alike(t, param)) fail_unlike(std::string("state '") + PyUnicode_AsUTF8(key) + "'", t, param, at);
    take(false, i, std::move(t));
  }
  return nullptr;
}

// state[param], checked. `make` fills it where it has none of the names; where it has some and not all, that
// is an error.
template <class Make, class F>
py::object state_of(PyObject* state, PyObject* handle, const Tensor& param, const Kept& kept, Made& made,
                    const Place& at, Make&& make, F&& take) {
  auto own = py::reinterpret_borrow<py::object>(entry(state, handle));
  if (!own) {
    own = py::dict();
    made.put(state, handle, own.ptr());
  }
  if (!PyDict_Check(own.ptr()))
    fail(ErrorKind::Type, at.op(), ": the state", at.of_param(), " must be a dict, got ",
         short_repr(own.ptr()));
  PyObject* missing = read_state(own.ptr(), kept, param, at, take);
  if (!missing) return own;
  bool fresh = true;
  for (const auto keys : {kept.counters, kept.shaped})
    for (PyObject* key : keys) fresh = fresh && !tensor_in(own.ptr(), key, at);
  if (fresh) {
    make(own.ptr());
    missing = read_state(own.ptr(), kept, param, at, take);
  }
  if (missing) fail_key(at.op(), ": the state", at.of_param(), " lacks '", PyUnicode_AsUTF8(missing), "'");
  return own;
}

void check_grad(const Tensor& p, const Place& at) {
  if (!alike(p->grad, p)) fail_unlike("grad", p->grad, p, at);
  if (!is_floating(p.dtype()))
    fail(ErrorKind::DType, at.op(), ": params", at.in_group(), " must be floating, params[", at.param,
         "] has dtype ", name(p.dtype()));
}

// ---- Rules: a group's options, what is kept for a parameter, in the order of the update's arguments, and
// the update.

struct Sgd {
  SgdOptions options;
  std::array<PyObject*, 1> key{names().momentum_buffer};

  explicit Sgd(const Settings& s)
      : options{s.number(names().lr),        s.not_negative(names().momentum),
                s.number(names().dampening), s.not_negative(names().weight_decay),
                s.flag(names().nesterov),    s.flag(names().maximize)} {}
  Kept kept() const { return {{}, {key.data(), options.momentum != 0.0 ? 1u : 0u}}; }
  static std::size_t place(std::size_t i) { return 2 + i; }
  Attrs attrs(bool first) const { return attrs_of(options, first); }
  static void update(std::span<Tensor, 6> in, const Attrs& attrs) { sgd_update(in.first<3>(), attrs); }
};

struct Adam {
  AdamOptions options;
  std::array<PyObject*, 4> key{names().step, names().exp_avg, names().exp_avg_sq, names().max_exp_avg_sq};
  bool amsgrad;

  explicit Adam(const Settings& s) : Adam(s, s.betas()) {}
  Adam(const Settings& s, std::array<double, 2> betas)
      : options{s.number(names().lr),
                betas[0],
                betas[1],
                s.not_negative(names().eps),
                s.not_negative(names().weight_decay),
                s.flag(names().maximize),
                s.flag(names().decoupled)},
        amsgrad(s.flag(names().amsgrad)) {}
  Kept kept() const { return {{key.data(), 1}, {key.data() + 1, amsgrad ? 3u : 2u}}; }
  static std::size_t place(std::size_t i) { return 2 + i; }
  Attrs attrs(bool) const { return attrs_of(options); }
  static void update(std::span<Tensor, 6> in, const Attrs& attrs) { adam_update(in, attrs); }
};

struct Rmsprop {
  RmspropOptions options;
  bool centered;
  std::array<PyObject*, 4> key{names().step, names().square_avg};
  unsigned n = 2;

  explicit Rmsprop(const Settings& s)
      : options{s.number(names().lr),
                s.not_negative(names().alpha),
                s.not_negative(names().eps),
                s.not_negative(names().weight_decay),
                s.not_negative(names().momentum),
                s.flag(names().maximize)},
        centered(s.flag(names().centered)) {
    if (options.momentum > 0) key[n++] = names().momentum_buffer;
    if (centered) key[n++] = names().grad_avg;
  }
  Kept kept() const { return {{key.data(), 1}, {key.data() + 1, n - 1}}; }
  // Where the kept tensor i stands among the update's inputs: grad_avg is the last, also without momentum.
  std::size_t place(std::size_t i) const { return key[1 + i] == names().grad_avg ? 4 : 2 + i; }
  Attrs attrs(bool) const { return attrs_of(options); }
  static void update(std::span<Tensor, 6> in, const Attrs& attrs) { rmsprop_update(in, attrs); }
};

// ---- Steps ---------------------------------------------------------------------------------------------

// Calls group(settings, dict) and param(handle, tensor) for all that a step updates, and checks the
// gradients.
template <class Group, class Param>
void each_update(PyObject* optimizer, Place& at, Group&& on_group, Param&& on_param) {
  const py::object groups = attribute(optimizer, names().param_groups);
  each_group(groups.ptr(), at, [&](PyObject* group) {
    on_group(Settings(group, at));
    each_param(group, at, [&](PyObject* handle, const Tensor& p) {
      note_gradient(p.get(), true);
      if (!p->grad) return;
      check_grad(p, at);
      on_param(handle, p, group);
    });
  });
}

py::object state_dict_of(PyObject* optimizer, const Place& at) {
  py::object state = attribute(optimizer, names().state);
  if (!PyDict_Check(state.ptr()))
    fail(ErrorKind::Type, at.op(), ": state must be a dict, got ", short_repr(state.ptr()));
  return state;
}

// Whether the dict's version tells of every change of what it says: not where a value may change in place.
bool is_settled(PyObject* group, PyObject* params) {
  PyObject *key, *value;
  for (Py_ssize_t i = 0; PyDict_Next(group, &i, &key, &value);) {
    if (value == params) continue;
    if (PyTuple_CheckExact(value)) {
      for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(value); ++k)
        if (PyObject* x = PyTuple_GET_ITEM(value, k); !PyFloat_CheckExact(x) && !PyLong_CheckExact(x))
          return false;
    } else if (!PyFloat_CheckExact(value) && !PyLong_CheckExact(value) && !PyBool_Check(value) &&
               value != Py_None && !PyUnicode_CheckExact(value)) {
      return false;
    }
  }
  return true;
}

// Notes what a refresh has read; empty where its changes could go unseen.
Unchanged noted(const OptimizerUse& use, PyObject* state, PyObject* groups) {
  Unchanged u;
  auto add_dict = [&](PyObject* dict) {
    const std::uint64_t version = version_of_dict(dict);
    u.dicts.emplace_back(py::reinterpret_borrow<py::object>(dict), version);
    return version != 0;
  };
  auto add_list = [&](PyObject* list) {
    auto& items = u.lists.emplace_back(py::reinterpret_borrow<py::object>(list), 0).second;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); ++i)
      items.push_back(py::reinterpret_borrow<py::object>(PyList_GET_ITEM(list, i)));
  };
  const py::object own = py::getattr(use.optimizer, "__dict__");
  bool settled = PyDict_CheckExact(own.ptr()) && PyDict_Check(state) && PyList_CheckExact(groups) &&
                 add_dict(own.ptr()) && add_dict(state);
  if (settled) add_list(groups);
  for (Py_ssize_t g = 0; settled && g < PyList_GET_SIZE(groups); ++g) {
    PyObject* const group = PyList_GET_ITEM(groups, g);
    PyObject* const params = entry(group, names().params);
    settled =
        PyDict_CheckExact(group) && PyList_CheckExact(params) && is_settled(group, params) && add_dict(group);
    if (settled) add_list(params);
  }
  for (std::size_t i = 0; settled && i < use.updated.size(); ++i) {
    if (use.updated[i].state.empty()) continue;
    PyObject* const kept = entry(state, use.updated[i].handle);
    settled = PyDict_CheckExact(kept) && add_dict(kept);
    PyObject *key, *value;
    for (Py_ssize_t k = 0; settled && PyDict_Next(kept, &k, &key, &value);)
      if (is_tensor(value)) u.state.emplace_back(impl_of(value), impl_of(value)->storage);
  }
  return settled ? u : Unchanged();
}

// Reads a captured step's settings again, into the plan; false where the parameters or their state are
// others, or where steps have hooks now.
template <class Rule>
bool refresh(OptimizerUse& use, Plan& plan) {
  if (use.unchanged.holds()) return true;
  Place at{use.optimizer.ptr()};
  const py::object own_dict = py::getattr(use.optimizer, "__dict__");
  if (PyDict_Check(own_dict.ptr()) && entry(own_dict.ptr(), names().watches_steps)) return false;
  const py::object state = state_dict_of(at.optimizer, at);
  std::size_t setting = use.first_setting, number = 0;
  bool same = true;
  const py::object groups = attribute(at.optimizer, names().param_groups);
  each_group(groups.ptr(), at, [&](PyObject* group) {
    const Rule rule(Settings(group, at));
    const Attrs attrs = rule.attrs(false);
    const Kept kept = rule.kept();
    each_param(group, at, [&](PyObject* handle, const Tensor&) {
      if (!same || number == use.updated.size() || use.updated[number].handle != handle) {
        same = false;
        return;
      }
      const Updated& u = use.updated[number++];
      if (!u.updated) return;
      PyObject* own = kept.nothing() ? nullptr : entry(state.ptr(), handle);
      std::size_t k = 0;
      for (const auto keys : {kept.counters, kept.shaped})
        for (PyObject* key : keys) {
          PyObject* t = own && PyDict_Check(own) ? entry(own, key) : nullptr;
          same = same && t && is_tensor(t) && k < u.state.size() && impl_of(t)->storage == u.state[k];
          ++k;
        }
      same = same && k == u.state.size();
      for (int i = 0; same && i < attrs.n; ++i) plan.setting(setting++) = attrs.v[i];
    });
  });
  same = same && number == use.updated.size();
  use.unchanged = same ? noted(use, state.ptr(), groups.ptr()) : Unchanged();
  return same;
}

struct Update {
  std::size_t rule = 0;
  bool first = false;  // its state is new
  Tensor in[6]{};
};

// Tells the capture which numbers of the steps to come are settings of this optimizer.
template <class Rule>
void note_use(PyObject* optimizer, const std::vector<Rule>& rules, const std::vector<Update>& updates) {
  Recording& recording = *current_recording();
  OptimizerUse use{
      py::reinterpret_borrow<py::object>(optimizer), recording.settings.size(), {}, refresh<Rule>, {}};
  std::size_t next = 0;
  Place at{optimizer};
  const py::object groups = attribute(optimizer, names().param_groups);
  each_group(groups.ptr(), at, [&](PyObject* group) {
    each_param(group, at, [&](PyObject* handle, const Tensor& p) {
      Updated& u = use.updated.emplace_back();
      u.handle = handle;
      u.updated = next < updates.size() && updates[next].in[0].get() == p.get();
      if (!u.updated) return;
      const Update& update = updates[next++];
      if (update.in[5]) u.state.push_back(update.in[5]->storage);
      for (int i = 2; i < 5; ++i)
        if (update.in[i]) u.state.push_back(update.in[i]->storage);
      const int n = rules[update.rule].attrs(false).n;
      for (int i = 0; i < n; ++i) recording.settings.emplace_back(recording.steps.size() + next - 1, i);
    });
  });
  capture_uses()->push_back(std::move(use));
}

// The step of an optimizer whose update is one op a parameter.
template <class Rule>
PyObject* step(PyObject*, PyObject* optimizer) {
  return guarded([&]() -> PyObject* {
    const GradMode off(false);
    Place at{optimizer};
    const py::object state = state_dict_of(optimizer, at);
    if (capturing) [[unlikely]]
      keep_state(state);
    std::vector<Rule> rules;
    std::vector<Update> updates;
    updates.reserve(32);
    Made made;
    each_update(
        optimizer, at, [&](const Settings& s) { rules.emplace_back(s); },
        [&](PyObject* handle, const Tensor& p, PyObject*) {
          Update& u = updates.emplace_back();
          u.rule = rules.size() - 1;
          u.in[0] = p;
          u.in[1] = p->grad;
          const Kept kept = rules.back().kept();
          if (kept.nothing()) return;
          const auto make = [&](PyObject* own) {
            u.first = true;
            const auto put = [&](PyObject* key, const Tensor& t) {
              made.put(own, key, py::reinterpret_steal<py::object>(wrap(t)).ptr());
            };
            for (PyObject* key : kept.counters) put(key, zeros({}, DType::Float32));
            for (PyObject* key : kept.shaped) put(key, zeros_like(p));
          };
          state_of(state.ptr(), handle, p, kept, made, at, make, [&](bool count, std::size_t i, Tensor&& t) {
            u.in[count ? 5 : rules.back().place(i)] = std::move(t);
          });
        });
    made.keep();
    if (capturing) [[unlikely]]
      note_use(optimizer, rules, updates);
    const FlushSubnormals flush;  // once, not once a parameter
    for (Update& u : updates) Rule::update(u.in, rules[u.rule].attrs(u.first));
    Py_RETURN_NONE;
  });
}

// For an optimizer in Python: what its step updates, after the same checks.
PyObject* plan_step(PyObject*, PyObject* optimizer) {
  return guarded([&]() -> PyObject* {
    const GradMode off(false);
    Place at{optimizer};
    const py::object state = state_dict_of(optimizer, at), defaults = attribute(optimizer, names().defaults),
                     not_negative = attribute(optimizer, names().not_negative),
                     counters = attribute(optimizer, names().counters),
                     shapes = attribute(optimizer, names().shaped_state);
    const auto items = py::reinterpret_steal<py::object>(PyDict_Items(defaults.ptr()));
    if (!items || !PyTuple_Check(counters.ptr()) || !PyTuple_Check(shapes.ptr()))
      fail(ErrorKind::Type, at.op(), ": defaults must be a dict, _counters and _shaped_state tuples");
    const auto keys = [](const py::object& tuple) {
      return std::span<PyObject* const>(PySequence_Fast_ITEMS(tuple.ptr()),
                                        static_cast<std::size_t>(PyTuple_GET_SIZE(tuple.ptr())));
    };
    const Kept kept{keys(counters), keys(shapes)};
    py::list plan;
    Made made;
    each_update(
        optimizer, at,
        [&](const Settings& s) {
          for (const py::handle item : items) {
            PyObject* key = PyTuple_GET_ITEM(item.ptr(), 0);
            const int listed = PySequence_Contains(not_negative.ptr(), key);
            if (listed < 0) throw py::error_already_set();
            s.check(key, PyTuple_GET_ITEM(item.ptr(), 1), listed == 0);
          }
        },
        [&](PyObject* handle, const Tensor& p, PyObject* group) {
          py::object own = py::none();
          const auto make = [&](PyObject* dict) {
            const auto fresh = py::reinterpret_steal<py::object>(
                PyObject_CallMethodObjArgs(optimizer, names().fresh_state, group, handle, nullptr));
            if (!fresh) throw py::error_already_set();
            PyObject *key, *value;
            for (Py_ssize_t item = 0; PyDict_Next(fresh.ptr(), &item, &key, &value);)
              made.put(dict, key, value);
          };
          if (!kept.nothing())
            own = state_of(state.ptr(), handle, p, kept, made, at, make, [](bool, std::size_t, Tensor&&) {});
          plan.append(py::make_tuple(py::handle(group), py::handle(handle), own));
        });
    made.keep();
    return plan.release().ptr();
  });
}

}  // namespace

void bind_optim(py::module_& m) {
  py::options options;
  options.disable_function_signatures();
  m.def(
      "zero_grad", zero_grad, py::arg("param_groups"), py::arg("set_to_none") = true,
      "zero_grad(param_groups: list[dict[str, Any]], set_to_none: bool = True) -> None\n\nForgets or zeroes "
      "every grad.");
  static PyMethodDef steps[] = {
      {"sgd_step", step<Sgd>, METH_O,
       "sgd_step(optimizer: Any, /) -> None\n\nOne SGD step of all params that have a grad."},
      {"adam_step", step<Adam>, METH_O,
       "adam_step(optimizer: Any, /) -> None\n\nOne Adam step of all params that have a grad."},
      {"rmsprop_step", step<Rmsprop>, METH_O,
       "rmsprop_step(optimizer: Any, /) -> None\n\nOne RMSprop step of all params that have a grad."},
      {"plan_step", plan_step, METH_O,
       "plan_step(optimizer: Any, /) -> list[tuple[dict[str, Any], Tensor, Any]]\n\nGroup, parameter and state of "
       "all params that have a grad; raises, with nothing changed, where a step would fail."}};
  for (PyMethodDef& def : steps)
    m.attr(def.ml_name) = py::reinterpret_steal<py::object>(
        PyCFunction_NewEx(&def, nullptr, py::str("unspool._core").release().ptr()));
}

}  // namespace unspool::python
