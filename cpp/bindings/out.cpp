// Everything that `out=` means stands here. Start reading at into().
#include "out.h"

#include "handle.h"
#include "unspool/ops/ops.h"
#include "unspool/tape/node.h"

namespace unspool::python {
namespace {

void refuse_gradients(const char* op, PyObject* o) {
  if (is_tensor(o)) {
    if (needs_grad(unwrap(o)))
      fail(ErrorKind::Runtime, op,
           ": functions with out=... arguments don't support automatic differentiation, but one of the arguments "
           "requires grad.");
  } else if (PyTuple_Check(o) || PyList_Check(o)) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i)
      refuse_gradients(op, PySequence_Fast_GET_ITEM(o, i));
  }
}

std::vector<Tensor> tensors_of(const char* op, const char* what, PyObject* o) {
  if (is_tensor(o)) return {unwrap(o)};
  std::vector<Tensor> list;
  bool good = PyTuple_Check(o) || PyList_Check(o);
  for (Py_ssize_t i = 0; good && i < PySequence_Fast_GET_SIZE(o); ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(o, i);
    good = is_tensor(item);
    if (good) list.push_back(unwrap(item));
  }
  if (!good || list.empty())
    fail(ErrorKind::Type, op, ": argument '", what, "' must be a Tensor or a tuple of them, got ",
         short_repr(o));
  return list;
}

// Everything that can be wrong with one target, before anything is written.
void check(const char* op, const Tensor& target, const Tensor& result) {
  if (info(result.dtype()).category > info(target.dtype()).category)
    fail(ErrorKind::DType, op, ": result type ", name(result.dtype()),
         " can't be cast to the desired output type ", name(target.dtype()));
  if (target->storage->readonly)
    fail(ErrorKind::Runtime, op, ": out shares memory with a read-only array");
  if (!(target.shape() == result.shape())) return;
  for (int d = 0; d < target.ndim() && target.numel(); ++d)
    if (target.strides()[d] == 0 && target.shape()[d] > 1)
      fail(ErrorKind::Runtime, op,
           ": unsupported operation: more than one element of the written-to tensor refers to a single memory "
           "location (out was expanded to shape ",
           target.shape(), "). Please clone() the tensor before performing the operation.");
}

bool holds_tensors(PyObject* o) {
  if (is_tensor(o)) return true;
  bool any = false;
  if (PyTuple_Check(o) || PyList_Check(o))
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) any |= is_tensor(PySequence_Fast_GET_ITEM(o, i));
  return any;
}

void fit(const char* op, const Tensor& target, const Shape& shape, bool warn) {
  if (target.shape() == shape) return;
  if (warn && target.numel() > 0) {
    const std::string text = std::string(op) +
                             ": An output with one or more elements was resized since it had shape " +
                             target.shape().str() + ", which does not match the required output shape " +
                             shape.str() +
                             ". This behavior is deprecated, and in a future PyTorch release outputs will not be "
                             "resized unless they have zero elements.";
    if (PyErr_WarnEx(PyExc_UserWarning, text.c_str(), 1) < 0) throw py::error_already_set();
  }
  resize(target, shape, op);
}

}  // namespace

PyObject* into(const char* op, PyObject* out, PyObject* const* arguments, Py_ssize_t n_arguments,
               const std::function<PyObject*()>& compute) {
  const std::vector<Tensor> targets = tensors_of(op, "out", out);
  if (grad_enabled()) {
    refuse_gradients(op, out);
    for (Py_ssize_t i = 0; i < n_arguments; ++i) refuse_gradients(op, arguments[i]);
  }
  GradMode off(false);
  const auto computed = py::reinterpret_steal<py::object>(compute());
  if (!computed) return nullptr;
  const std::vector<Tensor> results = tensors_of(op, "result", computed.ptr());
  if (targets.size() != results.size())
    fail(ErrorKind::Type, op, ": argument 'out' must hold ", static_cast<std::int64_t>(results.size()),
         " tensors, got ", static_cast<std::int64_t>(targets.size()));
  for (std::size_t i = 0; i < targets.size(); ++i) check(op, targets[i], results[i]);
  bool computed_from_tensors = false;  // constructors resize without a word
  for (Py_ssize_t i = 0; i < n_arguments; ++i) computed_from_tensors |= holds_tensors(arguments[i]);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    fit(op, targets[i], results[i].shape(), computed_from_tensors);
    copy_(targets[i], results[i]);
  }
  if (is_tensor(computed.ptr())) return Py_NewRef(out);
  const auto given = py::reinterpret_steal<py::object>(PySequence_Tuple(out));
  PyTypeObject* type = Py_TYPE(computed.ptr());
  if (!given || type == &PyTuple_Type) return given.inc_ref().ptr();
  return PyObject_CallOneArg(reinterpret_cast<PyObject*>(type), given.ptr());
}

void bind_out(py::module_& m) {
  py::options options;
  options.disable_function_signatures();
  m.def(
      "_into",
      [](const std::string& op, const py::function& f, const py::object& out, const py::tuple& args,
         const py::dict& kwargs) {
        py::list all(args);
        for (const auto& [key, value] : kwargs) all.append(value);
        return py::reinterpret_steal<py::object>(
            into(op.c_str(), out.ptr(), PySequence_Fast_ITEMS(all.ptr()), PyList_GET_SIZE(all.ptr()),
                 [&] { return PyObject_Call(f.ptr(), args.ptr(), kwargs.ptr()); }));
      },
      "_into(op: str, f: Callable[..., Any], out: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any\n\n"
      "f(*args, **kwargs), written into out as the functions of the core do.");
}

}  // namespace unspool::python
