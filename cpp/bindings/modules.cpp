// How a module is called. `ModuleBase`, the base of nn.Module, has a native call: it looks for hooks, then
// runs `forward`. A few layers have, besides the forward in Python that says what they do, a native one
// that does the same: it is taken where the instance is of just that class and nobody has replaced or
// hooked anything. Sequential's runs its children without coming back to Python, and makes Linear and ReLU
// one op. Start reading at call_module().
#include <array>

#include "handle.h"
#include "unspool/ops/ops.h"
#include "unspool/tape/sweep.h"

namespace unspool::python {
namespace {

PyTypeObject* module_base = nullptr;
PyObject* hooked_call = nullptr;  // call(module, args, kwargs) between hooks, in Python
bool all_hooked = false;          // there are hooks of all modules

PyObject* name_object(const char* text) { return PyUnicode_InternFromString(text); }

// Borrowed, or null where there is none.
PyObject* entry(PyObject* dict, PyObject* key) {
  PyObject* value = PyDict_GetItemWithError(dict, key);
  if (!value && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

py::object dict_of(PyObject* module) {
  PyObject* own = PyObject_GenericGetDict(module, nullptr);
  if (!own) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(own);
}

bool is_hooked(PyObject* own) {
  static PyObject* const kHooked = name_object("_hooked");
  return all_hooked || entry(own, kHooked) != nullptr;
}

// ---- Native forwards -----------------------------------------------------------------------------------

// Of the instance's dict and the positional arguments. Null without an exception: not a case for this one.
using NativeForward = PyObject* (*)(PyObject* own, PyObject* const* args, Py_ssize_t n);

struct Layer {
  const char* name;
  NativeForward run;
  PyTypeObject* type = nullptr;
  PyObject* forward = nullptr;  // the function in Python that `run` stands for
};

struct Weights {
  Tensor weight, bias;
};

bool weights_of(PyObject* own, Weights& w) {
  static PyObject* const kParameters = name_object("_parameters");
  static PyObject* const kWeight = name_object("weight");
  static PyObject* const kBias = name_object("bias");
  PyObject* table = entry(own, kParameters);
  if (!table || !PyDict_Check(table)) return false;
  PyObject* weight = entry(table, kWeight);
  PyObject* bias = entry(table, kBias);
  if (!weight || !bias || !is_tensor(weight) || !(bias == Py_None || is_tensor(bias))) return false;
  w.weight = unwrap(weight);
  if (bias != Py_None) w.bias = unwrap(bias);
  return true;
}

PyObject* run_linear(PyObject* own, PyObject* const* args, Py_ssize_t n) {
  Weights w;
  if (n != 1 || !is_tensor(args[0]) || !weights_of(own, w)) return nullptr;
  return wrap(linear(unwrap(args[0]), w.weight, w.bias));
}

bool works_in_place(PyObject* own) {
  static PyObject* const kInplace = name_object("inplace");
  return entry(own, kInplace) != Py_False;
}

PyObject* run_relu(PyObject* own, PyObject* const* args, Py_ssize_t n) {
  if (n != 1 || !is_tensor(args[0]) || works_in_place(own)) return nullptr;
  return wrap(relu(unwrap(args[0])));
}

PyObject* run_mse_loss(PyObject* own, PyObject* const* args, Py_ssize_t n) {
  static PyObject* const kReduction = name_object("reduction");
  static PyObject* const kNames[] = {name_object("none"), name_object("mean"), name_object("sum")};
  if (n != 2 || !is_tensor(args[0]) || !is_tensor(args[1])) return nullptr;
  const Tensor a = unwrap(args[0]), b = unwrap(args[1]);
  if (!(a.shape() == b.shape())) return nullptr;  // a warning is due
  PyObject* reduction = entry(own, kReduction);
  for (int i = 0; i < 3; ++i)
    if (reduction == kNames[i]) return wrap(mse_loss(a, b, i));
  return nullptr;
}

PyObject* run_sequential(PyObject* own, PyObject* const* args, Py_ssize_t n);

enum : std::size_t { kLinear, kRelu, kMseLoss, kSequential };
std::array layers = {Layer{"Linear", run_linear}, Layer{"ReLU", run_relu}, Layer{"MSELoss", run_mse_loss},
                     Layer{"Sequential", run_sequential}};

// The layer whose native forward may stand for the module's, hooks not yet looked at.
const Layer* layer_of(PyTypeObject* type) {
  static PyObject* const kForward = name_object("forward");
  for (const Layer& l : layers)
    if (l.type == type) return _PyType_Lookup(type, kForward) == l.forward ? &l : nullptr;
  return nullptr;
}

bool own_forward(PyObject* own) {
  static PyObject* const kForward = name_object("forward");
  return entry(own, kForward) != nullptr;
}

// ---- The call ------------------------------------------------------------------------------------------

// self.forward(*args, **keywords); `keywords` may be null.
PyObject* call_forward(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* keywords) {
  static PyObject* const kForward = name_object("forward");
  const py::object own = dict_of(self);
  const bool replaced = own_forward(own.ptr());
  PyTypeObject* type = Py_TYPE(self);
  if (!replaced && !keywords)
    if (const Layer* l = layer_of(type)) {
      PyObject* y = l->run(own.ptr(), args, n);
      if (y || PyErr_Occurred()) return y;
    }
  PyObject* f = replaced ? nullptr : _PyType_Lookup(type, kForward);
  if (f && PyFunction_Check(f)) {  // called as a method, without making one
    constexpr Py_ssize_t kInline = 8;
    PyObject* few[kInline + 1];
    Vector<PyObject*> many;
    PyObject** all = few;
    if (n > kInline) {
      many.resize(static_cast<std::size_t>(n) + 1);
      all = many.data();
    }
    all[0] = self;
    for (Py_ssize_t i = 0; i < n; ++i) all[i + 1] = args[i];
    const py::object hold = py::reinterpret_borrow<py::object>(f);
    return PyObject_VectorcallDict(f, all, static_cast<std::size_t>(n) + 1, keywords);
  }
  const py::object bound = py::reinterpret_steal<py::object>(PyObject_GetAttr(self, kForward));
  return bound ? PyObject_VectorcallDict(bound.ptr(), args, static_cast<std::size_t>(n), keywords) : nullptr;
}

PyObject* call_module(PyObject* self, PyObject* args, PyObject* keywords) {
  return guarded([&]() -> PyObject* {
    if (keywords && PyDict_GET_SIZE(keywords) == 0) keywords = nullptr;
    if (is_hooked(dict_of(self).ptr())) [[unlikely]] {
      const py::object given = keywords ? py::reinterpret_borrow<py::object>(keywords) : py::dict();
      return PyObject_CallFunctionObjArgs(hooked_call, self, args, given.ptr(), nullptr);
    }
    return call_forward(self, &PyTuple_GET_ITEM(args, 0), PyTuple_GET_SIZE(args), keywords);
  });
}

// ---- Sequential ----------------------------------------------------------------------------------------

// Whether this child's call is nothing but the forward of `l`.
bool is_plain(PyObject* child, const Layer& l, PyObject* own) {
  return Py_TYPE(child) == l.type && l.type->tp_call == call_module && layer_of(l.type) == &l &&
         !own_forward(own) && !is_hooked(own);
}

// relu(linear(x)) where that is what the two children come to; null where it is not.
PyObject* run_fused(PyObject* first, PyObject* second, PyObject* x) {
  const Layer &linear = layers[kLinear], &relu = layers[kRelu];
  if (Py_TYPE(first) != linear.type || Py_TYPE(second) != relu.type || !is_tensor(x) || anomaly_mode())
    return nullptr;
  const DType d = impl_of(x)->dtype;
  if (d != DType::Float32 && d != DType::Float64) return nullptr;
  const py::object own = dict_of(first);
  Weights w;
  if (!is_plain(first, linear, own.ptr()) || !is_plain(second, relu, dict_of(second).ptr()) ||
      !weights_of(own.ptr(), w))
    return nullptr;
  return wrap(linear_relu(unwrap(x), w.weight, w.bias));
}

PyObject* run_sequential(PyObject* own, PyObject* const* args, Py_ssize_t n) {
  static PyObject* const kModules = name_object("_modules");
  PyObject* table = entry(own, kModules);
  if (n != 1 || !table || !PyDict_CheckExact(table)) return nullptr;
  const auto children = py::reinterpret_borrow<py::object>(table);
  const Py_ssize_t size = PyDict_GET_SIZE(table);
  if (Py_EnterRecursiveCall(" while calling a module")) return nullptr;
  struct Leave {
    ~Leave() { Py_LeaveRecursiveCall(); }
  } leave;
  auto x = py::reinterpret_borrow<py::object>(args[0]);
  Py_ssize_t at = 0;
  PyObject *key = nullptr, *child = nullptr;
  while (PyDict_Next(table, &at, &key, &child)) {
    const auto hold = py::reinterpret_borrow<py::object>(child);
    Py_ssize_t after = at;
    PyObject *next = nullptr, *y = nullptr;
    if (Py_TYPE(child) == layers[kLinear].type && PyDict_Next(table, &after, &key, &next))
      y = run_fused(child, next, x.ptr());
    if (y)
      at = after;
    else if (!PyErr_Occurred())
      y = PyObject_CallOneArg(child, x.ptr());
    if (!y) return nullptr;
    x = py::reinterpret_steal<py::object>(y);
    if (PyDict_GET_SIZE(table) != size) {
      PyErr_SetString(PyExc_RuntimeError, "Sequential: its modules changed during the call");
      return nullptr;
    }
  }
  return x.release().ptr();
}

}  // namespace

void bind_modules(py::module_& m) {
  PyType_Slot slots[] = {
      {Py_tp_call, slot(call_module)},
      {Py_tp_doc, const_cast<char*>("What nn.Module is made of: its call runs forward between hooks.")},
      {0, nullptr}};
  PyType_Spec spec = {"unspool._core.ModuleBase", sizeof(PyObject), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
  PyObject* type = PyType_FromSpec(&spec);
  if (!type) throw py::error_already_set();
  module_base = reinterpret_cast<PyTypeObject*>(type);
  m.attr("ModuleBase") = py::handle(type);

  py::options options;
  options.disable_function_signatures();
  m.def(
      "_runs_natively",
      [](const py::object& cls) {
        for (Layer& l : layers)
          if (cls.attr("__name__").cast<std::string>() == l.name) {
            l.type = reinterpret_cast<PyTypeObject*>(py::object(cls).release().ptr());
            l.forward = py::object(cls.attr("forward")).release().ptr();
            return cls;
          }
        fail(ErrorKind::Type, "_runs_natively: no native forward for ", short_repr(cls.ptr()));
      },
      py::arg("cls"),
      "_runs_natively(cls: Any) -> Any\n\nA decorator of layers: calls of just this class take the native "
      "forward of its name.");
  m.def(
      "_set_hooked_call", [](const py::object& f) { hooked_call = py::object(f).release().ptr(); },
      py::arg("f"),
      "_set_hooked_call(f: Callable[..., Any]) -> None\n\nf(module, args, kwargs) calls a module that has hooks.");
  m.def(
      "_hook_all_modules", [](bool on) { all_hooked = on; }, py::arg("on"),
      "_hook_all_modules(on: bool) -> None\n\nWhether every call of a module is one with hooks.");
}

}  // namespace unspool::python
