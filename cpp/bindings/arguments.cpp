// From a Python object to what a parameter wants. bind() takes a whole call, convert() one argument of it.
#include "arguments.h"

#include "random.h"
#include "unspool/ops/ops.h"

namespace unspool::python {
namespace {

const char* kind_name(const Param& p) {
  switch (p.kind) {
    case Kind::Tensor:
      return "a Tensor";
    case Kind::TensorList:
      return "a sequence of Tensors";
    case Kind::Operand:
    case Kind::Value:
      return "a Tensor or a number";
    case Kind::Scalar:
    case Kind::Float:
      return "a number";
    case Kind::Int:
      return "an int";
    case Kind::Bool:
      return "a bool";
    case Kind::DType:
      return "a dtype";
    case Kind::Generator:
      return "a Generator";
    case Kind::IntList:
      return "a sequence of ints";
    case Kind::Choice:
      return "a str";
    case Kind::MemoryFormat:
      return "a memory_format";
    case Kind::Ignored:
      return "None";
  }
  return "";
}

// An integer that is no bool in disguise of a list, no float, and (where `strict`) no tensor.
bool int_of(PyObject* o, bool strict, std::int64_t& out) {
  if (PyLong_Check(o)) {
    out = PyLong_AsLongLong(o);
  } else {
    if (!PyIndex_Check(o)) return false;
    if (is_tensor(o) && (strict || impl_of(o)->numel != 1 || is_floating(impl_of(o)->dtype))) return false;
    PyObject* index = PyNumber_Index(o);
    if (!index) {
      PyErr_Clear();
      return false;
    }
    out = PyLong_AsLongLong(index);
    Py_DECREF(index);
  }
  if (out == -1 && PyErr_Occurred()) {
    PyErr_Format(PyExc_OverflowError, "an int must fit into int64, got %R", o);
    throw py::error_already_set();
  }
  return true;
}

bool is_sequence(PyObject* o) { return PyTuple_Check(o) || PyList_Check(o); }

bool int_list(PyObject* const* items, Py_ssize_t n, Dims& out) {
  out.ndim = 0;
  for (Py_ssize_t i = 0; i < n; ++i) {
    std::int64_t x = 0;
    if (!int_of(items[i], false, x)) return false;
    out.push(x);
  }
  return true;
}

// The __index__ of an item may run Python that changes the list: it is read anew each turn.
bool int_list(PyObject* sequence, Dims& out) {
  out.ndim = 0;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(sequence); ++i) {
    const auto item = py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(sequence, i));
    std::int64_t x = 0;
    if (!int_of(item.ptr(), false, x)) return false;
    out.push(x);
  }
  return true;
}

bool convert_list(PyObject* o, bool strict, Dims& out) {
  if (is_sequence(o)) return int_list(o, out);
  std::int64_t one = 0;
  if (int_of(o, strict, one)) {  // one dim stands for a list of one
    out = Dims{one};
    return true;
  }
  return false;
}

bool convert_tensors(const Param& p, PyObject* o, Bound& b, Complaint& complain) {
  if (!o || !is_sequence(o))
    return complain("argument '", p.name, "' must be a sequence of Tensors, got ", Shown{o});
  const Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
  b.listed = true;
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(o, i);
    if (!is_tensor(item))
      return complain("argument '", p.name, "' must be a sequence of Tensors, but element ",
                      static_cast<std::int64_t>(i), " is ", Shown{item});
    b.list.push_back(unwrap(item));
  }
  return true;
}

bool convert_choice(const Param& p, PyObject* o, Attr& out) {
  if (!PyUnicode_Check(o)) return false;
  const char* text = PyUnicode_AsUTF8(o);
  for (std::size_t i = 0; text && i < p.choices.size(); ++i)
    if (p.choices[i] == text) {
      out = Attr(static_cast<std::int64_t>(i));
      return true;
    }
  std::string names;
  for (const std::string& c : p.choices) names += (names.empty() ? "'" : ", '") + c + "'";
  fail(ErrorKind::Value, p.name, ": ", short_repr(o), " is not a valid value; it must be one of ", names);
}

