// Tensor methods that are no ops: history, layout, pickling, and the table of all of them. Those that convert
// values stand in conversions.cpp.
#include "methods.h"

#include <iterator>
#include <utility>

#include "unspool/ops/ops.h"
#include "unspool/tape/node.h"
#include "unspool/tape/sweep.h"

namespace unspool::python {

// The argument of a method that takes at most one, by place or by name; null where it is left out.
PyObject* only_argument(const char* op, const char* name, PyObject* const* args, Py_ssize_t n,
                        PyObject* keywords) {
  const Py_ssize_t total = n + (keywords ? PyTuple_GET_SIZE(keywords) : 0);
  if (total > n && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(keywords, 0), name) != 0)
    fail(ErrorKind::Type, op, ": got an unexpected keyword argument ",
         short_repr(PyTuple_GET_ITEM(keywords, 0)), " with value ", short_repr(args[n]));
  if (total > 1)
    fail(ErrorKind::Type, op, ": takes at most 1 argument, got ", static_cast<std::int64_t>(total),
         "; the first one too many is ", short_repr(args[1]));
  return total ? args[0] : nullptr;
}

namespace {

// ---- History ---------------------------------------------------------------------------------------------

PyObject* detach(PyObject* self, PyObject*) {
  return guarded([&] { return wrap(alias(unwrap(self))); });
}

PyObject* detach_in_place(PyObject* self, PyObject*) {
  return guarded([&] {
    const Tensor t = unwrap(self);
    if (t->view) fail(ErrorKind::Runtime, "detach_: can't detach views in-place; use detach() instead");
    if (t->node) release(std::exchange(t->node, nullptr));
    t->requires_grad = false;
    return Py_NewRef(self);
  });
}

Tensor one(const py::object& o, const char* what) {
  if (o.is_none()) return {};
  if (!is_tensor(o.ptr()))
    fail(ErrorKind::Type, what, ": must be a Tensor or None, got ", short_repr(o.ptr()));
  return unwrap(o.ptr());
}

void run_backward(const Tensor& self, const py::object& gradient, const py::object& retain_graph,
                  bool create_graph, const py::object& inputs) {
  Vector<Tensor> wrt;
  if (!inputs.is_none()) {
    if (is_tensor(inputs.ptr()))
      wrt.push_back(unwrap(inputs.ptr()));
    else
      for (const py::handle h : inputs)
        wrt.push_back(one(py::reinterpret_borrow<py::object>(h), "backward: inputs"));
    if (wrt.empty()) fail(ErrorKind::Runtime, "backward: inputs argument cannot be empty");
  }
  const Tensor roots[] = {self}, grads[] = {one(gradient, "backward: gradient")};
  backward(roots, grads, wrt,
           {.retain_graph = retain_graph.is_none() ? create_graph : retain_graph.cast<bool>(),
            .create_graph = create_graph});
}

PyObject* backward_method(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* keywords) {
  return guarded([&]() -> PyObject* {
    constexpr const char* kNames[] = {"gradient", "retain_graph", "create_graph", "inputs"};
    constexpr Py_ssize_t kMost = std::size(kNames);
    PyObject* value[kMost] = {};
    if (n > kMost)
      fail(ErrorKind::Type, "backward: takes at most 4 arguments, got ", static_cast<std::int64_t>(n),
           "; the first one too many is ", short_repr(args[kMost]));
    for (Py_ssize_t i = 0; i < n; ++i) value[i] = args[i];
    for (Py_ssize_t k = 0; keywords && k < PyTuple_GET_SIZE(keywords); ++k) {
      PyObject* key = PyTuple_GET_ITEM(keywords, k);
      Py_ssize_t i = 0;
      while (i < kMost && PyUnicode_CompareWithASCIIString(key, kNames[i]) != 0) ++i;
      if (i == kMost)
        fail(ErrorKind::Type, "backward: got an unexpected keyword argument ", short_repr(key),
             " with value ", short_repr(args[n + k]));
      if (value[i]) fail(ErrorKind::Type, "backward: got multiple values for argument '", kNames[i], "'");
      value[i] = args[n + k];
    }
    for (const int i : {1, 2})
      if (value[i] && !PyBool_Check(value[i]) && !(i == 1 && value[i] == Py_None))
        fail(ErrorKind::Type, "backward: argument '", kNames[i], "' must be a bool, got ",
             short_repr(value[i]));
    auto object = [&](int i) { return py::reinterpret_borrow<py::object>(value[i] ? value[i] : Py_None); };
    run_backward(unwrap(self), object(0), object(1), value[2] == Py_True, object(3));
    Py_RETURN_NONE;
  });
}

// ---- Layout ----------------------------------------------------------------------------------------------

// A dim of a tensor in [0, ndim). PyTorch gives 0-d tensors no dimension here.
int dim_argument(const char* op, PyObject* o, int ndim) {
  if (!PyIndex_Check(o)) fail(ErrorKind::Type, op, ": argument 'dim' must be an int, got ", short_repr(o));
  const Py_ssize_t dim = PyNumber_AsSsize_t(o, nullptr);  // clipped
  if (dim == -1 && PyErr_Occurred()) throw py::error_already_set();
  if (ndim == 0)
    fail(ErrorKind::Index, op, ": Dimension specified as ", static_cast<std::int64_t>(dim),
         " but tensor has no dimensions");
  return wrap_dim(op, dim, ndim);
}

PyObject* size(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* keywords) {
  return guarded([&]() -> PyObject* {
    const Shape& shape = impl_of(self)->shape;
    PyObject* dim = only_argument("size", "dim", args, n, keywords);
    if (!dim || dim == Py_None) return size_object(shape);
    return PyLong_FromLongLong(shape[dim_argument("size", dim, shape.ndim)]);
  });
}
PyObject* stride(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* keywords) {
  return guarded([&]() -> PyObject* {
    const Strides& strides = impl_of(self)->strides;
    PyObject* dim = only_argument("stride", "dim", args, n, keywords);
    if (dim && dim != Py_None) return PyLong_FromLongLong(strides[dim_argument("stride", dim, strides.ndim)]);
    PyObject* tuple = PyTuple_New(strides.ndim);
    for (int d = 0; tuple && d < strides.ndim; ++d)
      PyTuple_SET_ITEM(tuple, d, PyLong_FromLongLong(strides[d]));
    return tuple;
  });
}
PyObject* dim(PyObject* self, PyObject*) { return PyLong_FromLong(impl_of(self)->shape.ndim); }
PyObject* numel(PyObject* self, PyObject*) { return PyLong_FromLongLong(impl_of(self)->numel); }
PyObject* element_size(PyObject* self, PyObject*) {
  return PyLong_FromSize_t(item_size(impl_of(self)->dtype));
}
PyObject* storage(PyObject* self, PyObject*) {
  const Storage& s = *impl_of(self)->storage;
  return Py_BuildValue("(NL)", PyLong_FromVoidPtr(s.data), static_cast<long long>(s.bytes));
}
PyObject* data_ptr(PyObject* self, PyObject*) {
  return guarded([&] {
    refuse_reading("data_ptr");
    return PyLong_FromVoidPtr(impl_of(self)->data);
  });
}
PyObject* storage_offset(PyObject* self, PyObject*) { return PyLong_FromLongLong(impl_of(self)->offset()); }
PyObject* is_contiguous(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* keywords) {
  return guarded([&] {
    const MemoryFormat format =
        format_of_object("is_contiguous", only_argument("is_contiguous", "memory_format", args, n, keywords));
    if (format <= MemoryFormat::RowMajor) return PyBool_FromLong(impl_of(self)->contiguous);
    const Tensor t = unwrap(self);
    const int rank = format == MemoryFormat::ChannelsLast ? 4 : 5;
    return PyBool_FromLong(t.ndim() == rank && same_places(t.shape(), t.strides(),
                                                           strides_in(format, t.shape(), "is_contiguous")));
  });
}
PyObject* is_floating_point(PyObject* self, PyObject*) {
  return PyBool_FromLong(is_floating(impl_of(self)->dtype));
}

// ---- The rest --------------------------------------------------------------------------------------------

PyObject* cpu(PyObject* self, PyObject*) { return Py_NewRef(self); }

py::object resize_method(const py::object& self, const py::args& sizes, const py::object& memory_format) {
  const Tensor t = unwrap(self.ptr());
  if (format_of_object("resize_", memory_format.ptr()) > MemoryFormat::RowMajor)
    fail(ErrorKind::NotImplemented, "resize_: memory_format=", short_repr(memory_format.ptr()),
         " is not supported");
  py::object list = sizes;
  if (sizes.size() == 1 && (PyTuple_Check(sizes[0].ptr()) || PyList_Check(sizes[0].ptr()))) list = sizes[0];
  Shape shape;
  for (const py::handle h : list) {
    const auto whole = py::reinterpret_steal<py::object>(PyNumber_Index(h.ptr()));
    const long long size = whole ? PyLong_AsLongLong(whole.ptr()) : -1;
    if (size == -1 && PyErr_Occurred()) {
      PyErr_Clear();
      fail(ErrorKind::Type, "resize_: argument 'size' must be a sequence of ints, got ", short_repr(h.ptr()));
    }
    shape.push(size);
  }
  if (needs_grad(t)) fail(ErrorKind::Runtime, "resize_: cannot resize variables that require grad");
  if (t->storage->readonly)
    fail(ErrorKind::Runtime, "resize_: the tensor shares memory with a read-only array");
  if (!(shape == t.shape())) resize(t, shape, "resize_");
  return self;
}

PyObject* requires_grad_(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* keywords) {
  return guarded([&]() -> PyObject* {
    PyObject* value = only_argument("requires_grad_", "requires_grad", args, n, keywords);
    if (PyObject_SetAttrString(self, "requires_grad", value ? value : Py_True) < 0) return nullptr;
    return Py_NewRef(self);
  });
}

// A handle of class `cls` on data's memory, without history.
PyObject* make_subclass(PyObject*, PyObject* args) {
  PyObject *cls = nullptr, *data = nullptr;
  int requires_grad = 0;
  if (!PyArg_ParseTuple(args, "OO|p", &cls, &data, &requires_grad)) return nullptr;
  return guarded([&]() -> PyObject* {
    if (!PyType_Check(cls) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(cls), tensor_type))
      fail(ErrorKind::Type, "_make_subclass: cls must be a subclass of Tensor, got ", short_repr(cls));
    if (!is_tensor(data))
      fail(ErrorKind::Type, "_make_subclass: data must be a Tensor, got ", short_repr(data));
    const Tensor t = alias(unwrap(data));
    if (requires_grad && !is_floating(t.dtype()))
      fail(ErrorKind::Runtime,
           "_make_subclass: only Tensors of floating point dtype can require "
           "gradients, got dtype ",
           name(t.dtype()));
    t->requires_grad = requires_grad != 0;
    return wrap_as(reinterpret_cast<PyTypeObject*>(cls), t);
  });
}

