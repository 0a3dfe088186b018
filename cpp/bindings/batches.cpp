// Batches in Python: rows of tensors, some at a time, which a plan is replayed for.
#include "unspool/plan/batches.h"

#include <memory>

#include "compile.h"

namespace unspool::python {
namespace {

std::int64_t in_range(const Batches& b, std::int64_t i) {
  if (i < 0 || i >= b.count()) fail(ErrorKind::Index, "batches: batch ", i, " is not among ", b.count());
  return i;
}

}  // namespace

py::list list_of(std::span<const Tensor> tensors) {
  py::list list;
  for (const Tensor& t : tensors) list.append(py::reinterpret_steal<py::object>(wrap(t)));
  return list;
}

void bind_batches(py::module_& m) {
  py::class_<Batches>(m, "Batches", "Rows of tensors, some at a time, and what came of them.")
      .def(py::init([](const py::sequence& sources, std::int64_t size, std::int64_t parts) {
             return std::make_unique<Batches>(tensors_of(sources), size, parts);
           }),
           py::arg("sources"), py::arg("size"), py::arg("parts"),
           "__init__(self, sources: Sequence[Tensor], size: int, parts: int) -> None")
      .def(
          "reorder",
          [](Batches& b, const py::object& order) {
            if (!order.is_none() && !is_tensor(order.ptr()))
              fail(ErrorKind::Type, "batches: order must be a Tensor, got ", short_repr(order.ptr()));
            b.reorder(order.is_none() ? Tensor() : unwrap(order.ptr()));
          },
          py::arg("order"),
          "reorder(self, order: Tensor | None) -> None\n\nThe rows' order; None for the order in which they lie.")
      .def(
          "batch", [](const Batches& b, std::int64_t i) { return list_of(b.batch(in_range(b, i))); },
          py::arg("i"), "batch(self, i: int) -> list[Tensor]\n\nThe rows of a batch, as new tensors.")
      .def(
          "note",
          [](Batches& b, std::int64_t i, const py::sequence& results) {
            const std::vector<Tensor> all = tensors_of(results);
            if (all.empty()) fail(ErrorKind::Value, "batches: results must hold a loss, got none");
            b.note(in_range(b, i), all);
          },
          py::arg("i"), py::arg("results"),
          "note(self, i: int, results: Sequence[Tensor]) -> None\n\nA batch's loss, and results to keep.")
      .def(
          "finite", [](const Batches& b, std::int64_t i) { return b.finite(in_range(b, i)); }, py::arg("i"),
          "finite(self, i: int) -> bool\n\nWhether a batch's losses are.")
      .def_property_readonly(
          "losses", [](const Batches& b) { return b.losses(); }, "losses: Tensor\n\nOf each part, float64.")
      .def_property_readonly(
          "kept", [](const Batches& b) { return list_of(b.kept()); },
          "kept: list[Tensor]\n\nResults of all rows.")
      .def_property_readonly(
          "odd", [](const Batches& b) { return b.odd(); },
          "odd: str\n\nHow the results of a batch differ from those before, which are kept; else empty.")
      .def("__len__", &Batches::count, "__len__(self) -> int");
}

}  // namespace unspool::python