// A null `o` stands for the default.
bool convert(const Param& p, PyObject* o, bool strict, Bound& b, Complaint& complain) {
  const bool none = !o || (o == Py_None && p.optional);
  Attr value;
  bool fits = true;
  switch (p.kind) {
    case Kind::Tensor:
      if (!none && !is_tensor(o)) break;
      b.inline_tensors[b.n_tensors++] = none ? Tensor() : unwrap(o);
      return true;
    case Kind::Operand:
    case Kind::Value:
      if (none || !operand_of(o, b.inline_tensors[b.n_tensors])) break;
      ++b.n_tensors;
      return true;
    case Kind::TensorList:
      return convert_tensors(p, o, b, complain);
    case Kind::IntList: {
      Dims& list = b.attrs.lists[b.attrs.n_lists];
      if (none)
        list = p.default_text == "()" ? Dims{} : no_list();
      else if (!convert_list(o, strict, list))
        break;
      ++b.attrs.n_lists;
      return true;
    }
    case Kind::MemoryFormat:
      value = Attr(static_cast<std::int64_t>(format_of_object(p.name.c_str(), o)));
      break;
    case Kind::Ignored:
      if (o && p.name == "device") check_device(o);
      if (o && o != Py_None && o != Py_False && p.name != "device" && p.name != "pin_memory")
        return complain("argument '", p.name, "' is not supported, got ", Shown{o});
      return true;
    case Kind::Scalar:
    case Kind::Float:
      fits = none || ((!is_tensor(o) || (!strict && !impl_of(o)->requires_grad)) && number_of(o, value));
      break;
    case Kind::Int: {
      std::int64_t x = 0;
      fits = none || int_of(o, strict, x);
      if (!none) value = Attr(x);
      break;
    }
    case Kind::Bool:
      fits = none || PyBool_Check(o);
      if (!none) value = Attr(o == Py_True);
      break;
    case Kind::DType: {
      DType d{};
      fits = none || dtype_of_object(o, d);
      if (!none) value = Attr(d);
      break;
    }
    case Kind::Generator:
      fits = none || is_generator(o);
      if (!none && fits) value = Attr(static_cast<void*>(&generator_of(o)));
      break;
    case Kind::Choice:
      fits = none || convert_choice(p, o, value);
      break;
  }
  const bool attribute =
      p.kind != Kind::Tensor && p.kind != Kind::Operand && p.kind != Kind::Value && p.kind != Kind::IntList;
  if (!attribute || !fits)
    return complain("argument '", p.name, "' must be ", kind_name(p), p.optional ? " or None" : "", ", got ",
                    Shown{o});
  b.attrs.v[b.attrs.n++] = none ? (o ? Attr() : p.value) : value;
  return true;
}

int find_keyword(const Signature& s, PyObject* key) {
  for (std::size_t i = 0; i < s.params.size(); ++i)
    if (s.params[i].key == key) return static_cast<int>(i);
  const char* text = PyUnicode_AsUTF8(key);
  if (!text) return -1;
  // NumPy's names, which PyTorch takes too.
  const std::string name = text == std::string("axis")       ? "dim"
                           : text == std::string("keepdims") ? "keepdim"
                                                             : text;
  for (std::size_t i = 0; i < s.params.size(); ++i)
    if (s.params[i].name == name) return static_cast<int>(i);
  return -1;
}

bool bind_values(const Signature& s, const Arguments& a, bool strict, Bound& b, Complaint& complain,
                 const Param*& current) {
  const int n_params = static_cast<int>(s.params.size());
  PyObject* value[kMaxParams] = {};
  int variadic = -1;
  Py_ssize_t at = 0;
  for (int i = 0; i < n_params && at < a.n; ++i) {
    const Param& p = s.params[i];
    current = &p;
    if (p.keyword_only) break;
    if (p.variadic && !is_sequence(a.v[at])) {
      variadic = i;
      if (!int_list(a.v + at, a.n - at, b.attrs.lists[b.attrs.n_lists])) {
        for (Py_ssize_t k = at; k < a.n; ++k) {
          std::int64_t unused = 0;
          if (!int_of(a.v[k], false, unused))
            return complain("argument '", p.name, "' must be a sequence of ints, got ", Shown{a.v[k]});
        }
      }
      at = a.n;
      break;
    }
    value[i] = a.v[at++];
  }
  if (at < a.n)
    return complain("takes ", static_cast<std::int64_t>(at), " positional arguments, got ",
                    static_cast<std::int64_t>(a.n), "; the first one too many is ", Shown{a.v[at]});
  const Py_ssize_t n_keywords = a.keywords ? PyTuple_GET_SIZE(a.keywords) : 0;
  for (Py_ssize_t k = 0; k < n_keywords; ++k) {
    PyObject* key = PyTuple_GET_ITEM(a.keywords, k);
    const int i = find_keyword(s, key);
    if (i < 0)
      return complain("got an unexpected keyword argument ", Shown{key}, " with value ", Shown{a.v[a.n + k]});
    if (value[i] || i == variadic)
      return complain("got multiple values for argument '", s.params[i].name, "'");
    value[i] = a.v[a.n + k];
  }
  for (int i = 0; i < n_params; ++i) {
    const Param& p = s.params[i];
    current = &p;
    if (i == variadic) {
      ++b.attrs.n_lists;
      continue;
    }
    if (!value[i] && !p.has_default) return complain("missing argument '", p.name, "' (", kind_name(p), ")");
    if (!convert(p, value[i], strict, b, complain)) return false;
  }
  if (n_params > 1 && s.params[0].kind == Kind::Operand && s.params[1].kind == Kind::Operand &&
      b.inline_tensors[0]->wrapped_number && b.inline_tensors[1]->wrapped_number)
    return complain("one argument must be a Tensor, got ", Shown{value[0]}, " and ", Shown{value[1]});
  return true;
}

}  // namespace

// An OverflowError of an argument gets the op's and the argument's names.
bool bind(const Signature& s, const Arguments& a, bool strict, Bound& b, Complaint& complain) {
  const Param* current = nullptr;
  try {
    return bind_values(s, a, strict, b, complain, current);
  } catch (py::error_already_set& e) {
    if (!e.matches(PyExc_OverflowError) || !current) throw;
    PyErr_Format(PyExc_OverflowError, "%s: argument '%s': %S", s.name.c_str(), current->name.c_str(),
                 e.value().ptr());
    throw py::error_already_set();
  }
}

}  // namespace unspool::python
