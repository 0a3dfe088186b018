// One native call for an optimizer's step and one for zero_grad, all parameter groups together. Settings are
// read from the groups' dicts, state lives in the optimizer's own dicts, both under PyTorch's keys.
#include <cmath>

#include "handle.h"
#include "unspool/base/cpu.h"
#include "unspool/ops/ops.h"
#include "unspool/ops/update.h"

namespace unspool::python {
namespace {

PyObject* interned(const char* text) { return PyUnicode_InternFromString(text); }

// state[param], made where it is missing.
py::object state_of(PyObject* state, PyObject* param) {
  PyObject* own = PyDict_GetItemWithError(state, param);
  if (own) return py::reinterpret_borrow<py::object>(own);
  if (PyErr_Occurred()) throw py::error_already_set();
  py::dict fresh;
  if (PyDict_SetItem(state, param, fresh.ptr()) < 0) throw py::error_already_set();
  return fresh;
}

Tensor tensor_in(PyObject* own, PyObject* key) {
  PyObject* value = PyDict_GetItemWithError(own, key);
  if (!value || value == Py_None) return {};
  if (!is_tensor(value))
    fail(ErrorKind::Type, "step: state ", short_repr(key), " must be a Tensor, got ", short_repr(value));
  return unwrap(value);
}

void put(PyObject* own, PyObject* key, const Tensor& t) {
  const py::object handle = py::reinterpret_steal<py::object>(wrap(t));
  if (PyDict_SetItem(own, key, handle.ptr()) < 0) throw py::error_already_set();
}

// A setting of a group, borrowed.
PyObject* setting(PyObject* group, PyObject* key) {
  PyObject* value = PyDict_GetItemWithError(group, key);
  if (value) return value;
  if (!PyErr_Occurred()) PyErr_SetObject(PyExc_KeyError, key);
  throw py::error_already_set();
}
double number_of(const char* what, PyObject* value) {
  const double x = PyFloat_AsDouble(value);
  if (x != -1.0 || !PyErr_Occurred()) return x;
  PyErr_Clear();
  fail(ErrorKind::Type, "step: ", what, " must be a number, got ", short_repr(value));
}
double number(PyObject* group, PyObject* key) {
  return number_of(PyUnicode_AsUTF8(key), setting(group, key));
}
bool flag(PyObject* value) {
  const int on = PyObject_IsTrue(value);
  if (on < 0) throw py::error_already_set();
  return on != 0;
}

// Another thread may change the lists during the long work of f.
template <class F>
void each_param(PyObject* group, F&& f) {
  static PyObject* const kParams = interned("params");
  const auto params = py::reinterpret_borrow<py::object>(setting(group, kParams));
  if (!PyList_Check(params.ptr()))
    fail(ErrorKind::Type, "step: params must be a list of Tensors, got ", short_repr(params.ptr()));
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(params.ptr()); ++i) {
    const auto h = py::reinterpret_borrow<py::object>(PyList_GET_ITEM(params.ptr(), i));
    if (!is_tensor(h.ptr()))
      fail(ErrorKind::Type, "step: params must hold Tensors, got ", short_repr(h.ptr()));
    f(h.ptr(), unwrap(h.ptr()));
  }
}

template <class F>
void each_group(PyObject* groups, F&& f) {
  if (!PyList_Check(groups))
    fail(ErrorKind::Type, "step: param_groups must be a list of dicts, got ", short_repr(groups));
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(groups); ++i) {
    const auto group = py::reinterpret_borrow<py::object>(PyList_GET_ITEM(groups, i));
    if (!PyDict_Check(group.ptr()))
      fail(ErrorKind::Type, "step: param_groups must hold dicts, got ", short_repr(group.ptr()));
    f(group.ptr());
  }
}

