// The small value types: dtype, Size, device. Their reprs are PyTorch's, so that programs print
// the same.
#include <cstring>

#include "handle.h"

namespace unspool::python {
namespace {

// ---- dtype -------------------------------------------------------------------------------------------

struct DTypeObject {
  PyObject_HEAD DType value;
};

PyTypeObject* dtype_type = nullptr;
PyObject* dtype_objects[kNumDTypes];
PyTypeObject* size_type = nullptr;
PyTypeObject* device_type = nullptr;
PyObject* cpu = nullptr;

DType value_of(PyObject* o) { return reinterpret_cast<DTypeObject*>(o)->value; }

PyObject* dtype_repr(PyObject* self) { return PyUnicode_FromFormat("torch.%s", name(value_of(self))); }
// A name: pickle finds the object as a global of unspool.
PyObject* dtype_reduce(PyObject* self, PyObject*) { return PyUnicode_FromString(name(value_of(self))); }
PyObject* dtype_copy(PyObject* self, PyObject*) { return Py_NewRef(self); }
PyObject* dtype_is_floating(PyObject* self, void*) { return PyBool_FromLong(is_floating(value_of(self))); }
PyObject* dtype_is_complex(PyObject*, void*) { Py_RETURN_FALSE; }
PyObject* dtype_is_signed(PyObject* self, void*) {
  return PyBool_FromLong(value_of(self) != DType::UInt8 && value_of(self) != DType::Bool);
}
PyObject* dtype_itemsize(PyObject* self, void*) { return PyLong_FromSize_t(item_size(value_of(self))); }

PyMethodDef dtype_methods[] = {
    {"__reduce__", dtype_reduce, METH_NOARGS, "__reduce__(self) -> str"},
    {"__copy__", dtype_copy, METH_NOARGS, "__copy__(self) -> dtype"},
    {"__deepcopy__", dtype_copy, METH_O, "__deepcopy__(self, memo: object) -> dtype"},
    {nullptr, nullptr, 0, nullptr}};
PyGetSetDef dtype_getset[] = {
    {"is_floating_point", dtype_is_floating, nullptr, "is_floating_point: bool", nullptr},
    {"is_complex", dtype_is_complex, nullptr, "is_complex: bool", nullptr},
    {"is_signed", dtype_is_signed, nullptr, "is_signed: bool", nullptr},
    {"itemsize", dtype_itemsize, nullptr, "itemsize: int\n\nBytes an element.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyType_Slot dtype_slots[] = {{Py_tp_repr, reinterpret_cast<void*>(dtype_repr)},
                             {Py_tp_methods, dtype_methods},
                             {Py_tp_getset, dtype_getset},
                             {Py_tp_doc, const_cast<char*>("The type of a tensor's elements.")},
                             {0, nullptr}};
PyType_Spec dtype_spec = {"unspool.dtype", sizeof(DTypeObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, dtype_slots};

// ---- Size ----------------------------------------------------------------------------------------------

PyObject* size_repr(PyObject* self) {
  return guarded([&] {
    const py::list items = py::reinterpret_borrow<py::tuple>(self);
    return py::str("torch.Size(" + std::string(py::repr(items)) + ")").release().ptr();
  });
}
PyObject* as_size(PyObject* tuple) {
  if (!tuple || !PyTuple_CheckExact(tuple)) return tuple;
  PyObject* args = PyTuple_Pack(1, tuple);
  Py_DECREF(tuple);
  if (!args) return nullptr;
  PyObject* size = PyTuple_Type.tp_new(size_type, args, nullptr);
  Py_DECREF(args);
  return size;
}
// Size(iterable): of ints, or of what can be an index, such as an integer tensor.
PyObject* size_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  PyObject* self = PyTuple_Type.tp_new(type, args, kwargs);
  for (Py_ssize_t i = 0; self && i < PyTuple_GET_SIZE(self); ++i) {
    PyObject* item = PyTuple_GET_ITEM(self, i);
    if (PyLong_Check(item)) continue;
    PyObject* index = PyIndex_Check(item) ? PyNumber_Index(item) : nullptr;
    if (!index) {
      PyErr_Format(PyExc_TypeError, "Size: takes an iterable of ints, but item %zd is %s", i,
                   short_repr(item).c_str());
      Py_CLEAR(self);
      break;
    }
    PyTuple_SET_ITEM(self, i, index);
    Py_DECREF(item);
  }
  return self;
}
PyObject* size_numel(PyObject* self, PyObject*) {
  return guarded([&] {
    py::object n = py::int_(1);  // Python's, which does not overflow
    for (const py::handle h : py::reinterpret_borrow<py::tuple>(self)) n = n * h;
    return n.release().ptr();
  });
}
PyObject* size_subscript(PyObject* self, PyObject* key) {
  return as_size(PyTuple_Type.tp_as_mapping->mp_subscript(self, key));
}
// A number slot, so that (1,) + size is a Size too.
PyObject* size_add(PyObject* a, PyObject* b) {
  if (!PyTuple_Check(a) || !PyTuple_Check(b)) Py_RETURN_NOTIMPLEMENTED;
  PyObject* joined = PyTuple_Type.tp_as_sequence->sq_concat(a, b);
  if (!joined) return nullptr;
  PyObject* args = PyTuple_Pack(1, joined);
  Py_DECREF(joined);
  PyObject* size = args ? size_new(size_type, args, nullptr) : nullptr;
  Py_XDECREF(args);
  return size;
}
PyObject* size_repeat(PyObject* self, Py_ssize_t n) {
  return as_size(PyTuple_Type.tp_as_sequence->sq_repeat(self, n));
}

PyMethodDef size_methods[] = {
    {"numel", size_numel, METH_NOARGS, "numel(self) -> int\n\nThe product of the sizes."},
    {nullptr, nullptr, 0, nullptr}};
PyType_Slot size_slots[] = {{Py_tp_repr, reinterpret_cast<void*>(size_repr)},
                            {Py_tp_methods, size_methods},
                            {Py_mp_subscript, reinterpret_cast<void*>(size_subscript)},
                            {Py_tp_new, reinterpret_cast<void*>(size_new)},
                            {Py_nb_add, reinterpret_cast<void*>(size_add)},
                            {Py_sq_repeat, reinterpret_cast<void*>(size_repeat)},
                            {Py_tp_doc, const_cast<char*>("A tensor's shape: a tuple of sizes.")},
                            {0, nullptr}};
PyType_Spec size_spec = {"unspool.Size", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, size_slots};

// ---- device ----------------------------------------------------------------------------------------------

struct DeviceObject {
  PyObject_HEAD
};

bool names_cpu(PyObject* o) {
  if (Py_TYPE(o) == device_type) return true;
  if (!PyUnicode_Check(o)) return false;
  const char* text = PyUnicode_AsUTF8(o);
  return text && (!std::strcmp(text, "cpu") || !std::strcmp(text, "cpu:0"));
}

PyObject* device_new(PyTypeObject*, PyObject* args, PyObject* kwargs) {
  PyObject* which = nullptr;
  int index = 0;
  static const char* names[] = {"type", "index", nullptr};
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|i", const_cast<char**>(names), &which, &index))
    return nullptr;
  return guarded([&] {
    check_device(which);
    return Py_NewRef(cpu);
  });
}
PyObject* device_repr(PyObject*) { return PyUnicode_FromString("device(type='cpu')"); }
PyObject* device_str(PyObject*) { return PyUnicode_FromString("cpu"); }
PyObject* device_get_type(PyObject*, void*) { return PyUnicode_FromString("cpu"); }
PyObject* device_get_index(PyObject*, void*) { Py_RETURN_NONE; }
PyObject* device_compare(PyObject* a, PyObject* b, int how) {
  if (how != Py_EQ && how != Py_NE) Py_RETURN_NOTIMPLEMENTED;
  return PyBool_FromLong((Py_TYPE(a) == Py_TYPE(b)) == (how == Py_EQ));
}
Py_hash_t device_hash(PyObject*) { return 7; }
PyObject* device_reduce(PyObject* self, PyObject*) {
  return guarded([&] {
    return py::make_tuple(py::handle(reinterpret_cast<PyObject*>(Py_TYPE(self))), py::make_tuple("cpu"))
        .release()
        .ptr();
  });
}
PyMethodDef device_methods[] = {
    {"__reduce__", device_reduce, METH_NOARGS, "__reduce__(self) -> tuple[object, ...]"},
    {nullptr, nullptr, 0, nullptr}};
PyGetSetDef device_getset[] = {{"type", device_get_type, nullptr, "type: str", nullptr},
                               {"index", device_get_index, nullptr, "index: int | None", nullptr},
                               {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyType_Slot device_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(device_new)},
    {Py_tp_repr, reinterpret_cast<void*>(device_repr)},
    {Py_tp_str, reinterpret_cast<void*>(device_str)},
    {Py_tp_richcompare, reinterpret_cast<void*>(device_compare)},
    {Py_tp_hash, reinterpret_cast<void*>(device_hash)},
    {Py_tp_methods, device_methods},
    {Py_tp_getset, device_getset},
    {Py_tp_doc,
     const_cast<char*>("device(type: object, index: int = 0) -> device\n\nWhere tensors live: the CPU.")},
    {0, nullptr}};
PyType_Spec device_spec = {"unspool.device", sizeof(DeviceObject), 0, Py_TPFLAGS_DEFAULT, device_slots};

// ---- memory_format -------------------------------------------------------------------------------------

constexpr const char* kFormats[] = {"contiguous_format", "preserve_format", "channels_last",
                                    "channels_last_3d"};
constexpr MemoryFormat kFormat[] = {MemoryFormat::RowMajor, MemoryFormat::Preserve,
                                    MemoryFormat::ChannelsLast, MemoryFormat::ChannelsLast3d};

struct FormatObject {
  PyObject_HEAD int which;
};
PyTypeObject* format_type = nullptr;

int which_format(PyObject* o) { return reinterpret_cast<FormatObject*>(o)->which; }
PyObject* format_repr(PyObject* self) {
  return PyUnicode_FromFormat("torch.%s", kFormats[which_format(self)]);
}
PyObject* format_reduce(PyObject* self, PyObject*) {
  return PyUnicode_FromString(kFormats[which_format(self)]);
}
PyMethodDef format_methods[] = {{"__reduce__", format_reduce, METH_NOARGS, "__reduce__(self) -> str"},
                                {nullptr, nullptr, 0, nullptr}};
PyType_Slot format_slots[] = {{Py_tp_repr, reinterpret_cast<void*>(format_repr)},
                              {Py_tp_methods, format_methods},
                              {Py_tp_doc, const_cast<char*>("An order of elements in memory.")},
                              {0, nullptr}};
PyType_Spec format_spec = {"unspool._core.memory_format", sizeof(FormatObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, format_slots};

PyTypeObject* make(PyType_Spec* spec, PyObject* bases = nullptr) {
  PyObject* type = PyType_FromSpecWithBases(spec, bases);
  if (!type) throw py::error_already_set();
  return reinterpret_cast<PyTypeObject*>(type);
}

}  // namespace

PyObject* dtype_object(DType d) { return dtype_objects[static_cast<int>(d)]; }

bool dtype_of_object(PyObject* o, DType& out) {
  if (Py_TYPE(o) == dtype_type) {
    out = value_of(o);
    return true;
  }
  // Python's own types, as in x.to(float).
  if (o == reinterpret_cast<PyObject*>(&PyFloat_Type)) return out = DType::Float64, true;
  if (o == reinterpret_cast<PyObject*>(&PyLong_Type)) return out = DType::Int64, true;
  if (o == reinterpret_cast<PyObject*>(&PyBool_Type)) return out = DType::Bool, true;
  return false;
}

PyObject* size_object(const Shape& s) {
  PyObject* tuple = PyTuple_New(s.ndim);
  if (!tuple) return nullptr;
  for (int d = 0; d < s.ndim; ++d) PyTuple_SET_ITEM(tuple, d, PyLong_FromLongLong(s[d]));
  return as_size(tuple);
}

PyObject* device_object() { return cpu; }

void check_device(PyObject* o) {
  if (o && o != Py_None && !names_cpu(o))
    fail(ErrorKind::Runtime, "device: unspool computes on the CPU only, got ", short_repr(o));
}

MemoryFormat format_of_object(const char* op, PyObject* o) {
  if (!o || o == Py_None) return MemoryFormat::Preserve;
  if (Py_TYPE(o) != format_type)
    fail(ErrorKind::Type, op, ": memory_format must be a memory_format, got ", short_repr(o));
  return kFormat[which_format(o)];
}

void bind_types(py::module_& m) {
  dtype_type = make(&dtype_spec);
  m.attr("dtype") = py::handle(reinterpret_cast<PyObject*>(dtype_type));
  for (int i = 0; i < kNumDTypes; ++i) {
    auto* object = PyObject_New(DTypeObject, dtype_type);
    if (!object) throw py::error_already_set();
    object->value = static_cast<DType>(i);
    dtype_objects[i] = reinterpret_cast<PyObject*>(object);
    m.attr(kDTypes[i].name) = py::handle(dtype_objects[i]);
  }
  format_type = make(&format_spec);
  m.attr("memory_format") = py::handle(reinterpret_cast<PyObject*>(format_type));
  for (int i = 0; i < static_cast<int>(std::size(kFormats)); ++i) {
    auto* object = PyObject_New(FormatObject, format_type);
    if (!object) throw py::error_already_set();
    object->which = i;
    m.attr(kFormats[i]) = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(object));
  }
  const py::object bases = py::make_tuple(py::handle(reinterpret_cast<PyObject*>(&PyTuple_Type)));
  size_type = make(&size_spec, bases.ptr());
  m.attr("Size") = py::handle(reinterpret_cast<PyObject*>(size_type));
  device_type = make(&device_spec);
  m.attr("device") = py::handle(reinterpret_cast<PyObject*>(device_type));
  cpu = reinterpret_cast<PyObject*>(PyObject_New(DeviceObject, device_type));
  if (!cpu) throw py::error_already_set();
}

}  // namespace unspool::python
