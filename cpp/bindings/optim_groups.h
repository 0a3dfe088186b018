// How a step reads an optimizer: its groups, their parameters and their settings, each checked. Start at
// each_group() and Settings.
#pragma once

#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "handle.h"

namespace unspool::python {

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
inline const Names& names() {
  static const Names made;
  return made;
}

inline py::object attribute(PyObject* of, PyObject* name) {
  PyObject* value = PyObject_GetAttr(of, name);
  if (!value) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(value);
}

// An entry of a dict, borrowed; null where there is none.
inline PyObject* entry(PyObject* dict, PyObject* key) {
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

inline py::object state_dict_of(PyObject* optimizer, const Place& at) {
  py::object state = attribute(optimizer, names().state);
  if (!PyDict_Check(state.ptr()))
    fail(ErrorKind::Type, at.op(), ": state must be a dict, got ", short_repr(state.ptr()));
  return state;
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
      if (is_tensor(value) && unwrap(value).numel() == 1) throw py::error_already_set();  // says why not here
      PyErr_Clear();
      fail(ErrorKind::Type, what, " must be a number, got ", short_repr(value));
    }
    fail(ErrorKind::Value, what, " is ", short_repr(value),
         std::isnan(x) ? "; it must be a number" : "; it must be at least 0");
  }

  PyObject* group_;
  const Place& at_;
};

}  // namespace unspool::python
