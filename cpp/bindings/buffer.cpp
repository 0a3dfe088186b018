// The buffer protocol: memoryview(t), bytes(t), struct and the like read (and write) the tensor's memory.
#include "handle.h"
#include "unspool/tape/node.h"

namespace unspool::python {
namespace {

struct Shown {  // lives as long as the buffer
  Tensor tensor;
  Py_ssize_t shape[kMaxDims];
  Py_ssize_t strides[kMaxDims];
};

const char* format_of(DType d) {  // null where the protocol has no letter
  switch (d) {
    case DType::Bool:
      return "?";
    case DType::UInt8:
      return "B";
    case DType::Int32:
      return "i";
    case DType::Int64:
      return "l";
    case DType::Float16:
      return "e";
    case DType::BFloat16:
      return nullptr;
    case DType::Float32:
      return "f";
    case DType::Float64:
      return "d";
  }
  return nullptr;
}

void refuse(Py_buffer* view, const char* why) {
  view->obj = nullptr;
  PyErr_SetString(PyExc_BufferError, why);
}

}  // namespace

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  if (!view) {
    PyErr_SetString(PyExc_BufferError, "buffer: no view to fill");
    return -1;
  }
  const Tensor t = unwrap(self);
  if (t->requires_grad) {
    refuse(view, "buffer: Can't get the buffer of a Tensor that requires grad. Use tensor.detach()");
    return -1;
  }
  if (!format_of(t.dtype())) {
    refuse(view, "buffer: the buffer protocol has no format for bfloat16; convert with .float()");
    return -1;
  }
  if ((flags & PyBUF_WRITABLE) && t->storage->readonly) {
    refuse(view, "buffer: the tensor shares memory with a read-only array");
    return -1;
  }
  if (!(flags & PyBUF_STRIDES) || (flags & PyBUF_C_CONTIGUOUS) == PyBUF_C_CONTIGUOUS) {
    if (!t.contiguous()) {
      refuse(view, "buffer: the tensor is not contiguous; use contiguous()");
      return -1;
    }
  }
  if (capturing && !goes_on_eagerly("buffer", "reads a tensor's value")) {
    refuse(view, "buffer: reads a tensor's value while the function is being frozen");
    return -1;
  }
  auto* shown = new Shown;
  shown->tensor = alias(t);  // so that set_ or .data of the tensor does not free the memory
  const auto item = static_cast<Py_ssize_t>(item_size(t.dtype()));
  for (int d = 0; d < t.ndim(); ++d) {
    shown->shape[d] = t.shape()[d];
    shown->strides[d] = t.strides()[d] * item;
  }
  view->obj = Py_NewRef(self);
  view->buf = t->data;
  view->len = t.numel() * item;
  view->itemsize = item;
  view->readonly = t->storage->readonly;
  view->format = (flags & PyBUF_FORMAT) ? const_cast<char*>(format_of(t.dtype())) : nullptr;
  view->ndim = (flags & PyBUF_ND) ? t.ndim() : 1;
  view->shape = (flags & PyBUF_ND) ? shown->shape : nullptr;
  view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? shown->strides : nullptr;
  view->suboffsets = nullptr;
  view->internal = shown;
  return 0;
}

void release_buffer(PyObject*, Py_buffer* view) { delete static_cast<Shown*>(view->internal); }

}  // namespace unspool::python
