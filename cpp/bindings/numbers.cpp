// Numbers and tensors: what stands for a number where a tensor is wanted, the operators, and what
// a tensor of one element gives to float(), int(), bool() and indexing.
#include <pybind11/numpy.h>

#include <vector>

#include "graph.h"
#include "handle.h"
#include "ops.h"
#include "unspool/ops/ops.h"

namespace unspool::python {

// ---- Conversion ------------------------------------------------------------------------------------------

std::string short_repr(PyObject* o) {
  PyObject* text = PyObject_Repr(o);
  if (!text) {
    PyErr_Clear();
    return std::string("a ") + Py_TYPE(o)->tp_name;
  }
  const char* utf8 = PyUnicode_AsUTF8(text);
  std::string s = utf8 ? utf8 : "?";
  PyErr_Clear();
  Py_DECREF(text);
  if (s.size() > 80) s = s.substr(0, 77) + "...";
  return s + " (" + Py_TYPE(o)->tp_name + ")";
}

namespace {

// NumPy's scalars, which are no subclass of Python's numbers (np.float64 is).
bool is_numpy_scalar(PyObject* o) {
  static PyObject* generic = nullptr;
  if (!generic) {
    generic = py::object(py::module_::import("numpy").attr("generic")).release().ptr();
  }
  return PyObject_IsInstance(o, generic) == 1;
}

}  // namespace

bool number_of(PyObject* o, Attr& out) {
  if (PyFloat_Check(o)) {
    out = Attr(PyFloat_AS_DOUBLE(o));
  } else if (PyBool_Check(o)) {
    out = Attr(o == Py_True);
  } else if (PyLong_Check(o)) {
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (overflow) {
      PyErr_Format(PyExc_OverflowError,
                   "a Python int must fit into int64 to stand for a tensor's "
                   "number, got %R",
                   o);
      throw py::error_already_set();
    }
    out = Attr(static_cast<std::int64_t>(value));
  } else if (is_tensor(o)) {
    const Tensor t = unwrap(o);
    if (t.ndim() != 0) return false;
    const py::object x = py::reinterpret_steal<py::object>(to_scalar(t));
    return number_of(x.ptr(), out);
  } else if (Py_TYPE(o)->tp_as_number && is_numpy_scalar(o)) {
    const py::object x = py::handle(o).attr("item")();
    return (PyFloat_Check(x.ptr()) || PyLong_Check(x.ptr())) && number_of(x.ptr(), out);
  } else {
    return false;
  }
  return true;
}

bool operand_of(PyObject* o, Tensor& out) {
  if (is_tensor(o)) {
    out = unwrap(o);
    return true;
  }
  Attr a;
  if (number_of(o, a)) {
    out = a.kind == Attr::Float  ? wrapped_number(a.f)
          : a.kind == Attr::Bool ? wrapped_number(a.i != 0)
                                 : wrapped_number(a.i);
    return true;
  }
  // A NumPy array takes part as the tensor that it would become.
  if (!py::isinstance<py::array>(o)) return false;
  // Kept for good: a static object would be given back after the interpreter is gone.
  static const py::handle as_tensor =
      py::object(py::module_::import("unspool._core").attr("as_tensor")).release();
  const py::object made = as_tensor(py::handle(o));
  out = unwrap(made.ptr());
  return true;
}

namespace {

// ---- Operators -------------------------------------------------------------------------------------------

bool takes(PyObject* o) {
  Tensor unused;
  return is_tensor(o) || PyFloat_Check(o) || PyLong_Check(o) || operand_of(o, unused);
}

// `reflected`: the name that PyTorch's grad_fn shows where the left operand is a number, or 0.
PyObject* binary(const Entry* op, PyObject* a, PyObject* b, std::uint32_t reflected = 0) {
  return guarded([&]() -> PyObject* {
    if (!takes(a) || !takes(b)) {
      PyErr_Clear();
      Py_RETURN_NOTIMPLEMENTED;
    }
    // A number on the left stands as a 0-d tensor: 2 - x is sub(tensor(2), x).
    py::object left;
    if (!is_tensor(a)) {
      Tensor number;
      operand_of(a, number);
      left = py::reinterpret_steal<py::object>(wrap(number));
      a = left.ptr();
    }
    PyObject* args[] = {a, b};
    PyObject* const y = call_entry(op, args, 2);
    if (left && reflected && y && is_tensor(y)) show_as(unwrap(y), reflected);
    return y;
  });
}
PyObject* inplace(const Entry* op, PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    if (!takes(b)) {
      PyErr_Clear();
      Py_RETURN_NOTIMPLEMENTED;
    }
    PyObject* args[] = {a, b};
    return call_entry(op, args, 2);
  });
}
PyObject* unary(const Entry* op, PyObject* a) {
  return guarded([&] { return call_entry(op, &a, 1); });
}

