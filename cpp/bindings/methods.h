// The tensor's methods that are defined elsewhere (conversions.cpp) than the table that names them
// (methods.cpp).
#pragma once

#include "handle.h"

namespace unspool::python {

PyObject* item(PyObject* self, PyObject*);
PyObject* tolist(PyObject* self, PyObject*);
PyObject* format(PyObject* self, PyObject* spec);
Tensor to_method(const Tensor& self, const py::args& args, const py::kwargs& kwargs);
py::object type_method(const Tensor& self, const py::object& target, bool non_blocking);
// Instantiated for every dtype.
template <DType D>
PyObject* as_dtype(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* keywords);

// The argument of a method that takes at most one, by place or by name; null where it is left out.
PyObject* only_argument(const char* op, const char* name, PyObject* const* args, Py_ssize_t n,
                        PyObject* keywords);

}  // namespace unspool::python
