// Gradients, tangents and grad mode.
#include <pybind11/stl.h>

#include "handle.h"
#include "unspool/ops/halves.h"
#include "unspool/ops/ops.h"
#include "unspool/tape/sweep.h"

namespace unspool::python {
namespace {

using Tensors = Vector<Tensor>;

// None stands for a null tensor.
Tensors read(const py::object& o, const char* what, std::size_t fill = 0) {
  Tensors all;
  if (o.is_none()) {
    all.resize(fill);
    return all;
  }
  if (is_tensor(o.ptr())) return {unwrap(o.ptr())};
  for (const py::handle h : o) {
    if (!h.is_none() && !is_tensor(h.ptr()))
      fail(ErrorKind::Type, what, ": must hold Tensors, got ", short_repr(h.ptr()));
    all.push_back(h.is_none() ? Tensor() : unwrap(h.ptr()));
  }
  return all;
}

py::tuple write(const Tensors& all) {
  py::tuple result(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) result[i] = py::cast(all[i]);
  return result;
}

void same_length(const char* op, std::size_t a, std::size_t b) {
  if (a != b)
    fail(ErrorKind::Runtime, op, ": got ", static_cast<std::int64_t>(a), " tensors and ",
         static_cast<std::int64_t>(b), " gradients");
}

bool keep_graph(const py::object& retain_graph, bool create_graph) {
  return retain_graph.is_none() ? create_graph : retain_graph.cast<bool>();
}

py::tuple grad_of(const py::object& outputs, const py::object& inputs, const py::object& grad_outputs,
                  const py::object& retain_graph, bool create_graph, bool allow_unused) {
  const Tensors roots = read(outputs, "grad: outputs"), wrt = read(inputs, "grad: inputs");
  const Tensors grads = read(grad_outputs, "grad: grad_outputs", roots.size());
  same_length("grad", roots.size(), grads.size());
  const Tensors result = grad(roots, grads, wrt, {keep_graph(retain_graph, create_graph), create_graph});
  for (std::size_t i = 0; i < result.size(); ++i)
    if (!result[i] && !allow_unused)
      fail(ErrorKind::Runtime,
           "grad: One of the differentiated Tensors appears to not have been "
           "used in the graph: inputs[",
           static_cast<std::int64_t>(i), "] of shape ", wrt[i].shape(),
           ". Set allow_unused=True if this is the desired behavior");
  return write(result);
}

void backward_of(const py::object& tensors, const py::object& grad_tensors, const py::object& retain_graph,
                 bool create_graph, const py::object& inputs) {
  const Tensors roots = read(tensors, "backward: tensors");
  const Tensors grads = read(grad_tensors, "backward: grad_tensors", roots.size());
  same_length("backward", roots.size(), grads.size());
  backward(roots, grads, read(inputs, "backward: inputs"),
           {keep_graph(retain_graph, create_graph), create_graph});
}

py::tuple jvp_of(const py::object& outputs, const py::object& inputs, const py::object& tangents) {
  const Tensors ys = read(outputs, "jvp: outputs"), xs = read(inputs, "jvp: inputs");
  const Tensors dxs = read(tangents, "jvp: tangents");
  same_length("jvp", xs.size(), dxs.size());
  Tensors dys = jvp(ys, xs, dxs);
  for (std::size_t i = 0; i < dys.size(); ++i)
    if (!dys[i]) dys[i] = zeros_like(ys[i]);
  return write(dys);
}

}  // namespace

void bind_autograd(py::module_& m) {
  py::options options;
  options.disable_function_signatures();
  m.def("is_grad_enabled", grad_enabled,
        "is_grad_enabled() -> bool\n\nWhether operations are recorded in this thread.");
  m.def("_set_grad_enabled", set_grad_enabled,
        "_set_grad_enabled(mode: bool) -> bool\n\nSets the mode, returns the previous one.");
  m.def(
      "_autocast",
      [] {
        const Autocast state = autocast();
        return py::make_tuple(state.on, state.to);
      },
      "_autocast() -> tuple[bool, dtype]\n\nWhether mixed precision is on in this thread, and its dtype.");
  m.def(
      "_set_autocast", [](bool on, DType to) { set_autocast({on, to}); }, py::arg("on"), py::arg("dtype"),
      "_set_autocast(on: bool, dtype: dtype) -> None\n\nSwitches mixed precision, for this thread.");
  m.def("grad", grad_of, py::arg("outputs"), py::arg("inputs"), py::arg("grad_outputs") = py::none(),
        py::arg("retain_graph") = py::none(), py::arg("create_graph") = false,
        py::arg("allow_unused") = false,
        "grad(outputs: object, inputs: object, grad_outputs: object = None, retain_graph: bool | "
        "None = None, create_graph: bool = False, allow_unused: bool = False) -> tuple[Any, "
        "...]\n\nThe gradients of outputs with respect to inputs.");
  m.def("backward", backward_of, py::arg("tensors"), py::arg("grad_tensors") = py::none(),
        py::arg("retain_graph") = py::none(), py::arg("create_graph") = false, py::arg("inputs") = py::none(),
        "backward(tensors: object, grad_tensors: object = None, retain_graph: bool | None = None, "
        "create_graph: bool = False, inputs: object = None) -> None\n\nAdds the gradients to the "
        "leaves' grad.");
  m.def("jvp", jvp_of, py::arg("outputs"), py::arg("inputs"), py::arg("tangents"),
        "jvp(outputs: object, inputs: object, tangents: object) -> tuple[Tensor, ...]\n\nThe "
        "tangents of outputs for tangents of inputs, by a sweep over the recorded graph.");
}

}  // namespace unspool::python
