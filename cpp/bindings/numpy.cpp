// Tensors from Python data and NumPy arrays, and back. from_numpy and numpy() share memory; the
// array holds the tensor alive, the tensor holds the array.
#include <pybind11/numpy.h>

#include "handle.h"
#include "unspool/kernels/table.h"
#include "unspool/ops/ops.h"

namespace unspool::python {
namespace {

const char* format_of(DType d) {  // null where NumPy has no such type
  switch (d) {
    case DType::Bool:
      return "?";
    case DType::UInt8:
      return "u1";
    case DType::Int32:
      return "i4";
    case DType::Int64:
      return "i8";
    case DType::Float16:
      return "f2";
    case DType::BFloat16:
      return nullptr;
    case DType::Float32:
      return "f4";
    case DType::Float64:
      return "f8";
  }
  return "";
}

bool dtype_of_numpy(const py::dtype& d, DType& out) {
  if (d.byteorder() == '>') return false;
  for (int i = 0; i < kNumDTypes; ++i) {
    const auto type = static_cast<DType>(i);
    if (!format_of(type)) continue;
    const py::dtype ours(format_of(type));
    if (d.kind() == ours.kind() && d.itemsize() == ours.itemsize()) {
      out = type;
      return true;
    }
  }
  return false;
}

[[noreturn]] void no_dtype(const char* op, const py::dtype& d) {
  const std::string text = py::str(d);
  if (d.byteorder() == '>')
    fail(ErrorKind::DType, op, ": big-endian arrays are not supported, got dtype ", text,
         "; convert with .astype(dtype.newbyteorder('='))");
  fail(ErrorKind::DType, op, ": can't convert a numpy array of dtype ", text,
       "; the supported dtypes are float64, float32, float16, int64, int32, uint8 and bool");
}

DType dtype_of_array(const char* op, const py::array& a) {
  DType d{};
  if (!dtype_of_numpy(a.dtype(), d)) no_dtype(op, a.dtype());
  return d;
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
  if (a.size() && reinterpret_cast<std::uintptr_t>(a.data()) % static_cast<std::size_t>(item))
    fail(ErrorKind::Value, op, ": the memory of the array is not aligned to its element size ", item,
         "; make a copy with array.copy()");
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
  return made_of_numbers(from_memory(const_cast<void*>(a.data()), a.size() ? last + item : 0, shape, strides,
                                     dtype, readonly, release_object, py::object(a).release().ptr()));
}

Tensor from_numpy(const py::object& o) {
  if (!py::isinstance<py::array>(o))
    fail(ErrorKind::Type, "from_numpy: expected np.ndarray, got ", short_repr(o.ptr()));
  return share("from_numpy", py::reinterpret_borrow<py::array>(o));
}

// In the order of the array's strides, as PyTorch's copy is.
Tensor copy_of_array(const py::array& a) {
  const DType dtype = dtype_of_array("tensor", a);
  const auto item = static_cast<std::int64_t>(item_size(dtype));
  if (a.ndim() > kMaxDims) Dims::too_many(a.ndim());
  bool plain = reinterpret_cast<std::uintptr_t>(a.data()) % static_cast<std::size_t>(item) == 0;
  for (py::ssize_t d = 0; d < a.ndim(); ++d) plain = plain && a.strides(d) >= 0 && a.strides(d) % item == 0;
  py::array from = a;
  if (!plain) from = py::module_::import("numpy").attr("array")(a, py::arg("order") = "C");
  Shape shape;
  Strides strides;
  for (py::ssize_t d = 0; d < from.ndim(); ++d) {
    shape.push(from.shape(d));
    strides.push(from.strides(d) / item);
  }
  Tensor t = empty(shape, copy_strides(shape, strides), dtype, "tensor");
  kernels().copy(t.view(), {const_cast<void*>(from.data()), dtype, shape, strides});
  return made_of_numbers(t);
}

// ---- Nested sequences ------------------------------------------------------------------------------------

// NumPy's numbers: its scalars and 0-d arrays.
bool is_numpy_number(PyObject* o) {
  static PyObject* const generic = py::object(py::module_::import("numpy").attr("generic")).release().ptr();
  return PyObject_TypeCheck(o, reinterpret_cast<PyTypeObject*>(generic)) ||
         (py::isinstance<py::array>(o) && py::reinterpret_borrow<py::array>(o).ndim() == 0);
}

// An int64 as T; false where it does not fit. Negative numbers wrap in uint8, as PyTorch's do.
template <class T>
bool whole_as(std::int64_t value, T& out) {
  out = static_cast<T>(value);
  if (std::is_floating_point_v<T> || std::is_same_v<T, bool>) return true;
  if (std::is_same_v<T, std::uint8_t>) return value >= -255 && value <= 255;
  return static_cast<std::int64_t>(out) == value;
}

// Reads the data three times: its shape, its dtype, its values. Each pass checks lengths, since a
// sequence of the user's may answer differently each time.
class Nested {
 public:
  explicit Nested(PyObject* data) {
    measure(data);
    check(data, 0);
  }
  DType natural() const {
    if (unsupported_) no_dtype("tensor", py::reinterpret_borrow<py::dtype>(unsupported_));
    return found_ < 0 ? default_dtype() : static_cast<DType>(found_);
  }
  Tensor read(PyObject* data, DType dtype) {
    if (is_half(dtype)) return to(read(data, DType::Float32), dtype);
    Tensor t = empty(shape_, dtype, "tensor");
    visit_dtype(dtype, [&]<class T>() {
      T* out = reinterpret_cast<T*>(t->data);
      fill(data, 0, out);
    });
    return made_of_numbers(t);
  }

