// The recorded graph as Python sees it: grad_fn, its next_functions; and calls of autograd.Function, whose
// derivative is a Python method.
#include "graph.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "unspool/ops/fusions.h"
#include "unspool/tape/hooks.h"
#include "unspool/tape/sweep.h"

namespace unspool::python {
namespace {

// ---- autograd.Function -------------------------------------------------------------------------------

// attrs[0] is the function's context, a Python object that the node owns through its hooks.
py::handle context_of(const AttrsView& attrs) { return static_cast<PyObject*>(attrs[0].p); }

void python_vjp(const Record& r, const Tensor* g, Tensor* gx) {
  const py::object context = py::reinterpret_borrow<py::object>(context_of(r.attrs));
  const int n_out = r.node->n_out;
  py::tuple grads(static_cast<std::size_t>(n_out));
  for (int i = 0; i < n_out; ++i) grads[static_cast<std::size_t>(i)] = py::cast(g[i]);
  const py::tuple got = context.attr("_run_backward")(GradFn(r.node), grads);
  for (int i = 0; i < r.n_in; ++i) {
    const py::object one = got[static_cast<std::size_t>(i)];
    if (!one.is_none()) gx[i] = unwrap(one.ptr());
  }
}

void python_jvp(const Record&, const Tensor*, Tensor*) {
  fail(ErrorKind::NotImplemented, "jvp: a call of autograd.Function has no rule for tangents");
}

constexpr OpDef function_op = {
    .schema = "autograd.Function(Tensor[] inputs, int context)",
    .grad_name = "FunctionBackward",
    .cls = Class::Fused,
    .derivative = custom(python_vjp, python_jvp),
};

// Makes the outputs results of one call whose derivative is context's.
void record_function(const py::object& context, const py::list& inputs, const py::list& outputs) {
  Vector<Tensor> in, out;
  for (const py::handle h : inputs) in.push_back(unwrap(h.ptr()));
  for (const py::handle h : outputs) out.push_back(h.is_none() ? Tensor() : unwrap(h.ptr()));
  if (out.size() > 255) fail(ErrorKind::Runtime, "Function: at most 255 outputs, got ", out.size());
  if (!grad_enabled() || !recorder.wants(function_op, {in.data(), in.size()})) return;
  Call c(function_op);
  const Attrs attrs({Attr(static_cast<void*>(context.ptr()))});
  c.in = {in.data(), in.size()};
  c.attrs = attrs;
  c.list = &out;
  recorder.record(c);
  for (const Tensor& t : out)
    if (t && t->node) {
      add_hook(t->node->hooks, Hook::Owned, 0, py::object(context).release().ptr());
      return;
    }
}

// The tensor's memory as result `output` of a call: a saved result that can be differentiated again.
Tensor with_history(const Tensor& t, const GradFn& f, std::uint32_t output) {
  Tensor y = alias(t);
  retain(f.node);
  y->node = f.node;
  y->output = output;
  y->requires_grad = true;
  return y;
}

// ---- grad_fn -----------------------------------------------------------------------------------------

bool is_function(const GradFn& f) { return f.node && f.node->op == &function_op; }

std::string type_name(const GradFn& f) { return f.node ? f.name() : "AccumulateGrad"; }

// The call in Python, of a subclass of Node that bears its name: programs ask type(fn).__name__.
py::object typed(const GradFn& f) {
  static auto& types = *new std::unordered_map<std::string, py::object>;
  const std::string name = type_name(f);
  py::object& type = types[name];
  if (!type) {
    py::dict members;
    members["__slots__"] = py::tuple();
    members["__module__"] = is_function(f) ? "torch.autograd.function" : "builtins";
    const py::type base = py::type::of<GradFn>();
    type = py::type::of(base)(name, py::make_tuple(base), members);
  }
  return type(f);
}

py::tuple next_functions(const GradFn& f) {
  py::list edges;
  if (f.node) split(f.node);
  for (int i = 0; f.node && i < f.node->n_in; ++i) {
    const Edge& e = f.node->inputs()[i].edge;
    if (e.node)
      edges.append(py::make_tuple(typed(GradFn(e.node)), e.output));
    else if (e.leaf)
      edges.append(py::make_tuple(typed(GradFn(Tensor::borrow(e.leaf))), 0));
    else
      edges.append(py::make_tuple(py::none(), 0));
  }
  return py::tuple(edges);
}

py::object grad_fn(const Tensor& t) {
  Node* node = history(t);
  return node ? typed(GradFn(node)) : py::none();
}

std::vector<std::string>& shown_names() {
  static auto& names = *new std::vector<std::string>{""};  // 0: the node's own
  return names;
}

const void* identity(const GradFn& f) { return f.node ? static_cast<const void*>(f.node) : f.leaf.get(); }

}  // namespace

std::uint32_t number_of_name(const std::string& name) {
  auto& names = shown_names();
  const auto at = std::find(names.begin(), names.end(), name);
  const auto i = static_cast<std::uint32_t>(at - names.begin());
  if (at == names.end()) names.push_back(name);
  return i;
}

void show_as_product(const Tensor& result, const Tensor& a, const Tensor& b) {
  if (!result || !result->node || (a.ndim() == 2 && b.ndim() == 2)) return;
  static const std::uint32_t dot = number_of_name("DotBackward0"), mv = number_of_name("MvBackward0"),
                             row = number_of_name("SqueezeBackward4"),
                             batch = number_of_name("UnsafeViewBackward0"),
                             turned = number_of_name("CloneBackward0");
  if (a.ndim() > 2 || b.ndim() > 2)
    show_as(result, a.ndim() == 2 && needs_grad(a) ? turned : batch);
  else
    show_as(result, a.ndim() == 2 ? mv : b.ndim() == 2 ? row : dot);
}

namespace {

// What PyTorch's linear ends with, by the input's dimensions and whether there is a bias.
const char* name_of_linear(Node& call) {
  const auto ndim = call.inputs()[0].ndim;
  const bool bias = call.n_in == 3 && call.inputs()[2].ndim > 0;
  if (ndim == 2) return bias ? "AddmmBackward0" : "MmBackward0";
  if (ndim == 1) return bias ? "ViewBackward0" : "SqueezeBackward4";
  return bias ? "ViewBackward0" : "UnsafeViewBackward0";
}

}  // namespace

std::string GradFn::name() const {
  if (!node) return "torch::autograd::AccumulateGrad";
  if (node->shown) return shown_names()[node->shown];
  if (node->op == &function_op)
    return py::cast<std::string>(py::handle(static_cast<PyObject*>(node->attrs()[0].p)).attr("_name"));
  return node->op == &linear_op ? name_of_linear(*node) : node->op->grad_name;
}

void bind_graph(py::module_& m) {
  py::options options;
  options.disable_function_signatures();
  py::class_<GradFn>(m, "Node", "A recorded call: what made a tensor.")
      .def(py::init<const GradFn&>(), py::arg("call"), "__init__(self, call: Node) -> None")
      .def("name", &GradFn::name,
           "name(self) -> str\n\nThe name of the call's derivative, as in AddBackward0.")
      .def_property_readonly("next_functions", next_functions,
                             "next_functions: tuple[tuple[Node | None, int], ...]\n\nThe calls that made its "
                             "inputs; AccumulateGrad for leaves, None where no gradient goes.")
      .def_property_readonly(
          "variable", [](const GradFn& f) { return f.node ? py::none() : py::cast(f.leaf); },
          "variable: Tensor | None\n\nThe leaf, of AccumulateGrad.")
      .def("register_hook", &GradFn::register_hook,
           "register_hook(self, hook: Callable[..., Any]) -> RemovableHandle\n\nCalls hook(grad_inputs, "
           "grad_outputs) after the call's backward; what it returns replaces grad_inputs.")
      .def("register_prehook", &GradFn::register_prehook,
           "register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle\n\nCalls hook(grad_outputs) "
           "before the call's backward; what it returns replaces them.")
      .def(
          "__eq__",
          [](const GradFn& f, const py::object& o) {
            return py::isinstance<GradFn>(o) && identity(f) == identity(o.cast<const GradFn&>());
          },
          "__eq__(self, other: object) -> bool")
      .def(
          "__hash__", [](const GradFn& f) { return reinterpret_cast<std::uintptr_t>(identity(f)) >> 4; },
          "__hash__(self) -> int")
      .def("__repr__", [](const GradFn& f) {
        const auto address = reinterpret_cast<std::uintptr_t>(identity(f));
        return "<" + std::string(is_function(f) ? "torch.autograd.function." : "") + type_name(f) +
               " object at " + std::string(py::str(py::module_::import("builtins").attr("hex")(address))) +
               ">";
      });
  m.def("_record_function", record_function, py::arg("context"), py::arg("inputs"), py::arg("outputs"),
        "_record_function(context: object, inputs: list[Tensor], outputs: list[Tensor | None]) -> None");
  m.def("_number_of_name", number_of_name, py::arg("name"),
        "_number_of_name(name: str) -> int\n\nFor _show_as: the same number for the same name.");
  m.def(
      "_show_as", show_as, py::arg("result"), py::arg("name"),
      "_show_as(result: Tensor, name: int) -> None\n\nThe call that made the tensor is shown under this name.");
  m.def("_with_history", with_history, py::arg("tensor"), py::arg("node"), py::arg("output"),
        "_with_history(tensor: Tensor, node: Node, output: int) -> Tensor");
  m.def("is_anomaly_enabled", anomaly_mode,
        "is_anomaly_enabled() -> bool\n\nWhether NaN gradients are errors.");
  m.def("_set_anomaly_mode", set_anomaly_mode, py::arg("mode"),
        "_set_anomaly_mode(mode: bool) -> bool\n\nSets the mode, returns the previous one.");

  const auto type = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(tensor_type));
  static PyGetSetDef attribute = {
      "grad_fn",
      [](PyObject* self, void*) { return guarded([&] { return grad_fn(unwrap(self)).release().ptr(); }); },
      nullptr, "grad_fn: Node | None\n\nThe recorded call that made this tensor.", nullptr};
  type.attr("grad_fn") = py::reinterpret_steal<py::object>(PyDescr_NewGetSet(tensor_type, &attribute));
  static PyGetSetDef number = {
      "output_nr", [](PyObject* self, void*) { return PyLong_FromUnsignedLong(impl_of(self)->output); },
      nullptr, "output_nr: int\n\nWhich result of grad_fn this is.", nullptr};
  type.attr("output_nr") = py::reinterpret_steal<py::object>(PyDescr_NewGetSet(tensor_type, &number));
}

}  // namespace unspool::python
