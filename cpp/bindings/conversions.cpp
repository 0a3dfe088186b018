// Tensor methods that give other values: Python's numbers, lists and texts, or a tensor of another dtype.
// Start at to_scalar() and to_method().
#include <iterator>
#include <span>
#include <string>

#include "methods.h"
#include "unspool/ops/ops.h"

namespace unspool::python {
namespace {

PyObject* number_at(const char* data, DType dtype) {
  switch (dtype) {
    case DType::Bool:
      return PyBool_FromLong(*reinterpret_cast<const bool*>(data));
    case DType::UInt8:
      return PyLong_FromLong(*reinterpret_cast<const std::uint8_t*>(data));
    case DType::Int32:
      return PyLong_FromLong(*reinterpret_cast<const std::int32_t*>(data));
    case DType::Int64:
      return PyLong_FromLongLong(*reinterpret_cast<const std::int64_t*>(data));
    case DType::Float16:
      return PyFloat_FromDouble(*reinterpret_cast<const float16*>(data));
    case DType::BFloat16:
      return PyFloat_FromDouble(*reinterpret_cast<const bfloat16*>(data));
    case DType::Float32:
      return PyFloat_FromDouble(*reinterpret_cast<const float*>(data));
    case DType::Float64:
      return PyFloat_FromDouble(*reinterpret_cast<const double*>(data));
  }
  Py_RETURN_NONE;
}

// Of the dimensions from `dim` on, at `data`. No view is made for a number: of 100 it takes 2 µs, with
// views 20.
PyObject* nested_list(const Tensor& t, int dim, const char* data) {
  if (dim == t.ndim()) return number_at(data, t.dtype());
  const std::int64_t rows = t.shape()[dim];
  const std::int64_t step = t.strides()[dim] * static_cast<std::int64_t>(item_size(t.dtype()));
  PyObject* list = PyList_New(rows);
  for (std::int64_t i = 0; list && i < rows; ++i) {
    PyObject* row = nested_list(t, dim + 1, data + i * step);
    if (!row) {
      Py_DECREF(list);
      return nullptr;
    }
    PyList_SET_ITEM(list, i, row);
  }
  return list;
}

// PyTorch's names of tensor types, in the order of DType.
constexpr const char* kTypeNames[] = {"torch.BoolTensor",  "torch.ByteTensor",  "torch.IntTensor",
                                      "torch.LongTensor",  "torch.HalfTensor",  "torch.BFloat16Tensor",
                                      "torch.FloatTensor", "torch.DoubleTensor"};
static_assert(std::size(kTypeNames) == kNumDTypes);

}  // namespace

// ---- Values ----------------------------------------------------------------------------------------------

PyObject* to_scalar(const Tensor& t) {
  refuse_reading("item");
  return number_at(t->data, t.dtype());
}

PyObject* item(PyObject* self, PyObject*) {
  return guarded([&] {
    const TensorImpl* t = impl_of(self);
    if (t->numel != 1)
      fail(ErrorKind::Runtime, "item: a Tensor with ", t->numel,
           " elements cannot be converted to Scalar; it has shape ", t->shape);
    return to_scalar(unwrap(self));
  });
}

PyObject* tolist(PyObject* self, PyObject*) {
  return guarded([&] {
    const Tensor t = unwrap(self);
    if (t.numel() > 0) refuse_reading("item");
    return nested_list(t, 0, t->data);
  });
}

PyObject* format(PyObject* self, PyObject* spec) {
  return guarded([&]() -> PyObject* {
    if (!PyUnicode_Check(spec)) fail(ErrorKind::Type, "format: spec must be a str, got ", short_repr(spec));
    const Tensor t = unwrap(self);
    if (t.ndim() == 0) {
      const py::object x = py::reinterpret_steal<py::object>(to_scalar(t));
      return PyObject_Format(x.ptr(), spec);
    }
    if (PyUnicode_GetLength(spec) > 0)
      fail(ErrorKind::Type, "unsupported format string passed to Tensor.__format__: ", short_repr(spec),
           ", for a tensor of shape ", t.shape());
    return PyObject_Str(self);
  });
}

// ---- dtype -----------------------------------------------------------------------------------------------

template <DType D>
PyObject* as_dtype(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* keywords) {
  return guarded([&] {
    const MemoryFormat format =
        format_of_object(name(D), only_argument(name(D), "memory_format", args, n, keywords));
    return wrap(to(unwrap(self), D, false, format, name(D)));
  });
}
template PyObject* as_dtype<DType::Bool>(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
template PyObject* as_dtype<DType::UInt8>(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
template PyObject* as_dtype<DType::Int32>(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
template PyObject* as_dtype<DType::Int64>(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
template PyObject* as_dtype<DType::Float16>(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
template PyObject* as_dtype<DType::BFloat16>(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
template PyObject* as_dtype<DType::Float32>(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
template PyObject* as_dtype<DType::Float64>(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);

// to(dtype), to(device, dtype) or to(other), then non_blocking, copy and memory_format, by place or by name.
Tensor to_method(const Tensor& self, const py::args& args, const py::kwargs& kwargs) {
  static constexpr const char* kAfterOther[] = {"other", "non_blocking", "copy", "memory_format"};
  static constexpr const char* kAfterDType[] = {"dtype", "non_blocking", "copy", "memory_format"};
  static constexpr const char* kAfterDevice[] = {"device", "dtype", "non_blocking", "copy", "memory_format"};
  DType dtype = self.dtype();
  bool copy = false;
  MemoryFormat format = MemoryFormat::Preserve;
  auto take = [&](const std::string& name, const py::handle value) {
    DType d{};
    if (name == "other") {
      if (!is_tensor(value.ptr()))
        fail(ErrorKind::Type, "to: argument 'other' must be a Tensor, got ", short_repr(value.ptr()));
      dtype = impl_of(value.ptr())->dtype;
    } else if (name == "dtype") {
      if (value.is_none()) return;
      if (!dtype_of_object(value.ptr(), d))
        fail(ErrorKind::Type, "to: argument 'dtype' must be a dtype or None, got ", short_repr(value.ptr()));
      dtype = d;
    } else if (name == "device") {
      check_device(value.ptr());
    } else if (name == "memory_format") {
      format = format_of_object("to", value.ptr());
    } else {
      if (!PyBool_Check(value.ptr()))
        fail(ErrorKind::Type, "to: argument '", name, "' must be a bool, got ", short_repr(value.ptr()));
      if (name == "copy") copy = value.ptr() == Py_True;
    }
  };
  std::span<const char* const> names = kAfterDevice;
  DType d{};
  if (!args.empty() && is_tensor(args[0].ptr())) names = kAfterOther;
  if (!args.empty() && dtype_of_object(args[0].ptr(), d)) names = kAfterDType;
  if (args.size() > names.size())
    fail(ErrorKind::Type, "to: takes at most ", static_cast<std::int64_t>(names.size()), " arguments, got ",
         static_cast<std::int64_t>(args.size()), "; the first one too many is ",
         short_repr(args[names.size()].ptr()));
  for (std::size_t i = 0; i < args.size(); ++i) take(names[i], args[i]);
  for (const auto& [key, value] : kwargs) {
    auto name = key.cast<std::string>();
    if (name == "tensor") name = "other";  // PyTorch's documentation has one, its parser the other
    bool known = name == "other";
    for (std::size_t i = 0; i < std::size(kAfterDevice); ++i) known |= name == kAfterDevice[i];
    if (!known)
      fail(ErrorKind::Type, "to: got an unexpected keyword argument ", short_repr(key.ptr()), " with value ",
           short_repr(value.ptr()));
    for (std::size_t i = 0; i < args.size(); ++i)
      if (name == names[i]) fail(ErrorKind::Type, "to: got multiple values for argument '", name, "'");
    take(name, value);
  }
  return to(self, dtype, copy, format, "to");
}

py::object type_method(const Tensor& self, const py::object& target, bool) {
  if (target.is_none()) return py::str(kTypeNames[static_cast<int>(self.dtype())]);
  // unspool.FloatTensor and its relatives
  const py::object dtype = PyType_Check(target.ptr()) ? py::getattr(target, "_dtype", target) : target;
  DType d{};
  bool known = dtype_of_object(dtype.ptr(), d);
  if (PyUnicode_Check(dtype.ptr()))
    for (int i = 0; i < kNumDTypes; ++i)
      if (PyUnicode_CompareWithASCIIString(dtype.ptr(), kTypeNames[i]) == 0) {
        d = static_cast<DType>(i);
        known = true;
      }
  if (!known)
    fail(ErrorKind::Type, "type: dtype must be a dtype or a name such as 'torch.FloatTensor', got ",
         short_repr(target.ptr()));
  return py::cast(to(self, d));
}

}  // namespace unspool::python
