// Tensors from Python data and NumPy arrays, and back. from_numpy and numpy() share memory; the
// array holds the tensor alive, the tensor holds the array.
#include <pybind11/numpy.h>

#include <cmath>

#include "handle.h"
#include "unspool/kernels/table.h"
#include "unspool/ops/ops.h"

namespace unspool::python {
namespace {

const char* format_of(DType d) {
  switch (d) {
    case DType::Bool:
      return "?";
    case DType::UInt8:
      return "u1";
    case DType::Int32:
      return "i4";
    case DType::Int64:
      return "i8";
    case DType::Float32:
      return "f4";
    case DType::Float64:
      return "f8";
  }
  return "";
}

DType dtype_of_array(const char* op, const py::array& a) {
  const py::dtype d = a.dtype();
  const char order = d.byteorder();
  if (order == '>')
    fail(ErrorKind::DType, op, ": big-endian arrays are not supported, got dtype ", std::string(py::str(d)),
         "; convert with .astype(dtype.newbyteorder('='))");
  for (int i = 0; i < kNumDTypes; ++i) {
    const auto type = static_cast<DType>(i);
    const py::dtype ours(format_of(type));
    if (d.kind() == ours.kind() && d.itemsize() == ours.itemsize()) return type;
  }
  fail(ErrorKind::DType, op, ": can't convert a numpy array of dtype ", std::string(py::str(d)),
       "; the supported dtypes are float64, float32, int64, int32, uint8 and bool");
}

void release_object(void* owner) {
  if (!Py_IsInitialized()) return;  // leaked: there is no interpreter left to give it back to
  PyGILState_STATE state = PyGILState_Ensure();
  Py_DECREF(static_cast<PyObject*>(owner));
  PyGILState_Release(state);
}

Tensor share(const char* op, const py::array& a) {
  const DType dtype = dtype_of_array(op, a);
  const auto item = static_cast<std::int64_t>(item_size(dtype));
  Shape shape;
  Strides strides;
  if (a.ndim() > kMaxDims) Dims::too_many(a.ndim());
  std::int64_t last = 0;  // of the last element, in bytes
  for (py::ssize_t d = 0; d < a.ndim(); ++d) {
    const std::int64_t step = a.strides(d);
    if (step < 0 && a.shape(d) > 1)
      fail(ErrorKind::Value, op,
           ": at least one stride in the given numpy array is negative, and "
           "tensors with negative strides are not supported; make a copy with array.copy()");
    if (step % item != 0)
      fail(ErrorKind::Value, op,
           ": the strides of the array (in bytes) must be multiples of the "
           "element size ",
           item, ", got ", step);
    shape.push(a.shape(d));
    strides.push(step / item);
    last += (a.shape(d) - 1) * step;
  }
  const bool readonly = !a.writeable();
  if (readonly) {
    const int raised = PyErr_WarnEx(
        PyExc_UserWarning,
        "from_numpy: the given NumPy array is not writable; the tensor shares its memory, and "
        "in-place operations on the tensor raise. Copy the array, or use tensor(), to write to it",
        1);
    if (raised < 0) throw py::error_already_set();
  }
  return from_memory(const_cast<void*>(a.data()), a.size() ? last + item : 0, shape, strides, dtype, readonly,
                     release_object, py::object(a).release().ptr());
}

Tensor from_numpy(const py::object& o) {
  if (!py::isinstance<py::array>(o))
    fail(ErrorKind::Type, "from_numpy: expected np.ndarray, got ", short_repr(o.ptr()));
  return share("from_numpy", py::reinterpret_borrow<py::array>(o));
}

Tensor copy_of_array(const py::array& a) {
  const DType dtype = dtype_of_array("tensor", a);
  const py::array dense = py::module_::import("numpy").attr("ascontiguousarray")(a);
  Shape shape;
  if (a.ndim() > kMaxDims) Dims::too_many(a.ndim());
  for (py::ssize_t d = 0; d < a.ndim(); ++d) shape.push(a.shape(d));
  Tensor t = empty(shape, dtype, "tensor");
  if (t.numel()) std::memcpy(t->data, dense.data(), static_cast<std::size_t>(dense.nbytes()));
  return t;
}

// ---- Nested sequences
// ----------------------------------------------------------------------------------------

enum Level : int { kNoData, kBools, kInts, kFloats };

class Nested {
 public:
  explicit Nested(PyObject* data) {
    measure(data);
    check(data, 0);
  }
  DType natural() const {
    return level_ == kFloats || level_ == kNoData ? default_dtype()
           : level_ == kInts                      ? DType::Int64
                                                  : DType::Bool;
  }
  Tensor read(PyObject* data, DType dtype) {
    Tensor t = empty(shape_, dtype, "tensor");
    visit_dtype(dtype, [&]<class T>() {
      T* out = reinterpret_cast<T*>(t->data);
      fill(data, 0, out);
    });
    return t;
  }

