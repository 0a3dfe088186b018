// The Tensor type: life of a handle, its attributes, len, iteration and repr. The number protocol
// stands in numbers.cpp, indexing in indexing.cpp.
#include "handle.h"

#include <structmember.h>

#include <utility>
#include <vector>

#include "graph.h"
#include "unspool/ops/ops.h"
#include "unspool/tape/hooks.h"
#include "unspool/tape/node.h"

namespace unspool::python {

PyTypeObject* tensor_type = nullptr;

namespace {

// ---- Life -------------------------------------------------------------------------------------------------

// Dead handles of the exact type, linked through `dict`.
TensorObject* free_handles = nullptr;
int n_free_handles = 0;
constexpr int kMaxFreeHandles = 512;

// What a tensor keeps of a handle that died before it: its class and what was set on it.
struct Attributes {
  PyTypeObject* type;
  PyObject* dict;
};

void release_attributes(void* p) noexcept {
  auto* a = static_cast<Attributes*>(p);
  if (Py_IsInitialized()) {
    PyGILState_STATE state = PyGILState_Ensure();
    Py_XDECREF(a->dict);
    Py_DECREF(a->type);
    PyGILState_Release(state);
  }
  delete a;
}

PyObject* allocate_handle(PyTypeObject* type) {
  if (type != tensor_type) return type->tp_alloc(type, 0);
  TensorObject* self = free_handles;
  if (self) {
    free_handles = reinterpret_cast<TensorObject*>(self->dict);
    --n_free_handles;
    PyObject_Init(reinterpret_cast<PyObject*>(self), type);
  } else {
    self = PyObject_GC_New(TensorObject, type);
    if (!self) return nullptr;
  }
  self->impl = nullptr;
  self->dict = nullptr;
  self->weakrefs = nullptr;
  return reinterpret_cast<PyObject*>(self);
}

void dealloc(PyObject* o) {
  auto* self = reinterpret_cast<TensorObject*>(o);
  PyTypeObject* type = Py_TYPE(o);
  TensorImpl* suspicious = nullptr;  // its grad has a graph, which may hold it
  PyObject_GC_UnTrack(o);
  if (self->weakrefs) PyObject_ClearWeakRefs(o);
  if (TensorImpl* impl = self->impl) {
    impl->handle = nullptr;
    const bool custom = type != tensor_type || (self->dict && PyDict_GET_SIZE(self->dict) > 0);
    if (custom && impl->refs.load(std::memory_order_relaxed) > 1) {
      Py_INCREF(type);
      impl->attributes = new Attributes{type, std::exchange(self->dict, nullptr)};
    }
    self->impl = nullptr;
    suspicious =
        impl->grad && impl->grad->node && impl->refs.load(std::memory_order_relaxed) > 1 ? impl : nullptr;
    Tensor::steal(impl);
  }
  Py_CLEAR(self->dict);
  if (type == tensor_type && n_free_handles < kMaxFreeHandles) {
    self->dict = reinterpret_cast<PyObject*>(free_handles);
    free_handles = self;
    ++n_free_handles;
  } else {
    type->tp_free(o);
  }
  Py_DECREF(type);
  if (suspicious) hook_calls.suspect(suspicious, false);
}

int traverse(PyObject* o, visitproc visit, void* arg) {
  auto* self = reinterpret_cast<TensorObject*>(o);
  Py_VISIT(Py_TYPE(o));
  Py_VISIT(self->dict);
  return 0;
}
int clear(PyObject* o) {
  Py_CLEAR(reinterpret_cast<TensorObject*>(o)->dict);
  return 0;
}

// Handles without attributes cannot be part of a cycle, so the collector sees them only from
// their first attribute on.
int set_attribute(PyObject* o, PyObject* name, PyObject* value) {
  const int result = PyObject_GenericSetAttr(o, name, value);
  if (reinterpret_cast<TensorObject*>(o)->dict && !PyObject_GC_IsTracked(o)) PyObject_GC_Track(o);
  return result;
}

// Tensor(2, 3): uninitialised; Tensor(data): a float tensor of the data, as PyTorch's.
PyObject* new_tensor(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    if (kwargs && PyDict_GET_SIZE(kwargs) > 0) {
      const py::str names = py::str(py::list(py::reinterpret_borrow<py::dict>(kwargs)));
      fail(ErrorKind::Type, "Tensor: takes no keyword arguments, got ", std::string(names),
           "; use unspool.tensor(data, dtype=...)");
    }
    const Py_ssize_t n = PyTuple_GET_SIZE(args);
    bool sizes = true;
    for (Py_ssize_t i = 0; i < n; ++i) sizes &= PyLong_Check(PyTuple_GET_ITEM(args, i)) != 0;
    const py::object core = py::module_::import("unspool._core");
    py::object data;
    if (sizes) {
      const py::object shape = n ? py::reinterpret_borrow<py::object>(args) : py::object(py::make_tuple(0));
      data = core.attr("empty")(shape);
    } else if (n == 1 && !PyFloat_Check(PyTuple_GET_ITEM(args, 0))) {
      py::object value = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(args, 0));
      data = is_tensor(value.ptr()) ? value.attr("detach")()
                                    : core.attr("tensor")(value, py::handle(dtype_object(default_dtype())));
    } else {
      fail(ErrorKind::Type, "Tensor: takes sizes or one sequence, got ", short_repr(args));
    }
    if (type == tensor_type) return data.release().ptr();
    return wrap_as(type, alias(unwrap(data.ptr())));
  });
}