#define UNSPOOL_BINARY(fn, op)                     \
  PyObject* fn(PyObject* a, PyObject* b) {         \
    static const Entry* const entry = find_op(op); \
    return binary(entry, a, b);                    \
  }
#define UNSPOOL_INPLACE(fn, op)                              \
  PyObject* fn(PyObject* a, PyObject* b) {                   \
    static const Entry* const entry = find_op(op "_", true); \
    return inplace(entry, a, b);                             \
  }
#define UNSPOOL_UNARY(fn, op)                      \
  PyObject* fn(PyObject* a) {                      \
    static const Entry* const entry = find_op(op); \
    return unary(entry, a);                        \
  }
UNSPOOL_BINARY(nb_add, "add")
PyObject* nb_subtract(PyObject* a, PyObject* b) {
  static const Entry* const sub = find_op("sub");
  static const std::uint32_t reflected = number_of_name("RsubBackward1");
  return binary(sub, a, b, reflected);
}
UNSPOOL_BINARY(nb_multiply, "mul")
// A number by a tensor is PyTorch's reciprocal() * number, whose last bit may differ from a division's.
PyObject* nb_true_divide(PyObject* a, PyObject* b) {
  static const Entry *const div = find_op("div"), *const mul = find_op("mul"),
                            *const reciprocal = find_op("reciprocal");
  Attr number;
  if (is_tensor(a) || !number_of(a, number)) return binary(div, a, b);
  return guarded([&]() -> PyObject* {
    const py::object inverse = py::reinterpret_steal<py::object>(call_entry(reciprocal, &b, 1));
    return inverse ? binary(mul, inverse.ptr(), a) : nullptr;
  });
}
UNSPOOL_BINARY(nb_floor_divide, "floor_divide")
UNSPOOL_BINARY(nb_remainder, "remainder")
UNSPOOL_BINARY(nb_and, "bitwise_and")
UNSPOOL_BINARY(nb_or, "bitwise_or")
UNSPOOL_BINARY(nb_xor, "bitwise_xor")
UNSPOOL_BINARY(nb_lshift, "bitwise_left_shift")
UNSPOOL_BINARY(nb_rshift, "bitwise_right_shift")
UNSPOOL_INPLACE(nb_inplace_add, "add")
UNSPOOL_INPLACE(nb_inplace_subtract, "sub")
UNSPOOL_INPLACE(nb_inplace_multiply, "mul")
UNSPOOL_INPLACE(nb_inplace_true_divide, "div")
UNSPOOL_INPLACE(nb_inplace_and, "bitwise_and")
UNSPOOL_INPLACE(nb_inplace_or, "bitwise_or")
UNSPOOL_INPLACE(nb_inplace_xor, "bitwise_xor")
UNSPOOL_INPLACE(nb_inplace_lshift, "bitwise_left_shift")
UNSPOOL_INPLACE(nb_inplace_rshift, "bitwise_right_shift")
UNSPOOL_UNARY(nb_negative, "neg")
UNSPOOL_UNARY(nb_absolute, "abs")
UNSPOOL_UNARY(nb_invert, "bitwise_not")
PyObject* nb_positive(PyObject* a) { return Py_NewRef(a); }
PyObject* nb_power(PyObject* a, PyObject* b, PyObject*) {
  static const Entry* const entry = find_op("pow");
  static const std::uint32_t reflected = number_of_name("PowBackward2");
  return binary(entry, a, b, reflected);
}
PyObject* nb_inplace_power(PyObject* a, PyObject* b, PyObject*) {
  static const Entry* const entry = find_op("pow_", true);
  return inplace(entry, a, b);
}
PyObject* nb_matrix_multiply(PyObject* a, PyObject* b) {
  return guarded([&]() -> PyObject* {
    if (!is_tensor(a) || !is_tensor(b)) Py_RETURN_NOTIMPLEMENTED;
    static const Entry* const entry = find_op("matmul");
    PyObject* args[] = {a, b};
    return call_entry(entry, args, 2);
  });
}

PyObject* compare(PyObject* a, PyObject* b, int how) {
  static const Entry* const ops[] = {find_op("lt"), find_op("le"), find_op("eq"),
                                     find_op("ne"), find_op("gt"), find_op("ge")};  // Py_LT …
  return binary(ops[how], a, b);
}

