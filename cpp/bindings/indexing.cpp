// x[…] and x[…] = y by PyTorch's rules. Integers, slices, None and Ellipsis make a chain of views; what is
// left, index tensors and masks (or arrays and lists that become such), picks elements of that view
// (ops/take.h).
#include "handle.h"
#include "unspool/ops/ops.h"
#include "unspool/ops/take.h"

namespace unspool::python {
namespace {

// What an index says: a view, and for each of its dims an index tensor or null.
struct Indexed {
  Tensor view;
  Vector<Tensor> indices;
  bool advanced = false;
};

bool is_zero_dim_integer(PyObject* o) {
  return is_tensor(o) && impl_of(o)->shape.ndim == 0 && !is_floating(impl_of(o)->dtype) &&
         impl_of(o)->dtype != DType::Bool && impl_of(o)->dtype != DType::UInt8;
}

Tensor made_tensor(PyObject* o, const char* what) {
  const py::object make = py::module_::import("unspool._core").attr("as_tensor");
  try {
    return unwrap(make(py::handle(o)).ptr());
  } catch (py::error_already_set& e) {
    if (!e.matches(PyExc_TypeError) && !e.matches(PyExc_ValueError)) throw;
    fail(ErrorKind::Index,
         "index: only integers, slices (`:`), ellipsis (`...`), None and long, int or bool ", what,
         " are valid indices, got ", short_repr(o));
  }
}

// An index that is no number, slice, None or Ellipsis, as a tensor; an empty list is one of int64.
Tensor index_tensor(PyObject* o) {
  if (is_tensor(o)) return unwrap(o);
  if (PyUnicode_Check(o) || PyBytes_Check(o) || PyFloat_Check(o) || PyDict_Check(o))
    fail(PyUnicode_Check(o) ? ErrorKind::Type : ErrorKind::Index,
         "index: integers, slices (`:`), ellipsis (`...`), None and index tensors are supported, got ",
         short_repr(o));
  if ((PyList_Check(o) || PyTuple_Check(o)) && PySequence_Fast_GET_SIZE(o) == 0)
    return empty({0}, DType::Int64);
  return made_tensor(o, "tensors");
}

// How many dims of the tensor an item takes.
int dims_taken(PyObject* item, const Tensor& index) {
  if (item == Py_Ellipsis || item == Py_None || PyBool_Check(item)) return 0;
  if (index && (index.dtype() == DType::Bool || index.dtype() == DType::UInt8)) return index.ndim();
  return 1;
}

void put_mask(Indexed& x, const Tensor& mask, int dim, int original) {
  for (int d = 0; d < mask.ndim(); ++d)
    if (mask.shape()[d] != x.view.shape()[dim + d])
      fail(ErrorKind::Index, "index: the shape of the mask ", mask.shape(), " at index ", d,
           " does not match the shape of the indexed tensor at dimension ", original + d, ", which has size ",
           x.view.shape()[dim + d]);
  Vector<Tensor> columns = nonzero_columns(mask);
  for (std::size_t d = 0; d < columns.size(); ++d) x.indices[static_cast<std::size_t>(dim) + d] = columns[d];
}

// One item of the index; returns the next dim of the view.
int apply(Indexed& x, PyObject* item, const Tensor& index, int dim, int& original) {
  Tensor& t = x.view;
  auto open = [&](int at) { x.indices.insert(x.indices.begin() + at, Tensor()); };
  if (item == Py_None) {
    t = unsqueeze(t, dim);
    open(dim);
    return dim + 1;
  }
  if (PySlice_Check(item)) {
    Py_ssize_t start = 0, stop = 0, step = 0;
    if (PySlice_Unpack(item, &start, &stop, &step) < 0) throw py::error_already_set();
    if (step <= 0)
      fail(ErrorKind::Value, "index: step must be greater than zero, got ", static_cast<std::int64_t>(step));
    PySlice_AdjustIndices(t.shape()[dim], &start, &stop, step);
    t = slice(t, dim, start, stop, step);
    ++original;
    return dim + 1;
  }
  if (PyBool_Check(item) || (index && index.ndim() == 0 && index.dtype() == DType::Bool)) {
    // A new dim, of size 1 where it is true and 0 where it is not.
    if (!PyBool_Check(item)) refuse_reading("index");
    const bool truth = PyBool_Check(item) ? item == Py_True : index->data[0] != 0;
    t = unsqueeze(t, dim);
    open(dim);
    x.indices[static_cast<std::size_t>(dim)] = zeros({truth ? 1 : 0}, DType::Int64);
    x.advanced = true;
    return dim + 1;
  }
  if (index) {
    x.advanced = true;
    if (index.dtype() == DType::Bool || index.dtype() == DType::UInt8) {
      put_mask(x, index, dim, original);
      original += index.ndim();
      return dim + index.ndim();
    }
    if (is_floating(index.dtype()))
      fail(ErrorKind::Index, "index: tensors used as indices must be long, int, byte or bool tensors, got ",
           short_repr(item), " of dtype ", name(index.dtype()));
    x.indices[static_cast<std::size_t>(dim)] = strided_index_as_int64("index", index);
    ++original;
    return dim + 1;
  }
  const std::int64_t size = t.shape()[dim];
  const Py_ssize_t at = PyNumber_AsSsize_t(item, PyExc_IndexError);
  if (at == -1 && PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_IndexError))
    throw py::error_already_set();
  if (PyErr_Occurred() || at < -size || at >= size) {
    PyErr_Clear();
    fail(ErrorKind::Index, "index: index ", short_repr(item), " is out of bounds for dimension ", original,
         " with size ", size);
  }
  t = select(t, dim, at);
  x.indices.erase(x.indices.begin() + dim);
  ++original;
  return dim;
}

// A short list that holds more than numbers counts as a tuple, in PyTorch and in NumPy of old.
bool is_legacy_tuple(PyObject* index) {
  if (!PyList_Check(index) || PyList_GET_SIZE(index) >= 32) return false;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(index); ++i) {
    PyObject* item = PyList_GET_ITEM(index, i);
    if (item == Py_None || item == Py_Ellipsis || PySlice_Check(item) || is_tensor(item) ||
        PyList_Check(item) || PyTuple_Check(item))
      return true;
  }
  return false;
}

