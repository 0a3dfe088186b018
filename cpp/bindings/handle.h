// The Python handle of a tensor: a CPython heap type, not a pybind11 class, because a handle is
// made for every result (23 ns against 203 ns, measured). Start reading at wrap() and unwrap().
// What binds with pybind11 sees tensors through the type_caster at the end.
#pragma once

#include <pybind11/pybind11.h>

#include <span>
#include <string>
#include <vector>

#include "unspool/ops/op.h"

namespace unspool::python {

namespace py = pybind11;

struct TensorObject {
  PyObject_HEAD TensorImpl* impl;  // owned
  PyObject* dict;                  // attributes set by the user
  PyObject* weakrefs;
};

extern PyTypeObject* tensor_type;

inline bool is_tensor(PyObject* o) {
  return Py_TYPE(o) == tensor_type || PyType_IsSubtype(Py_TYPE(o), tensor_type);
}
inline TensorImpl* impl_of(PyObject* o) { return reinterpret_cast<TensorObject*>(o)->impl; }
inline Tensor unwrap(PyObject* o) { return Tensor::borrow(impl_of(o)); }

// A new reference to the tensor's one handle. Null with an exception set on failure; None for a
// null tensor.
PyObject* wrap(const Tensor& t);
// A handle of a subclass for a tensor that has none yet.
PyObject* wrap_as(PyTypeObject* type, const Tensor& t);

// Runs f; a C++ exception becomes the Python one, and null is returned.
void set_python_error();
template <class F>
PyObject* guarded(F&& f) noexcept {
  try {
    return f();
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

// ---- Values ------------------------------------------------------------------------------------------

// A number as an attribute; false where it is none. Overflow of int64 raises OverflowError.
bool number_of(PyObject* o, Attr& out);
// A tensor, or a number as a wrapped one; false where it is neither.
bool operand_of(PyObject* o, Tensor& out);
std::string short_repr(PyObject* o);  // of at most 80 characters, for error messages

PyObject* dtype_object(DType d);  // borrowed
bool dtype_of_object(PyObject* o, DType& out);
PyObject* size_object(const Shape& s);                       // torch.Size, a new reference
PyObject* device_object();                                   // borrowed
void check_device(PyObject* o);                              // throws for anything but the CPU
MemoryFormat format_of_object(const char* op, PyObject* o);  // None is Preserve
bool is_generator(PyObject* o);

// What a plan cannot replay, while a function is being frozen: an error that names the line, or the end of
// the capture where the call goes on eagerly.
void refuse_in_capture(const char* op, const char* what);
bool goes_on_eagerly(const char* op, const char* what);  // the latter alone; false where the call may not
inline void refuse_reading(const char* op) {
  if (capturing) [[unlikely]]
    refuse_in_capture(op, "reads a tensor's value");
}

// ---- Subjects, each in a file of its own ---------------------------------------------------------------

void bind_errors(py::module_& m);
void bind_types(py::module_& m);   // dtype, Size, device
void bind_dtypes(py::module_& m);  // promotion, and questions about dtypes
void bind_handle(py::module_& m);  // Tensor
void bind_return_types(py::module_& m);
void bind_out(py::module_& m);      // out= for functions of the Python layer
void bind_ops(py::module_& m);      // a loop over the op table
void bind_methods(py::module_& m);  // what is no op: backward, item, to …
void bind_numpy(py::module_& m);    // tensor, from_numpy, numpy, tolist
void bind_autograd(py::module_& m);
void bind_dlpack(py::module_& m);
void bind_graph(py::module_& m);  // grad_fn, autograd.Function
void bind_hooks(py::module_& m);
void install_cycles();                       // frees cycles of hooks and graphs
void bind_sites(const std::string& folder);  // of the package: lines in it are no user's
void bind_random(py::module_& m);
void bind_init(py::module_& m);
void bind_modules(py::module_& m);  // calls of nn.Module
void bind_monitor(py::module_& m);  // a call a step
void bind_optim(py::module_& m);
void bind_compile(py::module_& m);
void bind_profile(py::module_& m);
void bind_data(py::module_& m);
void bind_threads(py::module_& m);  // and the GIL around long work

template <class F>
void* slot(F* f) {
  return reinterpret_cast<void*>(f);
}
int get_buffer(PyObject* self, Py_buffer* view, int flags);  // buffer.cpp
void release_buffer(PyObject* self, Py_buffer* view);
void add_number_slots(std::vector<PyType_Slot>& slots);                  // numbers.cpp
PyObject* subscript(PyObject* self, PyObject* index);                    // indexing.cpp
int assign_subscript(PyObject* self, PyObject* index, PyObject* value);  // indexing.cpp
PyObject* to_scalar(const Tensor& t);                                    // conversions.cpp: item()

}  // namespace unspool::python

namespace pybind11::detail {

template <>
struct type_caster<unspool::Tensor> {
  PYBIND11_TYPE_CASTER(unspool::Tensor, const_name("Tensor"));
  bool load(handle src, bool) {
    if (!unspool::python::is_tensor(src.ptr())) return false;
    value = unspool::python::unwrap(src.ptr());
    return true;
  }
  static handle cast(const unspool::Tensor& t, return_value_policy, handle) {
    return unspool::python::wrap(t);
  }
};

template <>
struct type_caster<unspool::DType> {
  PYBIND11_TYPE_CASTER(unspool::DType, const_name("dtype"));
  type_caster() : value(unspool::DType::Float32) {}
  bool load(handle src, bool) { return unspool::python::dtype_of_object(src.ptr(), value); }
  static handle cast(unspool::DType d, return_value_policy, handle) {
    return handle(unspool::python::dtype_object(d)).inc_ref();
  }
};

}  // namespace pybind11::detail