 private:
  // Strings are sequences of strings: they are refused, not walked.
  static bool nests(PyObject* o) {
    return PySequence_Check(o) && !PyUnicode_Check(o) && !PyBytes_Check(o) && !is_tensor(o) &&
           !is_numpy_number(o);
  }
  static py::object items(PyObject* o) {
    PyObject* fast = PySequence_Fast(o, "tensor: data is not a sequence");
    if (!fast) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(fast);
  }
  static py::object at(const py::object& list, Py_ssize_t i) {
    return py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(list.ptr(), i));
  }

  void measure(PyObject* o) {
    py::object level = py::reinterpret_borrow<py::object>(o);
    while (nests(level.ptr())) {
      const py::object list = items(level.ptr());
      const Py_ssize_t n = PySequence_Fast_GET_SIZE(list.ptr());
      shape_.push(n);
      if (n == 0) break;
      level = at(list, 0);
    }
    // A list of tensors: their own shape follows, but only 0-d ones are numbers.
    if (is_tensor(level.ptr()) && impl_of(level.ptr())->shape.ndim != 0)
      fail(ErrorKind::Value,
           "tensor: only one element tensors can be converted to Python scalars; "
           "a tensor inside data has shape ",
           impl_of(level.ptr())->shape, "; use stack()");
  }

  template <class F>
  void each(PyObject* o, int depth, F&& f) {
    const py::object list = items(o);
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(list.ptr());
    if (n != shape_[depth])
      fail(ErrorKind::Value, "tensor: expected sequence of length ", shape_[depth], " at dim ", depth,
           " (got ", static_cast<std::int64_t>(n), "); data must not be ragged");
    for (Py_ssize_t i = 0; i < n && i < PySequence_Fast_GET_SIZE(list.ptr()); ++i) f(at(list, i).ptr());
  }

  void check(PyObject* o, int depth) {
    if (depth == shape_.ndim) {
      if (nests(o))
        fail(ErrorKind::Value, "tensor: data is nested too deeply at dim ", depth, ": ", short_repr(o),
             "; data must not be ragged");
      note(o);
      return;
    }
    if (!nests(o))
      fail(ErrorKind::Value, "tensor: expected a sequence at dim ", depth, ", got ", short_repr(o),
           "; data must not be ragged");
    each(o, depth, [&](PyObject* item) { check(item, depth + 1); });
  }

  void note(PyObject* o) {
    DType d{};
    if (PyFloat_CheckExact(o)) {
      d = default_dtype();
    } else if (PyBool_Check(o)) {
      d = DType::Bool;
    } else if (PyLong_Check(o)) {
      d = DType::Int64;
    } else if (is_tensor(o) && impl_of(o)->shape.ndim == 0) {
      d = impl_of(o)->dtype;
    } else if (is_numpy_number(o)) {
      const auto dtype = py::dtype::from_args(py::handle(o).attr("dtype"));
      if (dtype.kind() == 'c' || !std::strchr("biuf", dtype.kind())) no_dtype("tensor", dtype);
      if (!dtype_of_numpy(dtype, d)) {  // a number still, where a dtype is asked for
        unsupported_ = dtype;
        return;
      }
    } else if (PyFloat_Check(o)) {
      d = default_dtype();
    } else {
      fail(ErrorKind::DType, "tensor: data must hold numbers, got ", short_repr(o));
    }
    found_ = found_ < 0 ? static_cast<int>(d) : static_cast<int>(promote(static_cast<DType>(found_), d));
  }

  template <class T>
  void fill(PyObject* o, int depth, T*& out) {
    if (depth < shape_.ndim) {
      T* const stop = out + (shape_[depth] ? step(depth) * shape_[depth] : 0);
      each(o, depth, [&](PyObject* item) { fill(item, depth + 1, out); });
      if (out != stop) fail(ErrorKind::Value, "tensor: data changed while it was read");
      return;
    }
    py::object number = py::reinterpret_borrow<py::object>(o);
    if (!PyFloat_Check(o) && is_numpy_number(o)) number = number.attr("item")();
    *out++ = read_number<T>(number.ptr());
  }

  std::int64_t step(int depth) const {
    std::int64_t n = 1;
    for (int d = depth + 1; d < shape_.ndim; ++d) n *= shape_[d];
    return n;
  }

