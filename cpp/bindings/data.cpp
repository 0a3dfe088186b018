// Batches of a TensorDataset: one native gather for all its tensors.
#include <pybind11/stl.h>

#include "handle.h"
#include "unspool/base/pool.h"
#include "unspool/kernels/table.h"
#include "unspool/ops/ops.h"

namespace unspool::python {
namespace {

Shape with_rows(const Tensor& t, std::int64_t n) {
  Shape shape = t.shape();
  shape[0] = n;
  return shape;
}

Tensor gather(const char* op, const Tensor& source, const std::int64_t* index, std::int64_t n) {
  if (source.ndim() == 0)
    fail(ErrorKind::Shape, op, ": tensors must have at least one dimension, got shape ()");
  const std::int64_t rows = source.shape()[0];
  const Undivided whole;  // the index stays as it was checked
  for (std::int64_t i = 0; i < n; ++i)
    if (index[i] < 0 || index[i] >= rows)
      fail(ErrorKind::Index, op, ": index ", index[i], " is out of bounds for ", rows, " rows");
  Tensor out = empty(with_rows(source, n), source.dtype(), op);
  if (out.numel() == 0) return out;
  const auto item = static_cast<std::int64_t>(item_size(source.dtype()));
  Shape row = source.shape();
  row.erase(0);
  Strides steps = source.strides();
  steps.erase(0);
  // Rows of contiguous memory; other layouts are brought to it once.
  const Tensor dense = is_contiguous(row, steps) ? source : contiguous(source);
  kernels().gather_rows(out->data, dense->data, numel_of(row, op) * item, dense.strides()[0] * item, index,
                        n);
  return out;
}

py::list gather_rows(const py::sequence& tensors, const py::object& index) {
  GradMode off(false);
  Tensor order;
  std::vector<std::int64_t> list;
  const std::int64_t* at = nullptr;
  std::int64_t n = 0;
  if (is_tensor(index.ptr())) {
    order = unwrap(index.ptr());
    if (order.dtype() != DType::Int64 || order.ndim() != 1)
      fail(ErrorKind::Index, "gather_rows: index must be 1-D of dtype int64, got shape ", order.shape(),
           " and dtype ", name(order.dtype()));
    order = contiguous(order);
    at = reinterpret_cast<const std::int64_t*>(order->data);
    n = order.numel();
  } else {
    for (const py::handle h : index) {
      const Py_ssize_t i = PyNumber_AsSsize_t(h.ptr(), PyExc_IndexError);
      if (i == -1 && PyErr_Occurred()) throw py::error_already_set();
      list.push_back(i);
    }
    at = list.data();
    n = static_cast<std::int64_t>(list.size());
  }
  py::list batch;
  for (const py::handle h : tensors) {
    if (!is_tensor(h.ptr()))
      fail(ErrorKind::Type, "gather_rows: tensors must hold Tensors, got ", short_repr(h.ptr()));
    batch.append(py::cast(gather("gather_rows", unwrap(h.ptr()), at, n)));
  }
  return batch;
}

py::list slice_rows(const py::sequence& tensors, std::int64_t start, std::int64_t stop) {
  GradMode off(false);
  py::list batch;
  for (const py::handle h : tensors) {
    if (!is_tensor(h.ptr()))
      fail(ErrorKind::Type, "slice_rows: tensors must hold Tensors, got ", short_repr(h.ptr()));
    const Tensor t = unwrap(h.ptr());
    if (t.ndim() == 0)
      fail(ErrorKind::Shape, "slice_rows: tensors must have at least one dimension, got shape ()");
    if (start < 0 || stop < start || stop > t.shape()[0])
      fail(ErrorKind::Index, "slice_rows: rows ", start, " to ", stop, " are out of bounds for ",
           t.shape()[0], " rows");
    batch.append(py::cast(clone(slice(alias(t), 0, start, stop, 1))));
  }
  return batch;
}

}  // namespace

void bind_data(py::module_& m) {
  py::options options;
  options.disable_function_signatures();
  m.def("gather_rows", gather_rows, py::arg("tensors"), py::arg("index"),
        "gather_rows(tensors: Sequence[Tensor], index: Tensor | Sequence[int]) -> list[Tensor]\n\n"
        "The rows at index of each tensor, as new tensors.");
  m.def("slice_rows", slice_rows, py::arg("tensors"), py::arg("start"), py::arg("stop"),
        "slice_rows(tensors: Sequence[Tensor], start: int, stop: int) -> list[Tensor]\n\nRows "
        "start to stop of each tensor, as new tensors.");
}

}  // namespace unspool::python
