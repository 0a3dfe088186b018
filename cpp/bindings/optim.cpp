// One native call for the step of a parameter group, and for zero_grad. The state lives in the
// optimizer's own dicts, under PyTorch's keys.
#include <cmath>

#include "handle.h"
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

// Another thread may change the list during the long work of f.
template <class F>
void each_param(const py::list& params, F&& f) {
  for (std::size_t i = 0; i < params.size(); ++i) {
    const auto h = py::reinterpret_borrow<py::object>(params[i]);
    if (!is_tensor(h.ptr()))
      fail(ErrorKind::Type, "step: params must hold Tensors, got ", short_repr(h.ptr()));
    f(h.ptr(), unwrap(h.ptr()));
  }
}

void zero_grad(const py::list& params, bool set_to_none) {
  GradMode off(false);
  each_param(params, [&](PyObject*, const Tensor& p) {
    if (!p->grad) return;
    if (set_to_none) {
      p->grad = Tensor();
    } else {
      if (p->grad->node) p->grad = alias(p->grad);
      fill_(p->grad, wrapped_number(0.0));
    }
  });
}

void sgd_step(const py::list& params, const py::dict& state, double lr, double momentum, double dampening,
              double weight_decay, bool nesterov, bool maximize) {
  static PyObject* const kBuffer = interned("momentum_buffer");
  GradMode off(false);
  const SgdOptions options{lr, momentum, dampening, weight_decay, nesterov, maximize};
  each_param(params, [&](PyObject* handle, const Tensor& p) {
    if (!p->grad) return;
    Tensor buffer;
    bool first = false;
    if (momentum != 0.0) {
      const py::object owner = state_of(state.ptr(), handle);
      PyObject* own = owner.ptr();
      buffer = tensor_in(own, kBuffer);
      if (!buffer) {
        first = true;
        buffer = empty(p.shape(), p.dtype());
        put(own, kBuffer, buffer);
      }
    }
    sgd_update(p, p->grad, buffer, options, first);
  });
}

// One more step; the count from 1.
double counted(const Tensor& step) {
  if (step.numel() != 1 || !is_floating(step.dtype()))
    fail(ErrorKind::Runtime, "step: state 'step' must be one floating number, got shape ", step.shape(),
         " and dtype ", name(step.dtype()));
  add_(step, wrapped_number(1.0));
  return step.dtype() == DType::Float64 ? *reinterpret_cast<double*>(step->data)
                                        : static_cast<double>(*reinterpret_cast<float*>(step->data));
}

void adam_step(const py::list& params, const py::dict& state, double lr, double beta1, double beta2,
               double eps, double weight_decay, bool amsgrad, bool maximize, bool decoupled) {
  static PyObject* const kStep = interned("step");
  static PyObject* const kMean = interned("exp_avg");
  static PyObject* const kSquare = interned("exp_avg_sq");
  static PyObject* const kLargest = interned("max_exp_avg_sq");
  GradMode off(false);
  const AdamOptions options{lr, beta1, beta2, eps, weight_decay, maximize, decoupled};
  each_param(params, [&](PyObject* handle, const Tensor& p) {
    if (!p->grad) return;
    const py::object owner = state_of(state.ptr(), handle);
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

void rmsprop_step(const py::list& params, const py::dict& state, double lr, double alpha, double eps,
                  double weight_decay, double momentum, bool centered, bool maximize) {
  static PyObject* const kStep = interned("step");
  static PyObject* const kSquare = interned("square_avg");
  static PyObject* const kBuffer = interned("momentum_buffer");
  static PyObject* const kMean = interned("grad_avg");
  GradMode off(false);
  const RmspropOptions options{lr, alpha, eps, weight_decay, momentum, maximize};
  each_param(params, [&](PyObject* handle, const Tensor& p) {
    if (!p->grad) return;
    const py::object owner = state_of(state.ptr(), handle);
    PyObject* own = owner.ptr();
    Tensor step = tensor_in(own, kStep);
    if (!step) {
      step = zeros({}, DType::Float32);
      put(own, kStep, step);
      put(own, kSquare, zeros_like(p));
      if (momentum > 0) put(own, kBuffer, zeros_like(p));
      if (centered) put(own, kMean, zeros_like(p));
    }
    counted(step);
    rmsprop_update(p, p->grad, tensor_in(own, kSquare), momentum > 0 ? tensor_in(own, kBuffer) : Tensor(),
                   centered ? tensor_in(own, kMean) : Tensor(), options);
  });
}

}  // namespace

void bind_optim(py::module_& m) {
  py::options options;
  options.disable_function_signatures();
  m.def("zero_grad", zero_grad, py::arg("params"), py::arg("set_to_none") = true,
        "zero_grad(params: list[Tensor], set_to_none: bool = True) -> None\n\nForgets or zeroes "
        "every grad.");
  m.def("sgd_step", sgd_step, py::arg("params"), py::arg("state"), py::arg("lr"), py::arg("momentum") = 0.0,
        py::arg("dampening") = 0.0, py::arg("weight_decay") = 0.0, py::arg("nesterov") = false,
        py::arg("maximize") = false,
        "sgd_step(params: list[Tensor], state: dict[Tensor, dict[str, Tensor]], lr: float, "
        "momentum: float = 0.0, dampening: float = 0.0, weight_decay: float = 0.0, nesterov: bool "
        "= False, maximize: bool = False) -> None\n\nOne SGD step of all params that have a grad.");
  m.def("adam_step", adam_step, py::arg("params"), py::arg("state"), py::arg("lr"), py::arg("beta1"),
        py::arg("beta2"), py::arg("eps"), py::arg("weight_decay"), py::arg("amsgrad"), py::arg("maximize"),
        py::arg("decoupled_weight_decay"),
        "adam_step(params: list[Tensor], state: dict[Tensor, dict[str, Tensor]], lr: float, beta1: "
        "float, beta2: float, eps: float, weight_decay: float, amsgrad: bool, maximize: bool, "
        "decoupled_weight_decay: bool) -> None\n\nOne Adam step of all params that have a grad.");
  m.def(
      "rmsprop_step", rmsprop_step, py::arg("params"), py::arg("state"), py::arg("lr"), py::arg("alpha"),
      py::arg("eps"), py::arg("weight_decay"), py::arg("momentum"), py::arg("centered"), py::arg("maximize"),
      "rmsprop_step(params: list[Tensor], state: dict[Tensor, dict[str, Tensor]], lr: float, alpha: float, eps: "
      "float, weight_decay: float, momentum: float, centered: bool, maximize: bool) -> None\n\nOne RMSprop step of "
      "all params that have a grad.");
}

}  // namespace unspool::python