// ---- Attributes ------------------------------------------------------------------------------------------

PyObject* get_shape(PyObject* self, void*) { return size_object(impl_of(self)->shape); }
PyObject* get_dtype(PyObject* self, void*) { return Py_NewRef(dtype_object(impl_of(self)->dtype)); }
PyObject* get_device(PyObject*, void*) { return Py_NewRef(device_object()); }
PyObject* get_ndim(PyObject* self, void*) { return PyLong_FromLong(impl_of(self)->shape.ndim); }
PyObject* get_itemsize(PyObject* self, void*) { return PyLong_FromSize_t(item_size(impl_of(self)->dtype)); }
PyObject* get_nbytes(PyObject* self, void*) {
  const TensorImpl* t = impl_of(self);
  return PyLong_FromLongLong(t->numel * static_cast<std::int64_t>(item_size(t->dtype)));
}
PyObject* get_requires_grad(PyObject* self, void*) {
  return guarded([&] { return PyBool_FromLong(needs_grad(unwrap(self))); });
}
int set_requires_grad(PyObject* self, PyObject* value, void*) {
  PyObject* done = guarded([&]() -> PyObject* {
    TensorImpl* t = impl_of(self);
    if (!value || !PyBool_Check(value))
      fail(ErrorKind::Type, "requires_grad: must be a bool, got ", value ? short_repr(value) : "nothing");
    const bool on = value == Py_True;
    if (on && !is_floating(t->dtype))
      fail(ErrorKind::Runtime,
           "requires_grad: only Tensors of floating point dtype can require "
           "gradients, got dtype ",
           name(t->dtype));
    if (!on && !t->is_leaf())
      fail(ErrorKind::Runtime,
           "requires_grad: you can only change requires_grad flags of leaf "
           "variables; use detach() for a tensor without history");
    t->requires_grad = on;
    Py_RETURN_NONE;
  });
  Py_XDECREF(done);
  return done ? 0 : -1;
}
PyObject* get_is_leaf(PyObject* self, void*) {
  return guarded([&] { return PyBool_FromLong(history(unwrap(self)) == nullptr); });
}
PyObject* get_grad(PyObject* self, void*) {
  return guarded([&] {
    note_gradient(impl_of(self), true);
    return wrap(impl_of(self)->grad);
  });
}
int set_grad(PyObject* self, PyObject* value, void*) {
  PyObject* done = guarded([&]() -> PyObject* {
    TensorImpl* t = impl_of(self);
    note_gradient(t, false);
    if (!value || value == Py_None) {
      t->grad = Tensor();
      Py_RETURN_NONE;
    }
    if (!is_tensor(value))
      fail(ErrorKind::Type, "grad: assigned grad must be a Tensor or None, got ", short_repr(value));
    const Tensor g = unwrap(value);
    if (g.get() == t) fail(ErrorKind::Runtime, "grad: a tensor can't be its own grad");
    if (!(g.shape() == t->shape))
      fail(ErrorKind::Shape, "grad: assigned grad has shape ", g.shape(), ", the tensor has shape ",
           t->shape);
    if (g.dtype() != t->dtype)
      fail(ErrorKind::DType, "grad: assigned grad has dtype ", name(g.dtype()), ", the tensor has dtype ",
           name(t->dtype));
    t->grad = g;
    Py_RETURN_NONE;
  });
  Py_XDECREF(done);
  return done ? 0 : -1;
}
PyObject* get_data(PyObject* self, void*) {
  return guarded([&] { return wrap(alias_with_own_version(unwrap(self))); });
}
int set_data_attribute(PyObject* self, PyObject* value, void*) {
  PyObject* done = guarded([&]() -> PyObject* {
    if (!value || !is_tensor(value))
      fail(ErrorKind::Type, "data: must be a Tensor, got ", value ? short_repr(value) : "nothing");
    const Tensor t = unwrap(self), from = unwrap(value);
    if (t.requires_grad() && !is_floating(from.dtype()))
      fail(ErrorKind::DType, "data: a tensor that requires grad needs floating data, got ",
           name(from.dtype()));
    refuse_in_capture("data", "moves a tensor to other memory");
    set_data(t, from);
    Py_RETURN_NONE;
  });
  Py_XDECREF(done);
  return done ? 0 : -1;
}
PyObject* get_version(PyObject* self, void*) {
  return guarded([&] { return PyLong_FromUnsignedLong(version_of(unwrap(self))); });
}
PyObject* get_transposed(PyObject* self, void*) {
  return guarded([&] {
    const Tensor t = unwrap(self);
    Dims order;
    for (int d = t.ndim() - 1; d >= 0; --d) order.push(d);
    const Tensor y = t.ndim() == 2 ? transpose(t, 0, 1) : permute(t, order);
    static const std::uint32_t name = number_of_name("PermuteBackward0");
    show_as(y, name);
    return wrap(y);
  });
}
PyObject* get_matrix_transposed(PyObject* self, void*) {
  return guarded([&] {
    const Tensor t = unwrap(self);
    if (t.ndim() < 2)
      fail(ErrorKind::Runtime, "mT: only for tensors of 2 dimensions or more, got shape ", t.shape());
    return wrap(transpose(t, -2, -1));
  });
}
PyObject* get_base(PyObject* self, void*) {
  const TensorImpl* t = impl_of(self);
  if (!t->view) Py_RETURN_NONE;
  return wrap(t->view->base);
}
PyObject* get_false(PyObject*, void*) { Py_RETURN_FALSE; }
PyObject* get_priority(PyObject*, void*) { return PyFloat_FromDouble(1000.0); }

