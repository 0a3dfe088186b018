// How the rest of the bindings calls an op by name, through the argument parser.
#pragma once

#include <Python.h>

namespace unspool::python {

struct Entry;
const Entry* find_op(const char* name, bool inplace = false);
PyObject* call_entry(const Entry* e, PyObject* const* args, int n);

}  // namespace unspool::python
