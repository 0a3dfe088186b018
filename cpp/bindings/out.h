// `out=`: where an op's results go, for every function of the table and those of the Python layer.
#pragma once

#include <Python.h>

#include <functional>

namespace unspool::python {

// Runs `compute` without recording and writes its results into `out`, a tensor or a sequence of them. As in PyTorch,
// a target of another shape is resized, with a warning where it held elements; RuntimeError where the results' dtype
// can't be cast to the target's, or where a target or one of `arguments` requires grad. Returns `out`, or a tuple of
// its tensors of the type that the results had.
PyObject* into(const char* op, PyObject* out, PyObject* const* arguments, Py_ssize_t n_arguments,
               const std::function<PyObject*()>& compute);

}  // namespace unspool::python
