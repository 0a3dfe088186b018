// What an optimizer keeps for a parameter, in its own dicts: read, checked, and made where it is missing.
// Start at state_of().
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "optim_groups.h"
#include "unspool/ops/ops.h"

namespace unspool::python {

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
inline Tensor tensor_in(PyObject* own, PyObject* key, const Place& at) {
  PyObject* value = entry(own, key);
  if (!value || value == Py_None) return {};
  if (!is_tensor(value))
    fail(ErrorKind::Type, at.op(), ": state '", PyUnicode_AsUTF8(key), "'", at.of_param(),
         " must be a Tensor, got ", short_repr(value));
  return unwrap(value);
}

[[noreturn, gnu::cold]] inline void fail_unlike(const std::string& what, const Tensor& t, const Tensor& param,
                                                const Place& at) {
  if (!(t.shape() == param.shape()))
    fail(ErrorKind::Shape, at.op(), ": ", what, at.of_param(), " has shape ", t.shape(),
         ", the parameter has shape ", param.shape());
  fail(ErrorKind::DType, at.op(), ": ", what, at.of_param(), " has dtype ", name(t.dtype()),
       ", the parameter has dtype ", name(param.dtype()));
}
inline bool alike(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape();
}

inline double count_of(const Tensor& t) {
  return t.dtype() == DType::Float64 ? *reinterpret_cast<double*>(t->data)
                                     : static_cast<double>(*reinterpret_cast<float*>(t->data));
}
inline void check_counter(const Tensor& t, PyObject* key, const Place& at) {
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

inline void check_grad(const Tensor& p, const Place& at) {
  if (!alike(p->grad, p)) fail_unlike("grad", p->grad, p, at);
  if (!is_floating(p.dtype()))
    fail(ErrorKind::DType, at.op(), ": params", at.in_group(), " must be floating, params[", at.param,
         "] has dtype ", name(p.dtype()));
}

}  // namespace unspool::python
