// x[…] with integers, slices, None and Ellipsis: a chain of views. x[…] = y writes through one.
#include "handle.h"
#include "unspool/ops/ops.h"

namespace unspool::python {
namespace {

// The view that a basic index names.
Tensor view_at(Tensor t, PyObject* index) {
  PyObject* const* items = &index;
  Py_ssize_t n = 1;
  if (PyTuple_Check(index)) {
    items = PySequence_Fast_ITEMS(index);
    n = PyTuple_GET_SIZE(index);
  }
  int used = 0;
  bool ellipsis = false;
  for (Py_ssize_t i = 0; i < n; ++i) {
    if (items[i] == Py_Ellipsis) {
      if (ellipsis) fail(ErrorKind::Index, "index: an index can only have a single ellipsis ('...')");
      ellipsis = true;
    } else if (items[i] != Py_None) {
      ++used;
    }
  }
  const int given = t.ndim();
  if (used > given)
    fail(ErrorKind::Index, "index: too many indices for tensor of dimension ", given, "; got ", used);
  int dim = 0;       // of the view so far
  int original = 0;  // of the tensor, for messages
  bool changed = false;
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* item = items[i];
    if (item == Py_Ellipsis) {
      dim += given - used;
      original += given - used;
      continue;
    }
    changed = true;
    if (item == Py_None) {
      t = unsqueeze(t, dim++);
    } else if (PySlice_Check(item)) {
      Py_ssize_t start = 0, stop = 0, step = 0;
      if (PySlice_Unpack(item, &start, &stop, &step) < 0) throw py::error_already_set();
      if (step <= 0)
        fail(ErrorKind::Value, "index: step must be greater than zero, got ",
             static_cast<std::int64_t>(step));
      PySlice_AdjustIndices(t.shape()[dim], &start, &stop, step);
      t = slice(t, dim++, start, stop, step);
      ++original;
    } else if (PyBool_Check(item) || !PyIndex_Check(item) ||
               (is_tensor(item) && (impl_of(item)->shape.ndim != 0 || is_floating(impl_of(item)->dtype) ||
                                    impl_of(item)->dtype == DType::Bool))) {
      fail(PyUnicode_Check(item) ? ErrorKind::Type : ErrorKind::Index,
           "index: integers, slices (`:`), ellipsis (`...`) and None are supported, got ", short_repr(item));
    } else {
      const std::int64_t size = t.shape()[dim];
      const Py_ssize_t at = PyNumber_AsSsize_t(item, PyExc_IndexError);
      if (at == -1 && PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_IndexError))
        throw py::error_already_set();
      if (PyErr_Occurred() || at < -size || at >= size) {
        PyErr_Clear();
        fail(ErrorKind::Index, "index: index ", short_repr(item), " is out of bounds for dimension ",
             original, " with size ", size);
      }
      t = select(t, dim, at);
      ++original;
    }
  }
  // x[...] is a new view, not x.
  return changed ? t : view(t, t.shape());
}

}  // namespace

PyObject* subscript(PyObject* self, PyObject* index) {
  return guarded([&] { return wrap(view_at(unwrap(self), index)); });
}

int assign_subscript(PyObject* self, PyObject* index, PyObject* value) {
  PyObject* done = guarded([&]() -> PyObject* {
    if (!value) fail(ErrorKind::Type, "index: tensor elements cannot be deleted");
    const Tensor t = view_at(unwrap(self), index);
    Tensor source;
    if (!operand_of(value, source)) {
      const py::object made = py::module_::import("unspool._core")
                                  .attr("as_tensor")(py::handle(value), py::arg("dtype") = t.dtype());
      source = unwrap(made.ptr());
    }
    // Leading sizes of 1 may be dropped, as PyTorch allows.
    while (source.ndim() > t.ndim() && source.shape()[0] == 1) source = squeeze(source, 0);
    copy_(t, source);
    Py_RETURN_NONE;
  });
  Py_XDECREF(done);
  return done ? 0 : -1;
}

}  // namespace unspool::python