 private:
  // Strings are sequences of strings: they are refused, not walked.
  static bool nests(PyObject* o) {
    return PySequence_Check(o) && !PyUnicode_Check(o) && !PyBytes_Check(o) && !is_tensor(o) &&
           !(py::isinstance<py::array>(o) && py::reinterpret_borrow<py::array>(o).ndim() == 0);
  }
  static py::object items(PyObject* o) {
    PyObject* fast = PySequence_Fast(o, "tensor: data is not a sequence");
    if (!fast) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(fast);
  }

  void measure(PyObject* o) {
    py::object level = py::reinterpret_borrow<py::object>(o);
    while (nests(level.ptr())) {
      const py::object list = items(level.ptr());
      const Py_ssize_t n = PySequence_Fast_GET_SIZE(list.ptr());
      shape_.push(n);
      if (n == 0) break;
      level = py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(list.ptr(), 0));
    }
    // A list of tensors: their own shape follows, but only 0-d ones are numbers.
    if (is_tensor(level.ptr()) && impl_of(level.ptr())->shape.ndim != 0)
      fail(ErrorKind::Value,
           "tensor: only one element tensors can be converted to Python scalars; "
           "a tensor inside data has shape ",
           impl_of(level.ptr())->shape, "; use stack()");
  }

  void check(PyObject* o, int depth) {
    if (depth == shape_.ndim) {
      if (nests(o))
        fail(ErrorKind::Value, "tensor: data is nested too deeply at dim ", depth, ": ", short_repr(o));
      note(o);
      return;
    }
    if (!nests(o))
      fail(ErrorKind::Value, "tensor: expected a sequence at dim ", depth, ", got ", short_repr(o));
    const py::object list = items(o);
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(list.ptr());
    if (n != shape_[depth])
      fail(ErrorKind::Value, "tensor: expected sequence of length ", shape_[depth], " at dim ", depth,
           " (got ", static_cast<std::int64_t>(n), "); data must not be ragged");
    for (Py_ssize_t i = 0; i < n; ++i) check(PySequence_Fast_GET_ITEM(list.ptr(), i), depth + 1);
  }

  void note(PyObject* o) {
    int level = kNoData;
    if (PyBool_Check(o)) {
      level = kBools;
    } else if (PyFloat_Check(o)) {
      level = kFloats;
    } else if (PyLong_Check(o)) {
      level = kInts;
    } else if (!PyUnicode_Check(o)) {
      Attr a;
      if (number_of(o, a)) level = a.kind == Attr::Float ? kFloats : a.kind == Attr::Bool ? kBools : kInts;
    }
    if (level == kNoData) fail(ErrorKind::Type, "tensor: data must hold numbers, got ", short_repr(o));
    level_ = std::max(level_, level);
  }

  template <class T>
  void fill(PyObject* o, int depth, T*& out) {
    if (depth < shape_.ndim) {
      const py::object list = items(o);
      for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list.ptr()); ++i)
        fill(PySequence_Fast_GET_ITEM(list.ptr(), i), depth + 1, out);
      return;
    }
    Attr a;
    if (std::is_floating_point_v<T> && PyLong_Check(o)) {
      const double x = PyLong_AsDouble(o);
      if (x == -1.0 && PyErr_Occurred()) throw py::error_already_set();
      *out++ = static_cast<T>(x);
      return;
    }
    number_of(o, a);
    if (std::is_same_v<T, bool>) {
      *out++ = static_cast<T>(a.kind == Attr::Float ? a.f != 0.0 : a.i != 0);
    } else if (a.kind == Attr::Float) {
      if (!std::is_floating_point_v<T> && !(std::fabs(a.f) < 9.2e18))
        fail(ErrorKind::Value, "tensor: cannot convert ", a.f, " to ", name(dtype_of<T>));
      *out++ = static_cast<T>(a.f);
    } else {
      const T x = static_cast<T>(a.i);
      if (!std::is_floating_point_v<T> && static_cast<std::int64_t>(x) != a.i)
        fail(ErrorKind::Runtime, "tensor: value ", a.i, " cannot be converted to type ", name(dtype_of<T>),
             " without overflow");
      *out++ = x;
    }
  }

  Shape shape_;
  int level_ = kNoData;
};

// ---- tensor, as_tensor
// -------------------------------------------------------------------------------------------