  template <class T>
  static T read_number(PyObject* o) {
    if (PyLong_Check(o) && std::is_floating_point_v<T>) {
      const double x = PyLong_AsDouble(o);
      if (x == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        does_not_fit<T>(ErrorKind::Value, o);
      }
      return static_cast<T>(x);
    }
    if (PyLong_Check(o)) {
      int overflow = 0;
      const long long whole = PyLong_AsLongLongAndOverflow(o, &overflow);
      if (std::is_same_v<T, bool>) return static_cast<T>(overflow || whole != 0);
      T value{};
      if (overflow) does_not_fit<T>(ErrorKind::Value, o);
      if (!whole_as(static_cast<std::int64_t>(whole), value)) does_not_fit<T>(ErrorKind::Runtime, o);
      return value;
    }
    Attr a;
    if (!number_of(o, a)) fail(ErrorKind::DType, "tensor: data must hold numbers, got ", short_repr(o));
    if (a.kind == Attr::Float) {
      if (std::is_floating_point_v<T>) return static_cast<T>(a.f);
      if (std::is_same_v<T, bool>) return static_cast<T>(a.f != 0.0);
      constexpr double kLimit = 9223372036854775808.0;  // 2^63
      if (!(a.f >= -kLimit && a.f < kLimit)) does_not_fit<T>(ErrorKind::Runtime, o);
      a = Attr(static_cast<std::int64_t>(a.f));
    }
    T value{};
    if (std::is_same_v<T, bool>) return static_cast<T>(a.i != 0);
    if (!whole_as(a.i, value)) does_not_fit<T>(ErrorKind::Runtime, o);
    return value;
  }

  template <class T>
  [[noreturn]] static void does_not_fit(ErrorKind kind, PyObject* o) {
    fail(kind, "tensor: value ", short_repr(o), " cannot be converted to type ", name(dtype_of<T>),
         " without overflow");
  }

  Shape shape_;
  int found_ = -1;          // the dtype of what was seen so far
  py::object unsupported_;  // a NumPy dtype that is no tensor's
};

// ---- tensor, as_tensor -----------------------------------------------------------------------------------

Tensor make(const py::object& data, const py::object& dtype, bool copy) {
  DType asked{};
  if (!dtype.is_none() && !dtype_of_object(dtype.ptr(), asked))
    fail(ErrorKind::Type, "tensor: dtype must be a dtype or None, got ", short_repr(dtype.ptr()));
  const bool given = !dtype.is_none();
  if (is_tensor(data.ptr())) {
    const Tensor t = unwrap(data.ptr());
    Tensor converted = given ? to(t, asked) : t;
    if (!copy) return converted;
    GradMode off(false);
    return converted.get() == t.get() ? clone(t) : alias(converted);
  }
  py::object source = data;
  if (!py::isinstance<py::array>(data) && !PySequence_Check(data.ptr()) &&
      (PyObject_CheckBuffer(data.ptr()) || py::hasattr(data, "__array__")))
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

// What a NumPy function made of tensors: a tensor again.
py::object array_wrap(const py::object&, const py::object& array, const py::object&, bool) {
  if (!py::isinstance<py::array>(array)) return array;
  const auto a = py::reinterpret_borrow<py::array>(array);
  return py::cast(a.writeable() ? share("__array_wrap__", a) : copy_of_array(a));
}

// ---- To NumPy --------------------------------------------------------------------------------------------

py::array to_numpy(const py::object& self, bool force) {
  Tensor t = unwrap(self.ptr());
  if (t.requires_grad() && !force)
    fail(ErrorKind::Runtime,
         "numpy: Can't call numpy() on Tensor that requires grad. Use "
         "tensor.detach().numpy() instead");
  if (!format_of(t.dtype()))
    fail(ErrorKind::Type, "numpy: NumPy has no dtype for ", name(t.dtype()), "; convert with .float() first");
  refuse_reading("numpy");
  const auto item = static_cast<py::ssize_t>(item_size(t.dtype()));
  std::vector<py::ssize_t> shape, strides;
  for (int d = 0; d < t.ndim(); ++d) {
    shape.push_back(t.shape()[d]);
    strides.push_back(t.strides()[d] * item);
  }
  // The array holds a tensor of its own, so that `self.data = other` does not free its memory.
  py::array a(py::dtype(format_of(t.dtype())), shape, strides, t->data, py::cast(alias(t)));
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
  auto def = [&](const char* name, auto f, const char* doc, const auto&... extra) {
    type.attr(name) = py::cpp_function(f, py::name(name), py::is_method(type), py::doc(doc), extra...);
  };
  def("numpy", to_numpy,
      "numpy(self, force: bool = False) -> Any\n\nA NumPy array on the tensor's memory. A "
      "tensor that requires grad must be detached first, or forced.",
      py::kw_only(), py::arg("force") = false);
  def("__array__", array_method, "__array__(self, dtype: object = None, copy: bool | None = None) -> object",
      py::arg("dtype") = py::none(), py::arg("copy") = py::none());
  def("__array_wrap__", array_wrap,
      "__array_wrap__(self, array: object, context: object = None, return_scalar: bool = False) -> "
      "Tensor\n\nThe result of a NumPy function on tensors, as a tensor.",
      py::arg("array"), py::arg("context") = py::none(), py::arg("return_scalar") = false);
}

}  // namespace unspool::python
