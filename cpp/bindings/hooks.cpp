// Hooks of tensors and of recorded calls, retain_grad; and how a hook's callable is run and dropped.
#include "unspool/tape/hooks.h"

#include "graph.h"
#include "handle.h"

namespace unspool::python {
namespace {

py::object call(void* f, const py::object& a) { return py::handle(static_cast<PyObject*>(f))(a); }

Tensor replaced(const py::object& got, const Tensor& g, const char* what) {
  if (got.is_none()) return {};
  if (!is_tensor(got.ptr()))
    fail(ErrorKind::Type, what, ": a hook must return None or a Tensor, got ", short_repr(got.ptr()));
  const Tensor other = unwrap(got.ptr());
  if (!(other.shape() == g.shape()))
    fail(ErrorKind::Runtime, what, ": a hook has changed the size of value: from ", g.shape(), " to ",
         other.shape());
  if (other.dtype() != g.dtype())
    fail(ErrorKind::Runtime, what, ": a hook has changed the type of value: from ", name(g.dtype()), " to ",
         name(other.dtype()));
  return other;
}

Tensor run_gradient(void* f, const Tensor& g) { return replaced(call(f, py::cast(g)), g, "register_hook"); }

void run_accumulated(void* f, TensorImpl* leaf) {
  const py::object got = call(f, py::cast(Tensor::borrow(leaf)));
  if (!got.is_none())
    fail(ErrorKind::Runtime, "register_post_accumulate_grad_hook: a hook must return None, got ",
         short_repr(got.ptr()));
}

py::tuple tuple_of(const Tensor* g, int n) {
  py::tuple t(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) t[static_cast<std::size_t>(i)] = py::cast(g[i]);
  return t;
}

void take_over(const py::object& got, Tensor* g, int n, const char* what) {
  if (got.is_none()) return;
  const py::tuple all =
      is_tensor(got.ptr()) ? py::make_tuple(got) : py::tuple(py::reinterpret_borrow<py::object>(got));
  if (static_cast<int>(all.size()) != n)
    fail(ErrorKind::Runtime, what, ": a hook has returned an incorrect number of values (got ",
         static_cast<std::int64_t>(all.size()), ", but expected ", n, ")");
  for (int i = 0; i < n; ++i) {
    const py::object one = all[static_cast<std::size_t>(i)];
    if (one.is_none())
      g[i] = Tensor();
    else if (is_tensor(one.ptr()))
      g[i] = unwrap(one.ptr());
    else
      fail(ErrorKind::Type, what, ": a hook must return Tensors or None, got ", short_repr(one.ptr()));
  }
}

void run_before(void* f, Tensor* g, int n) { take_over(call(f, tuple_of(g, n)), g, n, "register_prehook"); }
void run_after(void* f, Tensor* gx, int n_in, const Tensor* g, int n_out) {
  const py::object got = py::handle(static_cast<PyObject*>(f))(tuple_of(gx, n_in), tuple_of(g, n_out));
  take_over(got, gx, n_in, "register_hook");
}

void run_freed(void* function) { py::handle(static_cast<PyObject*>(function)).attr("_free")(); }

struct Visited {
  std::unordered_set<const Storage*>& storages;
  std::vector<PyObject*> todo;
};

int visit(PyObject* o, void* arg) {
  auto& v = *static_cast<Visited*>(arg);
  if (is_tensor(o))
    v.storages.insert(impl_of(o)->storage);
  else if (Py_REFCNT(o) == 1 && PyObject_IS_GC(o))
    v.todo.push_back(o);
  return 0;
}

// The memory of tensors in a call's context and in what nobody else refers to.
void add_kept(void* owned, std::unordered_set<const Storage*>& all) {
  Visited v{all, {static_cast<PyObject*>(owned)}};
  while (!v.todo.empty()) {
    PyObject* o = v.todo.back();
    v.todo.pop_back();
    if (traverseproc traverse = Py_TYPE(o)->tp_traverse) traverse(o, visit, &v);
  }
}

void drop_callable(void* f) noexcept {
  if (!Py_IsInitialized()) return;
  PyGILState_STATE state = PyGILState_Ensure();
  Py_DECREF(static_cast<PyObject*>(f));
  PyGILState_Release(state);
}

// What registering returns.
struct RemovableHandle {
  Hooks* hooks;
  std::uint64_t id;
  RemovableHandle(Hooks* h, std::uint64_t i) : hooks(h), id(i) { hooks->refs.fetch_add(1); }
  RemovableHandle(const RemovableHandle& o) : RemovableHandle(o.hooks, o.id) {}
  RemovableHandle& operator=(const RemovableHandle&) = delete;
  ~RemovableHandle() { drop(hooks); }
};

void need_callable(const char* op, const py::object& hook) {
  if (!PyCallable_Check(hook.ptr()))
    fail(ErrorKind::Type, op, ": hook must be callable, got ", short_repr(hook.ptr()));
}

RemovableHandle add_to_node(Node* node, Hook::When when, std::uint32_t output, const py::object& hook) {
  const std::uint64_t id = add_hook(node->hooks, when, output, py::object(hook).release().ptr());
  const RemovableHandle handle(node->hooks, id);
  hook_calls.suspect(node, true);
  return handle;
}

RemovableHandle add_to_leaf(const Tensor& t, Hook::When when, const py::object& hook) {
  if (!t->hooks) count_leaf_hooks(1);
  const std::uint64_t id = add_hook(t->hooks, when, 0, py::object(hook).release().ptr());
  const RemovableHandle handle(t->hooks, id);
  hook_calls.suspect(t.get(), false);
  return handle;
}

void need_grad(const char* op, const Tensor& t) {
  if (!needs_grad(t))
    fail(ErrorKind::Runtime, op, ": cannot register a hook on a tensor that doesn't require gradient");
}

RemovableHandle register_hook(const Tensor& t, const py::object& hook) {
  need_callable("register_hook", hook);
  need_grad("register_hook", t);
  if (Node* node = history(t)) return add_to_node(node, Hook::Gradient, t->output, hook);
  return add_to_leaf(t, Hook::Gradient, hook);
}

RemovableHandle register_post_accumulate(const Tensor& t, const py::object& hook) {
  constexpr const char* kName = "register_post_accumulate_grad_hook";
  need_callable(kName, hook);
  need_grad(kName, t);
  if (history(t))
    fail(ErrorKind::Runtime, kName, ": post accumulate grad hooks cannot be registered on non-leaf tensors");
  return add_to_leaf(t, Hook::Accumulated, hook);
}

void retain_grad(const Tensor& t) {
  if (!needs_grad(t))
    fail(ErrorKind::Runtime, "retain_grad: can't retain_grad on Tensor that has requires_grad=False");
  retain_gradient(t);
}

}  // namespace

void bind_hooks(py::module_& m) {
  hook_calls.gradient = run_gradient;
  hook_calls.accumulated = run_accumulated;
  hook_calls.before = run_before;
  hook_calls.after = run_after;
  hook_calls.freed = run_freed;
  hook_calls.kept = add_kept;
  hook_calls.drop = drop_callable;
  install_cycles();
  py::options options;
  options.disable_function_signatures();
  py::class_<RemovableHandle>(m, "RemovableHandle",
                              "What registering a hook returns: takes the hook out again.")
      .def(
          "remove", [](const RemovableHandle& h) { remove_hook(h.hooks, h.id); },
          "remove(self) -> None\n\nTakes the hook out; a second call does nothing.")
      .def(
          "__enter__", [](const py::object& self) { return self; }, "__enter__(self) -> RemovableHandle")
      .def(
          "__exit__", [](const RemovableHandle& h, const py::args&) { remove_hook(h.hooks, h.id); },
          "__exit__(self, *args: object) -> None");

  const auto type = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(tensor_type));
  auto def = [&](const char* name, auto f, const char* doc, const auto&... extra) {
    type.attr(name) = py::cpp_function(f, py::name(name), py::is_method(type), py::doc(doc), extra...);
  };
  def("register_hook", register_hook,
      "register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle\n\nCalls hook with this "
      "tensor's gradient when backward has it whole; what it returns, if not None, replaces the gradient.",
      py::arg("hook"));
  def("register_post_accumulate_grad_hook", register_post_accumulate,
      "register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> RemovableHandle\n\nCalls hook "
      "with this leaf after its grad was added to.",
      py::arg("hook"));
  def("retain_grad", retain_grad,
      "retain_grad(self) -> None\n\nThis tensor keeps its gradient in grad, although it is no leaf.");
  static PyGetSetDef retains = {
      "retains_grad", [](PyObject* self, void*) { return PyBool_FromLong(impl_of(self)->retains_grad); },
      nullptr, "retains_grad: bool\n\nWhether this tensor is no leaf and keeps its gradient.", nullptr};
  type.attr("retains_grad") = py::reinterpret_steal<py::object>(PyDescr_NewGetSet(tensor_type, &retains));
}

// ---- grad_fn -----------------------------------------------------------------------------------------

namespace {

// after: of the call's own gradients; before: of those that come in.
py::object hook_call(const char* op, Node* node, Hook::When when, const py::object& hook) {
  need_callable(op, hook);
  if (!node) fail(ErrorKind::Runtime, op, ": of AccumulateGrad is not supported; hook the tensor");
  split(node);
  return py::cast(add_to_node(node, when, 0, hook));
}

}  // namespace

py::object GradFn::register_hook(const py::object& hook) const {
  return hook_call("register_hook", node, Hook::After, hook);
}
py::object GradFn::register_prehook(const py::object& hook) const {
  return hook_call("register_prehook", node, Hook::Before, hook);
}

}  // namespace unspool::python