void zero_grad(const py::object& groups, bool set_to_none) {
  GradMode off(false);
  each_group(groups.ptr(), [&](PyObject* group) {
    each_param(group, [&](PyObject*, const Tensor& p) {
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

void sgd_group(PyObject* group, PyObject* state) {
  static PyObject* const kLr = interned("lr");
  static PyObject* const kMomentum = interned("momentum");
  static PyObject* const kDampening = interned("dampening");
  static PyObject* const kDecay = interned("weight_decay");
  static PyObject* const kNesterov = interned("nesterov");
  static PyObject* const kMaximize = interned("maximize");
  static PyObject* const kBuffer = interned("momentum_buffer");
  const SgdOptions options{
      number(group, kLr),    number(group, kMomentum),        number(group, kDampening),
      number(group, kDecay), flag(setting(group, kNesterov)), flag(setting(group, kMaximize))};
  each_param(group, [&](PyObject* handle, const Tensor& p) {
    if (!p->grad) return;
    Tensor buffer;
    bool first = false;
    if (options.momentum != 0.0) {
      const py::object owner = state_of(state, handle);
      buffer = tensor_in(owner.ptr(), kBuffer);
      if (!buffer) {
        first = true;
        buffer = empty(p.shape(), p.dtype());
        put(owner.ptr(), kBuffer, buffer);
      }
    }
    sgd_update(p, p->grad, buffer, options, first);
  });
}

// One more step; the count from 1.
double counted(const Tensor& step) {
  if (step.numel() != 1 || !(step.dtype() == DType::Float32 || step.dtype() == DType::Float64))
    fail(ErrorKind::Runtime, "step: state 'step' must be one number of float32 or float64, got shape ",
         step.shape(), " and dtype ", name(step.dtype()));
  add_(step, wrapped_number(1.0));
  return step.dtype() == DType::Float64 ? *reinterpret_cast<double*>(step->data)
                                        : static_cast<double>(*reinterpret_cast<float*>(step->data));
}

void adam_group(PyObject* group, PyObject* state) {
  static PyObject* const kLr = interned("lr");
  static PyObject* const kBetas = interned("betas");
  static PyObject* const kEps = interned("eps");
  static PyObject* const kDecay = interned("weight_decay");
  static PyObject* const kAmsgrad = interned("amsgrad");
  static PyObject* const kMaximize = interned("maximize");
  static PyObject* const kDecoupled = interned("decoupled_weight_decay");
  static PyObject* const kStep = interned("step");
  static PyObject* const kMean = interned("exp_avg");
  static PyObject* const kSquare = interned("exp_avg_sq");
  static PyObject* const kLargest = interned("max_exp_avg_sq");
  const auto betas = py::reinterpret_borrow<py::object>(setting(group, kBetas));
  if (!(PyTuple_Check(betas.ptr()) || PyList_Check(betas.ptr())) ||
      PySequence_Fast_GET_SIZE(betas.ptr()) != 2)
    fail(ErrorKind::Value, "step: betas must be two numbers, got ", short_repr(betas.ptr()));
  const double beta1 = number_of("betas", PySequence_Fast_GET_ITEM(betas.ptr(), 0));
  const double beta2 = number_of("betas", PySequence_Fast_GET_ITEM(betas.ptr(), 1));
  const AdamOptions options{number(group, kLr),
                            beta1,
                            beta2,
                            number(group, kEps),
                            number(group, kDecay),
                            flag(setting(group, kMaximize)),
                            flag(setting(group, kDecoupled))};
  const bool amsgrad = flag(setting(group, kAmsgrad));
  each_param(group, [&](PyObject* handle, const Tensor& p) {
    if (!p->grad) return;
    const py::object owner = state_of(state, handle);
    PyObject* own = owner.ptr();
    Tensor step = tensor_in(own, kStep);
    if (!step) {
      step = zeros({}, DType::Float32);
      put(own, kStep, step);
      put(own, kMean, zeros_like(p));
      put(own, kSquare, zeros_like(p));
      if (amsgrad) put(own, kLargest, zeros_like(p));
    }
    const double count = counted(step);
    adam_update(p, p->grad, tensor_in(own, kMean), tensor_in(own, kSquare),
                amsgrad ? tensor_in(own, kLargest) : Tensor(), options, count);
  });
}

void rmsprop_group(PyObject* group, PyObject* state) {
  static PyObject* const kLr = interned("lr");
  static PyObject* const kAlpha = interned("alpha");
  static PyObject* const kEps = interned("eps");
  static PyObject* const kDecay = interned("weight_decay");
  static PyObject* const kMomentum = interned("momentum");
  static PyObject* const kCentered = interned("centered");
  static PyObject* const kMaximize = interned("maximize");
  static PyObject* const kStep = interned("step");
  static PyObject* const kSquare = interned("square_avg");
  static PyObject* const kBuffer = interned("momentum_buffer");
  static PyObject* const kMean = interned("grad_avg");
  const RmspropOptions options{number(group, kLr),       number(group, kAlpha),
                               number(group, kEps),      number(group, kDecay),
                               number(group, kMomentum), flag(setting(group, kMaximize))};
  const bool with_buffer = options.momentum > 0, centered = flag(setting(group, kCentered));
  each_param(group, [&](PyObject* handle, const Tensor& p) {
    if (!p->grad) return;
    const py::object owner = state_of(state, handle);
    PyObject* own = owner.ptr();
    Tensor step = tensor_in(own, kStep);
    if (!step) {
      step = zeros({}, DType::Float32);
      put(own, kStep, step);
      put(own, kSquare, zeros_like(p));
      if (with_buffer) put(own, kBuffer, zeros_like(p));
      if (centered) put(own, kMean, zeros_like(p));
    }
    counted(step);
    rmsprop_update(p, p->grad, tensor_in(own, kSquare), with_buffer ? tensor_in(own, kBuffer) : Tensor(),
                   centered ? tensor_in(own, kMean) : Tensor(), options);
  });
}

// step(param_groups, state), of every optimizer whose update is one op a parameter.
template <void (*kGroup)(PyObject* group, PyObject* state)>
PyObject* step(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 2 || !PyDict_Check(args[1]))
      fail(ErrorKind::Type, "step: takes param_groups and the state, a dict");
    const GradMode off(false);
    const FlushSubnormals flush;  // once, not once a parameter
    each_group(args[0], [&](PyObject* group) { kGroup(group, args[1]); });
    Py_RETURN_NONE;
  });
}

template <auto kF>
PyMethodDef native(const char* name, const char* doc) {
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(kF)), METH_FASTCALL, doc};
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
      native<step<sgd_group>>("sgd_step",
                              "sgd_step(param_groups: list[dict[str, Any]], state: dict[Any, Any], /) -> "
                              "None\n\nOne SGD step of all params that have a grad."),
      native<step<adam_group>>("adam_step",
                               "adam_step(param_groups: list[dict[str, Any]], state: dict[Any, Any], /) -> "
                               "None\n\nOne Adam step of all params that have a grad."),
      native<step<rmsprop_group>>(
          "rmsprop_step",
          "rmsprop_step(param_groups: list[dict[str, Any]], state: dict[Any, Any], /) "
          "-> None\n\nOne RMSprop step of all params that have a grad.")};
  for (PyMethodDef& def : steps)
    m.attr(def.ml_name) = py::reinterpret_steal<py::object>(
        PyCFunction_NewEx(&def, nullptr, py::str("unspool._core").release().ptr()));
}

}  // namespace unspool::python
