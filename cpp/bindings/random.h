// The Generator as Python sees it.
#pragma once

#include <Python.h>

#include "unspool/base/random.h"

namespace unspool::python {

Generator& generator_of(PyObject* o);  // o is one: see is_generator

}  // namespace unspool::python
