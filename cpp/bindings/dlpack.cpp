// DLPack (the array API's exchange protocol, version 1.0), both ways and without a copy. The structures below
// are those of its specification; a capsule's consumer calls the deleter once.
#include <cstring>

#include "handle.h"
#include "unspool/tape/node.h"

namespace unspool::python {
namespace {

struct DLDevice {
  std::int32_t type;
  std::int32_t id;
};
struct DLDataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
};
struct Managed {
  DLTensor tensor;
  void* context;
  void (*deleter)(Managed*);
};
struct ManagedVersioned {
  std::uint32_t major, minor;
  void* context;
  void (*deleter)(ManagedVersioned*);
  std::uint64_t flags;
  DLTensor tensor;
};
constexpr std::int32_t kCpu = 1;
constexpr std::uint64_t kReadOnly = 1;
constexpr std::uint8_t kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4, kBool = 6;

struct Code {
  DType dtype;
  std::uint8_t code;
};
constexpr Code kCodes[] = {{DType::Bool, kBool},     {DType::UInt8, kUInt},    {DType::Int32, kInt},
                           {DType::Int64, kInt},     {DType::Float16, kFloat}, {DType::BFloat16, kBfloat},
                           {DType::Float32, kFloat}, {DType::Float64, kFloat}};

// A capsule's own names for a structure, before and after it has been taken.
template <class M>
constexpr const char* kName = "dltensor";
template <>
constexpr const char* kName<ManagedVersioned> = "dltensor_versioned";
template <class M>
constexpr const char* kUsed = "used_dltensor";
template <>
constexpr const char* kUsed<ManagedVersioned> = "used_dltensor_versioned";

// ---- Out -----------------------------------------------------------------------------------------------

template <class M>
struct Export {
  M managed{};
  Tensor tensor;  // keeps the memory
  std::int64_t shape[kMaxDims];
  std::int64_t strides[kMaxDims];
};

template <class M>
void delete_export(M* m) {
  delete static_cast<Export<M>*>(m->context);
}

template <class M>
void delete_capsule(PyObject* capsule) {
  if (!PyCapsule_IsValid(capsule, kName<M>)) return;  // somebody took it
  auto* m = static_cast<M*>(PyCapsule_GetPointer(capsule, kName<M>));
  m->deleter(m);
}

template <class M>
py::object exported(const Tensor& t) {
  refuse_reading("__dlpack__");
  auto* e = new Export<M>;
  e->tensor = alias(t);
  for (int d = 0; d < t.ndim(); ++d) {
    e->shape[d] = t.shape()[d];
    e->strides[d] = t.shape()[d] < 2 ? 1 : t.strides()[d];
  }
  e->managed.context = e;
  e->managed.deleter = delete_export<M>;
  if constexpr (std::is_same_v<M, ManagedVersioned>) {
    e->managed.major = 1;
    e->managed.minor = 0;
    e->managed.flags = t->storage->readonly ? kReadOnly : 0;
  }
  std::uint8_t code = 0;
  for (const Code& c : kCodes)
    if (c.dtype == t.dtype()) code = c.code;
  e->managed.tensor = {
      t->data,  {kCpu, 0},  t.ndim(), {code, static_cast<std::uint8_t>(8 * item_size(t.dtype())), 1},
      e->shape, e->strides, 0};
  PyObject* capsule = PyCapsule_New(&e->managed, kName<M>, delete_capsule<M>);
  if (!capsule) {
    delete e;
    throw py::error_already_set();
  }
  return py::reinterpret_steal<py::object>(capsule);
}

py::object to_dlpack(const Tensor& t, bool versioned) {
  if (needs_grad(t))
    fail(ErrorKind::Value, "__dlpack__: Can't export tensors that require gradient, use tensor.detach()");
  if (t->storage->readonly && !versioned)
    fail(ErrorKind::Value,
         "__dlpack__: the tensor's memory is read-only, which only DLPack 1.0 can tell; ask for ",
         "max_version=(1, 0), or clone() it");
  return versioned ? exported<ManagedVersioned>(t) : exported<Managed>(t);
}

// ---- In ------------------------------------------------------------------------------------------------

template <class M>
Tensor imported(PyObject* capsule) {
  auto* m = static_cast<M*>(PyCapsule_GetPointer(capsule, kName<M>));
  if (!m) throw py::error_already_set();
  bool readonly = false;
  if constexpr (std::is_same_v<M, ManagedVersioned>) {
    if (m->major > 1) fail(ErrorKind::Runtime, "from_dlpack: version ", m->major, " is not supported");
    readonly = (m->flags & kReadOnly) != 0;
  }
  const DLTensor& d = m->tensor;
  if (d.device.type != kCpu)
    fail(ErrorKind::Runtime, "from_dlpack: only memory of the CPU is supported, got device type ",
         d.device.type);
  if (d.ndim < 0 || d.ndim > kMaxDims)
    fail(ErrorKind::Runtime, "from_dlpack: at most ", kMaxDims, " dims are supported, got ", d.ndim);
  const Code* found = nullptr;
  for (const Code& c : kCodes)
    if (c.code == d.dtype.code && d.dtype.lanes == 1 && item_size(c.dtype) * 8 == d.dtype.bits) found = &c;
  if (!found)
    fail(ErrorKind::Runtime, "from_dlpack: no dtype for code ", static_cast<int>(d.dtype.code), " with ",
         static_cast<int>(d.dtype.bits), " bits and ", static_cast<int>(d.dtype.lanes), " lanes");
  Shape shape;
  for (int i = 0; i < d.ndim; ++i) shape.push(d.shape[i]);
  Strides strides = contiguous_strides(shape);
  std::int64_t last = 0;
  const std::int64_t n = numel_of(shape, "from_dlpack");
  for (int i = 0; i < d.ndim; ++i) {
    if (d.strides) strides[i] = d.strides[i];
    if (strides[i] < 0 && shape[i] > 1)
      fail(ErrorKind::Value, "from_dlpack: negative strides are not supported, got ", strides);
    last += shape[i] ? (shape[i] - 1) * strides[i] : 0;
  }
  const auto item = static_cast<std::int64_t>(item_size(found->dtype));
  auto release = [](void* owner) {
    auto* own = static_cast<M*>(owner);
    if (own->deleter) own->deleter(own);
  };
  Tensor t = from_memory(static_cast<char*>(d.data) + d.byte_offset, n ? (last + 1) * item : 0, shape,
                         strides, found->dtype, readonly, release, m);
  PyCapsule_SetName(capsule, kUsed<M>);
  return t;
}

Tensor from_dlpack(const py::object& capsule) {
  PyObject* o = capsule.ptr();
  if (PyCapsule_IsValid(o, kName<ManagedVersioned>)) return imported<ManagedVersioned>(o);
  if (PyCapsule_IsValid(o, kName<Managed>)) return imported<Managed>(o);
  fail(ErrorKind::Runtime, "from_dlpack: expected a DLPack capsule that was not taken yet, got ",
       short_repr(o));
}

}  // namespace

void bind_dlpack(py::module_& m) {
  py::options options;
  options.disable_function_signatures();
  m.def("_to_dlpack", to_dlpack, py::arg("tensor"), py::arg("versioned"),
        "_to_dlpack(tensor: Tensor, versioned: bool) -> Any");
  m.def("_from_dlpack", from_dlpack, py::arg("capsule"), "_from_dlpack(capsule: object) -> Tensor");
}

}  // namespace unspool::python