PyGetSetDef getset[] = {
    {"shape", get_shape, nullptr, "shape: Size\n\nThe sizes, one a dimension.", nullptr},
    {"dtype", get_dtype, nullptr, "dtype: dtype\n\nThe type of the elements.", nullptr},
    {"device", get_device, nullptr, "device: device\n\nAlways the CPU.", nullptr},
    {"ndim", get_ndim, nullptr, "ndim: int\n\nThe number of dimensions.", nullptr},
    {"itemsize", get_itemsize, nullptr, "itemsize: int\n\nBytes an element.", nullptr},
    {"nbytes", get_nbytes, nullptr, "nbytes: int\n\nBytes of all elements.", nullptr},
    {"requires_grad", get_requires_grad, set_requires_grad,
     "requires_grad: bool\n\nWhether gradients flow to this tensor. It can be set on leaves of "
     "floating dtype.",
     nullptr},
    {"is_leaf", get_is_leaf, nullptr, "is_leaf: bool\n\nWhether no recorded operation made this tensor.",
     nullptr},
    {"grad", get_grad, set_grad,
     "grad: Tensor | None\n\nThe accumulated gradient; the same object each time.", nullptr},
    {"data", get_data, set_data_attribute,
     "data: Tensor\n\nThe same memory without history and with a version counter of its own. "
     "Setting it makes this tensor show the other's memory.",
     nullptr},
    {"_version", get_version, nullptr, "_version: int\n\nCounts writes in place.", nullptr},
    {"_base", get_base, nullptr, "_base: Tensor | None\n\nThe tensor that this is a view of.", nullptr},
    {"T", get_transposed, nullptr, "T: Tensor\n\nA view with the dimensions reversed.", nullptr},
    {"mT", get_matrix_transposed, nullptr, "mT: Tensor\n\nA view with the last two dimensions exchanged.",
     nullptr},
    {"is_cuda", get_false, nullptr, "is_cuda: bool", nullptr},
    {"is_sparse", get_false, nullptr, "is_sparse: bool", nullptr},
    {"__array_priority__", get_priority, nullptr, "__array_priority__: float", nullptr},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(TensorObject, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TensorObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

// ---- Sequence and mapping --------------------------------------------------------------------------------

Py_ssize_t length(PyObject* self) {
  const TensorImpl* t = impl_of(self);
  if (t->shape.ndim == 0) {
    PyErr_SetString(PyExc_TypeError, "len: of a 0-d tensor");
    return -1;
  }
  return t->shape[0];
}

PyObject* iterate(PyObject* self) {
  return guarded([&]() -> PyObject* {
    const Tensor t = unwrap(self);
    if (t.ndim() == 0) fail(ErrorKind::Type, "iter: iteration over a 0-d tensor");
    py::list rows;
    for (std::int64_t i = 0; i < t.shape()[0]; ++i)
      rows.append(py::reinterpret_steal<py::object>(wrap(select(t, 0, i))));
    return PyObject_GetIter(rows.ptr());
  });
}

PyObject* repr(PyObject* self) {
  return guarded([&] {
    const py::object text = py::module_::import("unspool._tensor_str").attr("tensor_repr");
    return text(py::handle(self)).release().ptr();
  });
}

Py_hash_t hash(PyObject* self) {
  // The tensor, not the handle: a dict keyed by a parameter finds it under a new handle too.
  return static_cast<Py_hash_t>(reinterpret_cast<std::uintptr_t>(impl_of(self)) >> 6);
}

std::vector<PyType_Slot> type_slots() {
  std::vector<PyType_Slot> slots = {
      {Py_tp_dealloc, slot(dealloc)},
      {Py_tp_traverse, slot(traverse)},
      {Py_tp_clear, slot(clear)},
      {Py_tp_setattro, slot(set_attribute)},
      {Py_tp_new, slot(new_tensor)},
      {Py_tp_getset, getset},
      {Py_tp_members, members},
      {Py_tp_repr, slot(repr)},
      {Py_tp_hash, slot(hash)},
      {Py_tp_iter, slot(iterate)},
      {Py_mp_length, slot(length)},
      {Py_bf_getbuffer, slot(get_buffer)},
      {Py_bf_releasebuffer, slot(release_buffer)},
      {Py_mp_subscript, slot(subscript)},
      {Py_mp_ass_subscript, slot(assign_subscript)},
      {Py_tp_doc, const_cast<char*>("An n-dimensional array of one dtype that records what is done to it, so "
                                    "that backward() can differentiate it.")}};
  add_number_slots(slots);
  slots.push_back({0, nullptr});
  return slots;
}

}  // namespace

PyObject* wrap_as(PyTypeObject* type, const Tensor& t) {
  PyObject* o = allocate_handle(type);
  if (!o) return nullptr;
  auto* self = reinterpret_cast<TensorObject*>(o);
  self->impl = Tensor(t).take();
  t->handle = o;
  return o;
}

PyObject* wrap(const Tensor& t) {
  if (!t) Py_RETURN_NONE;
  if (t->handle) return Py_NewRef(static_cast<PyObject*>(t->handle));
  if (!t->attributes) return wrap_as(tensor_type, t);
  auto* kept = static_cast<Attributes*>(t->attributes);
  PyObject* o = wrap_as(kept->type, t);
  if (!o) return nullptr;
  auto* self = reinterpret_cast<TensorObject*>(o);
  self->dict = std::exchange(kept->dict, nullptr);
  t->attributes = nullptr;
  release_attributes(kept);
  if (self->dict && !PyObject_GC_IsTracked(o)) PyObject_GC_Track(o);
  return o;
}

void bind_handle(py::module_& m) {
  std::vector<PyType_Slot> slots = type_slots();
  PyType_Spec spec = {"unspool.Tensor", sizeof(TensorObject), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots.data()};
  PyObject* type = PyType_FromSpec(&spec);
  if (!type) throw py::error_already_set();
  tensor_type = reinterpret_cast<PyTypeObject*>(type);
  tensor_hooks.release_attributes = release_attributes;
  m.attr("Tensor") = py::handle(type);
}

}  // namespace unspool::python
