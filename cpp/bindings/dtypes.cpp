// Promotion and questions about dtypes: result_type, promote_types, can_cast, is_floating_point …
#include "handle.h"

namespace unspool::python {
namespace {

Tensor operand(const char* op, const char* what, const py::object& o) {
  Tensor t;
  if (!operand_of(o.ptr(), t))
    fail(ErrorKind::Type, op, ": ", what, " must be a Tensor or a number, got ", short_repr(o.ptr()));
  return t;
}

DType result_type(const py::object& tensor1, const py::object& tensor2) {
  ResultType type;
  type.add(operand("result_type", "tensor1", tensor1));
  type.add(operand("result_type", "tensor2", tensor2));
  return type.get();
}

DType dtype_in(const char* op, const py::object& o) {
  if (is_tensor(o.ptr())) return impl_of(o.ptr())->dtype;
  DType d{};
  if (!dtype_of_object(o.ptr(), d))
    fail(ErrorKind::Type, op, ": must be a Tensor or a dtype, got ", short_repr(o.ptr()));
  return d;
}

DType tensor_dtype(const char* op, const py::object& o) {
  if (!is_tensor(o.ptr())) fail(ErrorKind::Type, op, ": input must be a Tensor, got ", short_repr(o.ptr()));
  return impl_of(o.ptr())->dtype;
}

bool is_signed(DType d) { return d != DType::UInt8 && d != DType::Bool; }

}  // namespace

void bind_dtypes(py::module_& m) {
  py::options options;
  options.disable_function_signatures();
  m.def(
      "result_type", result_type, py::arg("tensor1"), py::arg("tensor2"),
      "result_type(tensor1: Tensor | float, tensor2: Tensor | float) -> dtype\n\nThe dtype of arithmetic on "
      "both: tensors with dims count most, then 0-d tensors, then numbers; the lighter ones only lift the kind.");
  m.def(
      "promote_types",
      [](const py::object& a, const py::object& b) {
        return promote(dtype_in("promote_types: type1", a), dtype_in("promote_types: type2", b));
      },
      py::arg("type1"), py::arg("type2"),
      "promote_types(type1: dtype, type2: dtype) -> dtype\n\nThe smallest dtype that holds both.");
  m.def(
      "can_cast",
      [](const py::object& from, const py::object& to) {
        return info(dtype_in("can_cast: from_", from)).category <=
               info(dtype_in("can_cast: to", to)).category;
      },
      py::arg("from_"), py::arg("to"),
      "can_cast(from_: dtype, to: dtype) -> bool\n\nWhether in-place arithmetic may store from_ in to: no float "
      "in an integer, no number in a bool.");
  m.def(
      "is_floating_point",
      [](const py::object& t) { return is_floating(tensor_dtype("is_floating_point", t)); }, py::arg("input"),
      "is_floating_point(input: Tensor) -> bool\n\nWhether the dtype is a floating-point one.");
  m.def(
      "is_complex",
      [](const py::object& t) {
        tensor_dtype("is_complex", t);
        return false;
      },
      py::arg("input"), "is_complex(input: Tensor) -> bool\n\nFalse: there are no complex dtypes.");
  m.def(
      "is_signed", [](const py::object& t) { return is_signed(tensor_dtype("is_signed", t)); },
      py::arg("input"), "is_signed(input: Tensor) -> bool\n\nWhether the dtype has negative numbers.");
}

}  // namespace unspool::python