PyObject* single(PyObject* self, const char* what) {
  const Tensor t = unwrap(self);
  if (t.numel() != 1)
    fail(ErrorKind::Shape, what, ": a Tensor with ", t.numel(),
         " elements cannot be converted to Scalar; it has shape ", t.shape());
  return to_scalar(t);
}
PyObject* nb_float(PyObject* self) {
  return guarded([&]() -> PyObject* {
    const py::object x = py::reinterpret_steal<py::object>(single(self, "float"));
    return PyNumber_Float(x.ptr());
  });
}
PyObject* nb_int(PyObject* self) {
  return guarded([&]() -> PyObject* {
    const py::object x = py::reinterpret_steal<py::object>(single(self, "int"));
    return PyNumber_Long(x.ptr());
  });
}
PyObject* nb_index(PyObject* self) {
  return guarded([&]() -> PyObject* {
    const Tensor t = unwrap(self);
    if (t.numel() != 1 || is_floating(t.dtype()))
      fail(ErrorKind::Type,
           "index: only integer tensors of a single element can be converted to "
           "an index, got shape ",
           t.shape(), " and dtype ", name(t.dtype()));
    const py::object x = py::reinterpret_steal<py::object>(to_scalar(t));
    return PyNumber_Long(x.ptr());
  });
}
int nb_bool(PyObject* self) {
  PyObject* x = guarded([&]() -> PyObject* {
    const Tensor t = unwrap(self);
    if (t.numel() != 1)
      fail(ErrorKind::Runtime, "bool: Boolean value of Tensor with ",
           t.numel() ? "more than one value" : "no values", " is ambiguous; it has shape ", t.shape());
    return to_scalar(t);
  });
  if (!x) return -1;
  const int truth = PyObject_IsTrue(x);
  Py_DECREF(x);
  return truth;
}

int contains(PyObject* self, PyObject* value) {
  PyObject* hit = compare(self, value, Py_EQ);
  if (!hit) return -1;
  if (hit == Py_NotImplemented) {
    Py_DECREF(hit);
    PyErr_Format(PyExc_TypeError, "in: a tensor holds numbers, got %R", value);
    return -1;
  }
  static const Entry* const any_op = find_op("any");
  PyObject* any = guarded([&] { return call_entry(any_op, &hit, 1); });
  Py_DECREF(hit);
  if (!any) return -1;
  const int truth = nb_bool(any);
  Py_DECREF(any);
  return truth;
}

}  // namespace

void add_number_slots(std::vector<PyType_Slot>& slots) {
  slots.insert(slots.end(), {
                                {Py_tp_richcompare, slot(compare)},
                                {Py_sq_contains, slot(contains)},
                                {Py_nb_add, slot(nb_add)},
                                {Py_nb_subtract, slot(nb_subtract)},
                                {Py_nb_multiply, slot(nb_multiply)},
                                {Py_nb_true_divide, slot(nb_true_divide)},
                                {Py_nb_floor_divide, slot(nb_floor_divide)},
                                {Py_nb_remainder, slot(nb_remainder)},
                                {Py_nb_power, slot(nb_power)},
                                {Py_nb_matrix_multiply, slot(nb_matrix_multiply)},
                                {Py_nb_and, slot(nb_and)},
                                {Py_nb_or, slot(nb_or)},
                                {Py_nb_xor, slot(nb_xor)},
                                {Py_nb_lshift, slot(nb_lshift)},
                                {Py_nb_rshift, slot(nb_rshift)},
                                {Py_nb_inplace_and, slot(nb_inplace_and)},
                                {Py_nb_inplace_or, slot(nb_inplace_or)},
                                {Py_nb_inplace_xor, slot(nb_inplace_xor)},
                                {Py_nb_inplace_lshift, slot(nb_inplace_lshift)},
                                {Py_nb_inplace_rshift, slot(nb_inplace_rshift)},
                                {Py_nb_inplace_add, slot(nb_inplace_add)},
                                {Py_nb_inplace_subtract, slot(nb_inplace_subtract)},
                                {Py_nb_inplace_multiply, slot(nb_inplace_multiply)},
                                {Py_nb_inplace_true_divide, slot(nb_inplace_true_divide)},
                                {Py_nb_inplace_power, slot(nb_inplace_power)},
                                {Py_nb_negative, slot(nb_negative)},
                                {Py_nb_positive, slot(nb_positive)},
                                {Py_nb_absolute, slot(nb_absolute)},
                                {Py_nb_invert, slot(nb_invert)},
                                {Py_nb_float, slot(nb_float)},
                                {Py_nb_int, slot(nb_int)},
                                {Py_nb_index, slot(nb_index)},
                                {Py_nb_bool, slot(nb_bool)},
                            });
}

}  // namespace unspool::python
