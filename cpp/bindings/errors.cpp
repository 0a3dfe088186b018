// Engine errors as Python exceptions: one type for each ErrorKind.
#include <new>
#include <utility>

#include "handle.h"

namespace unspool::python {
namespace {

PyObject* shape_error = nullptr;
PyObject* dtype_error = nullptr;
PyObject* plan_error = nullptr;

PyObject* type_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::Runtime:
      return PyExc_RuntimeError;
    case ErrorKind::Value:
      return PyExc_ValueError;
    case ErrorKind::Type:
      return PyExc_TypeError;
    case ErrorKind::Index:
      return PyExc_IndexError;
    case ErrorKind::Shape:
      return shape_error;
    case ErrorKind::DType:
      return dtype_error;
    case ErrorKind::NotImplemented:
      return PyExc_NotImplementedError;
    case ErrorKind::Memory:
      return PyExc_MemoryError;
    case ErrorKind::Plan:
      return plan_error;
  }
  return PyExc_RuntimeError;
}

PyObject* new_type(py::module_& m, const char* name, const char* doc, PyObject* a, PyObject* b) {
  const std::string full = std::string("unspool.errors.") + name;
  const py::object bases = py::make_tuple(py::handle(a), py::handle(b));
  PyObject* type = PyErr_NewExceptionWithDoc(full.c_str(), doc, bases.ptr(), nullptr);
  if (!type) throw py::error_already_set();
  m.attr(name) = py::handle(type);
  return type;
}

}  // namespace

void set_python_error() {
  try {
    throw;
  } catch (py::error_already_set& e) {
    e.restore();
  } catch (py::builtin_exception& e) {
    e.set_error();
  } catch (const Error& e) {
    PyErr_SetString(type_of(e.kind()), e.what());
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
}

void bind_errors(py::module_& m) {
  shape_error =
      new_type(m, "ShapeError", "Shapes that do not fit each other.", PyExc_ValueError, PyExc_RuntimeError);
  dtype_error = new_type(m, "DTypeError", "A dtype that an operation does not take.", PyExc_TypeError,
                         PyExc_RuntimeError);
  plan_error = PyErr_NewExceptionWithDoc("unspool.errors.PlanError",
                                         "What cannot be frozen, or no longer fits what was.",
                                         PyExc_RuntimeError, nullptr);
  if (!plan_error) throw py::error_already_set();
  m.attr("PlanError") = py::handle(plan_error);
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      std::rethrow_exception(std::move(p));
    } catch (const Error& e) {
      PyErr_SetString(type_of(e.kind()), e.what());
    }
  });
}

}  // namespace unspool::python
