// Named tuples for ops with several results.
#pragma once

#include <Python.h>

#include <string>
#include <vector>

namespace unspool::python {

// The type of that op's results, one for the life of the process; borrowed.
PyTypeObject* return_type(const std::string& name, const std::vector<std::string>& fields);

}  // namespace unspool::python