PyObject* reduce_ex(PyObject* self, PyObject* protocol) {
  return guarded([&] {
    const py::object f = py::module_::import("unspool._tensor_pickle").attr("reduce_ex");
    return f(py::handle(self), py::handle(protocol)).release().ptr();
  });
}
PyObject* deepcopy(PyObject* self, PyObject* memo) {
  return guarded([&] {
    const py::object f = py::module_::import("unspool._tensor_pickle").attr("deepcopy");
    return f(py::handle(self), py::handle(memo)).release().ptr();
  });
}

// ---- The table -------------------------------------------------------------------------------------------

template <class F>
PyCFunction fast(F* f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}

PyMethodDef methods[] = {
    {"item", item, METH_NOARGS,
     "item(self) -> Any\n\nThe one element as a Python number. RuntimeError where there are "
     "more."},
    {"tolist", tolist, METH_NOARGS, "tolist(self) -> Any\n\nThe elements as nested lists of Python numbers."},
    {"__format__", format, METH_O, "__format__(self, spec: str) -> str"},
    {"detach", detach, METH_NOARGS,
     "detach(self) -> Tensor\n\nThe same memory without history; it shares the version counter."},
    {"detach_", detach_in_place, METH_NOARGS,
     "detach_(self) -> Tensor\n\nForgets the history of this tensor itself."},
    {"size", fast(size), METH_FASTCALL | METH_KEYWORDS,
     "size(self, dim: None = None) -> Size\nsize(self, dim: int) -> int\n\nThe shape, or one size of it."},
    {"stride", fast(stride), METH_FASTCALL | METH_KEYWORDS,
     "stride(self, dim: None = None) -> tuple[int, ...]\nstride(self, dim: int) -> int\n\nSteps in elements, or one of "
     "them."},
    {"dim", dim, METH_NOARGS, "dim(self) -> int\n\nThe number of dimensions."},
    {"ndimension", dim, METH_NOARGS, "ndimension(self) -> int\n\nThe number of dimensions."},
    {"numel", numel, METH_NOARGS, "numel(self) -> int\n\nThe number of elements."},
    {"nelement", numel, METH_NOARGS, "nelement(self) -> int\n\nThe number of elements."},
    {"element_size", element_size, METH_NOARGS, "element_size(self) -> int\n\nBytes an element."},
    {"_storage", storage, METH_NOARGS,
     "_storage(self) -> tuple[int, int]\n\nThe address and the bytes of the whole storage."},
    {"data_ptr", data_ptr, METH_NOARGS, "data_ptr(self) -> int\n\nThe address of the first element."},
    {"storage_offset", storage_offset, METH_NOARGS,
     "storage_offset(self) -> int\n\nWhere the first element lies in the storage, in elements."},
    {"is_contiguous", fast(is_contiguous), METH_FASTCALL | METH_KEYWORDS,
     "is_contiguous(self, memory_format: object = None) -> bool\n\nWhether the elements lie in row-major order without gaps, or as memory_format says."},
    {"is_floating_point", is_floating_point, METH_NOARGS, "is_floating_point(self) -> bool"},
    {"float", fast(as_dtype<DType::Float32>), METH_FASTCALL | METH_KEYWORDS,
     "float(self, memory_format: object = None) -> Tensor\n\nAs float32."},
    {"half", fast(as_dtype<DType::Float16>), METH_FASTCALL | METH_KEYWORDS,
     "half(self, memory_format: object = None) -> Tensor\n\nAs float16."},
    {"bfloat16", fast(as_dtype<DType::BFloat16>), METH_FASTCALL | METH_KEYWORDS,
     "bfloat16(self, memory_format: object = None) -> Tensor\n\nAs bfloat16."},
    {"double", fast(as_dtype<DType::Float64>), METH_FASTCALL | METH_KEYWORDS,
     "double(self, memory_format: object = None) -> Tensor\n\nAs float64."},
    {"long", fast(as_dtype<DType::Int64>), METH_FASTCALL | METH_KEYWORDS,
     "long(self, memory_format: object = None) -> Tensor\n\nAs int64."},
    {"int", fast(as_dtype<DType::Int32>), METH_FASTCALL | METH_KEYWORDS,
     "int(self, memory_format: object = None) -> Tensor\n\nAs int32."},
    {"byte", fast(as_dtype<DType::UInt8>), METH_FASTCALL | METH_KEYWORDS,
     "byte(self, memory_format: object = None) -> Tensor\n\nAs uint8."},
    {"bool", fast(as_dtype<DType::Bool>), METH_FASTCALL | METH_KEYWORDS,
     "bool(self, memory_format: object = None) -> Tensor\n\nAs bool."},
    {"backward", fast(backward_method), METH_FASTCALL | METH_KEYWORDS,
     "backward(self, gradient: Tensor | None = None, retain_graph: bool | None = None, "
     "create_graph: bool = False, inputs: Sequence[Tensor] | None = None) -> None\n\n"
     "Adds the gradient of this tensor with respect to every leaf that it was computed from to "
     "the leaf's grad. `gradient` weights the elements of a tensor that is no scalar."},
    {"cpu", cpu, METH_NOARGS, "cpu(self) -> Tensor\n\nThe tensor itself."},
    {"requires_grad_", fast(requires_grad_), METH_FASTCALL | METH_KEYWORDS,
     "requires_grad_(self, requires_grad: bool = True) -> Tensor\n\nSets requires_grad."},
    {"_make_subclass", make_subclass, METH_VARARGS | METH_STATIC,
     "_make_subclass(cls: type, data: Tensor, requires_grad: bool = False) -> Tensor"},
    {"__reduce_ex__", reduce_ex, METH_O,
     "__reduce_ex__(self, protocol: SupportsIndex) -> tuple[object, ...]"},
    {"__deepcopy__", deepcopy, METH_O, "__deepcopy__(self, memo: object) -> Tensor"},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void bind_methods(py::module_&) {
  const auto type = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(tensor_type));
  for (PyMethodDef* def = methods; def->ml_name; ++def) {
    PyObject* f = nullptr;
    if (def->ml_flags & METH_STATIC) {
      static PyMethodDef plain = *def;
      plain.ml_flags &= ~METH_STATIC;
      const py::object raw = py::reinterpret_steal<py::object>(PyCFunction_New(&plain, nullptr));
      f = PyStaticMethod_New(raw.ptr());
    } else {
      f = PyDescr_NewMethod(tensor_type, def);
    }
    if (!f) throw py::error_already_set();
    type.attr(def->ml_name) = py::reinterpret_steal<py::object>(f);
  }

  auto def = [&](const char* name, auto f, const char* doc, const auto&... extra) {
    py::options options;
    options.disable_function_signatures();
    type.attr(name) = py::cpp_function(f, py::name(name), py::is_method(type), py::doc(doc), extra...);
  };
  def("to", to_method,
      "to(self, *args: object, **kwargs: object) -> Tensor\n\nThe tensor in another dtype; itself "
      "where nothing changes.");
  def(
      "_show",
      [](const py::object& self, const Tensor& view) {
        const Tensor t = unwrap(self.ptr());
        if (t->storage != view->storage) throw std::logic_error("_show: not a view of the tensor");
        show(t, view);
        return self;
      },
      "_show(self, view: Tensor) -> Tensor\n\nShows what a view of the tensor shows, from now on.");
  def("resize_", resize_method,
      "resize_(self, *size: Any, memory_format: object = None) -> Tensor\n\nThe same elements in row-major order in "
      "another shape; elements beyond them are not set. RuntimeError where more memory is needed, and others see it.",
      py::arg("memory_format") = py::none());
  def("type", type_method,
      "type(self, dtype: Any = None, non_blocking: bool = False) -> Any\n\nIn another dtype (a dtype, a name such as "
      "'torch.FloatTensor', or that type); without one, the name of the tensor's type.",
      py::arg("dtype") = py::none(), py::arg("non_blocking") = false);
  def(
      "type_as", [](const Tensor& t, const Tensor& other) { return to(t, other.dtype()); },
      "type_as(self, other: Tensor) -> Tensor\n\nIn the dtype of another tensor.");
  def(
      "expand_as", [](const Tensor& t, const Tensor& other) { return expand(t, other.shape()); },
      "expand_as(self, other: Tensor) -> Tensor\n\nexpand to the other's shape.");
  def(
      "view_as", [](const Tensor& t, const Tensor& other) { return unspool::view(t, other.shape()); },
      "view_as(self, other: Tensor) -> Tensor\n\nview in the other's shape.");
  def(
      "reshape_as", [](const Tensor& t, const Tensor& other) { return reshape(t, other.shape()); },
      "reshape_as(self, other: Tensor) -> Tensor\n\nreshape to the other's shape.");
}

}  // namespace unspool::python
