// The signature of an op, read from its schema: the one place that knows parameter types.
//
//   Tensor, Tensor?, Tensor[]    a tensor, one or None, a sequence of them
//   Operand                      a tensor, or a number that becomes a 0-d one
//   Scalar, Scalar?              a number, kept as int, float or bool
//   int, int?, float, bool, DType?, Generator?
//   int[], int[]?, int[]*        a list of integers; `*`: or the integers themselves, spelt out
//   MemoryFormat?                what PyTorch calls so
//   {a,b}                        one of these strings, as its position
//   -> (Tensor a, Tensor b)      after the parameters: a named tuple; a plain one without names
//   -> Tensor[]                  after the parameters: the results are a tuple, of any length
//   Options                      dtype, device, requires_grad … of constructors
// A lone `*` makes what follows keyword-only.
#pragma once

#include <Python.h>

#include <string>
#include <vector>

#include "unspool/ops/op.h"

namespace unspool::python {

enum class Kind : std::uint8_t {
  Tensor,
  TensorList,
  Operand,  // or a number beside a tensor
  Value,    // or a number
  Scalar,
  Int,
  Float,
  Bool,
  DType,
  Generator,
  IntList,
  Choice,
  MemoryFormat,
  Ignored
};

struct Param {
  Kind kind;
  bool optional = false;  // None is taken
  bool variadic = false;  // int[]*
  bool keyword_only = false;
  bool has_default = false;
  std::string name;
  std::string default_text;
  PyObject* key = nullptr;  // the interned name
  Attr value;               // the default, of numbers and choices
  std::vector<std::string> choices;
};

struct Signature {
  const OpDef* op;
  std::string name;
  std::vector<Param> params;
  std::vector<std::string> results;  // names, where there are several; or empty texts
  std::uint32_t shown = 0;           // the name that grad_fn shows, of a composite; see graph.h
  bool list = false;                 // -> Tensor[]
  std::string stub(bool method, bool variadic, bool out) const;  // "add(input: Tensor, …) -> Tensor"
  bool has_variadic() const;
};

Signature parse_schema(const OpDef& op);

}  // namespace unspool::python