Tensor make(const py::object& data, const py::object& dtype, bool copy) {
  DType asked{};
  if (!dtype.is_none() && !dtype_of_object(dtype.ptr(), asked))
    fail(ErrorKind::Type, "tensor: dtype must be a dtype or None, got ", short_repr(dtype.ptr()));
  const bool given = !dtype.is_none();
  if (is_tensor(data.ptr())) {
    const Tensor t = unwrap(data.ptr());
    const Tensor converted = given ? to(t, asked) : t;
    if (!copy) return converted;
    GradMode off(false);
    return converted.get() == t.get() ? clone(t) : alias(converted);
  }
  py::object source = data;
  const bool buffer = !py::isinstance<py::array>(data) && PyObject_CheckBuffer(data.ptr()) &&
                      !PyBytes_Check(data.ptr()) && !PyByteArray_Check(data.ptr());
  if (buffer ||
      (!py::isinstance<py::array>(data) && py::hasattr(data, "__array__") && !PySequence_Check(data.ptr())))
    source = py::module_::import("numpy").attr("asarray")(data);
  if (py::isinstance<py::array>(source)) {
    const auto array = py::reinterpret_borrow<py::array>(source);
    const Tensor t = copy || !array.writeable() ? copy_of_array(array) : share("as_tensor", array);
    GradMode off(false);
    return given ? to(t, asked) : t;
  }
  Nested nested(data.ptr());
  return nested.read(data.ptr(), given ? asked : nested.natural());
}

Tensor tensor(const py::object& data, const py::object& dtype, const py::object& device, bool requires_grad,
              bool) {
  check_device(device.ptr());
  Tensor t = make(data, dtype, true);
  if (requires_grad && !is_floating(t.dtype()))
    fail(ErrorKind::Runtime,
         "tensor: only Tensors of floating point dtype can require gradients, "
         "got dtype ",
         name(t.dtype()));
  t->requires_grad = requires_grad;
  return t;
}

// ---- To NumPy
// ------------------------------------------------------------------------------------------------------

py::array to_numpy(const py::object& self, bool force) {
  Tensor t = unwrap(self.ptr());
  if (t.requires_grad() && !force)
    fail(ErrorKind::Runtime,
         "numpy: Can't call numpy() on Tensor that requires grad. Use "
         "tensor.detach().numpy() instead");
  const auto item = static_cast<py::ssize_t>(item_size(t.dtype()));
  std::vector<py::ssize_t> shape, strides;
  for (int d = 0; d < t.ndim(); ++d) {
    shape.push_back(t.shape()[d]);
    strides.push_back(t.strides()[d] * item);
  }
  py::array a(py::dtype(format_of(t.dtype())), shape, strides, t->data, self);
  if (t->storage->readonly) a.attr("flags").attr("writeable") = false;
  return a;
}

py::object array_method(const py::object& self, const py::object& dtype, const py::object& copy) {
  const Tensor t = unwrap(self.ptr());
  if (t.requires_grad())
    fail(ErrorKind::Runtime,
         "__array__: Can't call numpy() on Tensor that requires grad. Use "
         "tensor.detach().numpy() instead");
  py::object a = to_numpy(self, false);
  if (!dtype.is_none() &&
      !py::object(a.attr("dtype")).equal(py::module_::import("numpy").attr("dtype")(dtype))) {
    if (!copy.is_none() && !copy.cast<bool>())
      fail(ErrorKind::Value, "__array__: a conversion of dtype needs a copy, and copy=False");
    return a.attr("astype")(dtype);
  }
  return !copy.is_none() && copy.cast<bool>() ? a.attr("copy")() : a;
}

}  // namespace

void bind_numpy(py::module_& m) {
  py::options options;
  options.disable_function_signatures();
  m.def("tensor", tensor, py::arg("data"), py::arg("dtype") = py::none(), py::arg("device") = py::none(),
        py::arg("requires_grad") = false, py::arg("pin_memory") = false,
        "tensor(data: object, dtype: dtype | None = None, device: object = None, requires_grad: "
        "bool = False, pin_memory: bool = False) -> Tensor\n\n"
        "A tensor with a copy of data: a number, nested sequences, a NumPy array or a tensor. "
        "Python floats become the default dtype, ints int64.");
  m.def(
      "as_tensor",
      [](const py::object& data, const py::object& dtype, const py::object& device) {
        check_device(device.ptr());
        return make(data, dtype, false);
      },
      py::arg("data"), py::arg("dtype") = py::none(), py::arg("device") = py::none(),
      "as_tensor(data: object, dtype: dtype | None = None, device: object = None) -> Tensor\n\n"
      "The same, sharing the memory of a tensor or a writable NumPy array where no conversion is "
      "needed.");
  m.def("from_numpy", from_numpy, py::arg("ndarray"),
        "from_numpy(ndarray: object) -> Tensor\n\nA tensor on the memory of a NumPy array.");
  const auto type = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(tensor_type));
  auto def = [&](const char* name, auto f, const char* doc, auto... extra) {
    type.attr(name) = py::cpp_function(f, py::name(name), py::is_method(type), py::doc(doc), extra...);
  };
  def("numpy", to_numpy,
      "numpy(self, force: bool = False) -> object\n\nA NumPy array on the tensor's memory. A "
      "tensor that requires grad must be detached first, or forced.",
      py::kw_only(), py::arg("force") = false);
  def("__array__", array_method, "__array__(self, dtype: object = None, copy: bool | None = None) -> object",
      py::arg("dtype") = py::none(), py::arg("copy") = py::none());
}

}  // namespace unspool::python