Indexed read_index(const Tensor& t, PyObject* index) {
  PyObject* const* items = &index;
  Py_ssize_t n = 1;
  py::object tuple;  // a list may change while Python runs
  if (PyTuple_Check(index) || is_legacy_tuple(index)) {
    tuple = py::reinterpret_steal<py::object>(PySequence_Tuple(index));
    if (!tuple) throw py::error_already_set();
    items = PySequence_Fast_ITEMS(tuple.ptr());
    n = PyTuple_GET_SIZE(tuple.ptr());
  }
  Vector<Tensor> tensors(static_cast<std::size_t>(n));
  int used = 0;
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* item = items[i];
    const bool plain = item == Py_Ellipsis || item == Py_None || PySlice_Check(item) || PyBool_Check(item) ||
                       is_zero_dim_integer(item) || (PyIndex_Check(item) && !is_tensor(item));
    if (!plain || (PyIndex_Check(item) && !PyLong_Check(item) && !is_tensor(item) && PySequence_Check(item)))
      tensors[static_cast<std::size_t>(i)] = index_tensor(item);
    used += dims_taken(item, tensors[static_cast<std::size_t>(i)]);
  }
  if (used > t.ndim())
    fail(ErrorKind::Index, "index: too many indices for tensor of dimension ", t.ndim(), "; got ", used);
  Indexed x{t, Vector<Tensor>(static_cast<std::size_t>(t.ndim())), false};
  int dim = 0;       // of the view so far
  int original = 0;  // of the tensor, for messages
  bool changed = false, ellipsis = false;
  for (Py_ssize_t i = 0; i < n; ++i) {
    if (items[i] != Py_Ellipsis) {
      changed = true;
      dim = apply(x, items[i], tensors[static_cast<std::size_t>(i)], dim, original);
    } else if (!ellipsis) {  // a second one stands for no dims, as in PyTorch
      ellipsis = true;
      dim += t.ndim() - used;
      original += t.ndim() - used;
    }
  }
  // x[...] is a new view, not x.
  if (!changed) x.view = view(t, t.shape());
  return x;
}

// The value of an assignment, in the tensor's dtype.
Tensor source_of(PyObject* value, const Tensor& t) {
  Tensor source;
  if (!operand_of(value, source)) {
    const py::object made = py::module_::import("unspool._core")
                                .attr("as_tensor")(py::handle(value), py::arg("dtype") = t.dtype());
    source = unwrap(made.ptr());
  }
  return source;
}

bool expands(const Shape& from, const Shape& to) {
  const int lead = to.ndim - from.ndim;
  bool fits = lead >= 0;
  for (int d = 0; fits && d < from.ndim; ++d) fits = from[d] == 1 || from[d] == to[lead + d];
  return fits;
}

// Leading sizes of 1 may be dropped, as PyTorch allows.
Tensor without_lead(Tensor source, int ndim) {
  while (source.ndim() > ndim && source.shape()[0] == 1) source = squeeze(source, 0);
  return source;
}

}  // namespace

PyObject* subscript(PyObject* self, PyObject* index) {
  return guarded([&] {
    const Indexed x = read_index(unwrap(self), index);
    if (!x.advanced) return wrap(x.view);
    const Tensor y = take_flat(x.view, indexed_places("index", x.view.shape(), x.indices));
    return wrap(laid_out_as_indexed(y, x.view, x.indices));
  });
}

int assign_subscript(PyObject* self, PyObject* index, PyObject* value) {
  PyObject* done = guarded([&]() -> PyObject* {
    if (!value) fail(ErrorKind::Type, "index: tensor elements cannot be deleted");
    const Indexed x = read_index(unwrap(self), index);
    const Tensor source = source_of(value, x.view);
    if (!x.advanced) {
      copy_(x.view, without_lead(source, x.view.ndim()));
      Py_RETURN_NONE;
    }
    const Tensor places = indexed_places("index", x.view.shape(), x.indices);
    const Tensor values = without_lead(to(source, x.view.dtype()), places.ndim());
    if (!expands(values.shape(), places.shape()))
      fail(ErrorKind::Shape, "index: shape mismatch: value of shape ", source.shape(),
           " cannot be broadcast to indexing result of shape ", places.shape());
    put_flat_(x.view, places, values, false);
    Py_RETURN_NONE;
  });
  Py_XDECREF(done);
  return done ? 0 : -1;
}

}  // namespace unspool::python
