// The ops in Python: a loop over the op table makes functions and methods. Start reading at invoke(); the
// argument parser that serves them all stands in arguments.cpp.
#include "ops.h"

#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

#include "arguments.h"
#include "graph.h"
#include "out.h"
#include "return_types.h"
#include "unspool/ops/ops.h"

namespace unspool::python {

// All overloads of one public name.
struct Entry {
  std::string name;
  std::string doc;
  std::vector<Signature> overloads;
  bool inplace = false;
  PyMethodDef def{};
  bool takes_out = false;               // out=: results that are no views
  PyTypeObject* result_type = nullptr;  // of several results that have names
};

namespace {

std::deque<Entry> entries;  // their addresses are kept
std::unordered_map<std::string, Entry*> functions, inplace_methods, methods;

// ---- Calls -----------------------------------------------------------------------------------------------

[[noreturn, gnu::cold]] void refuse(const Entry& e, const Arguments& a) {
  std::string text = e.name + ": ";
  for (const Signature& s : e.overloads) {
    Bound b;
    Complaint complaint{.text = {}, .wanted = true};
    bind(s, a, e.overloads.size() > 1, b, complaint);
    if (e.overloads.size() > 1) text += "\n  " + e.name + s.stub(false, false, e.takes_out) + ": ";
    text += complaint.text;
  }
  fail(ErrorKind::Type, text);
}

PyObject* results(const Entry& e, Call& c) {
  if (c.n_out == 1) return wrap(c.out[0]);
  PyObject* tuple = e.result_type ? PyStructSequence_New(e.result_type) : PyTuple_New(c.n_out);
  if (!tuple) return nullptr;
  for (int i = 0; i < c.n_out; ++i) {
    PyObject* item = wrap(c.out[i]);
    if (!item) {
      Py_DECREF(tuple);
      return nullptr;
    }
    PyTuple_SET_ITEM(tuple, i, item);  // a named tuple is a tuple
  }
  return tuple;
}

PyObject* listed(const Vector<Tensor>& list) {
  PyObject* tuple = PyTuple_New(static_cast<Py_ssize_t>(list.size()));
  if (!tuple) return nullptr;
  for (std::size_t i = 0; i < list.size(); ++i) {
    PyObject* item = wrap(list[i]);
    if (!item) {
      Py_DECREF(tuple);
      return nullptr;
    }
    PyTuple_SET_ITEM(tuple, static_cast<Py_ssize_t>(i), item);
  }
  return tuple;
}

PyObject* invoke(const Entry& e, const Arguments& a) {
  const bool strict = e.overloads.size() > 1;
  Complaint silent;
  for (const Signature& s : e.overloads) {
    Bound b;
    if (!bind(s, a, strict, b, silent)) continue;
    if (e.inplace) {
      call_inplace(*s.op, b.tensors(), b.attrs);
      return Py_NewRef(a.v[0]);
    }
    Call c(*s.op);
    if (s.list) [[unlikely]] {
      Vector<Tensor> list;
      c.list = &list;
      call(c, b.tensors(), b.attrs);
      if (s.shown)
        for (const Tensor& t : list) show_as(t, s.shown);
      return c.out[0] ? wrap(c.out[0]) : listed(list);
    }
    call(c, b.tensors(), b.attrs);
    if (s.shown == kShownAsProduct)
      show_as_product(c.out[0], b.tensors()[0], b.tensors()[1]);
    else if (s.shown)
      for (int i = 0; i < c.n_out; ++i) show_as(c.out[i], s.shown);
    return results(e, c);
  }
  refuse(e, a);
}

// ---- out= ------------------------------------------------------------------------------------------------

PyObject* keyword_out() {
  static PyObject* const key = PyUnicode_InternFromString("out");
  return key;
}

Py_ssize_t find_out(PyObject* keywords) {
  for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(keywords); ++k)
    if (PyTuple_GET_ITEM(keywords, k) == keyword_out()) return k;
  return -1;
}

// An op with a dtype= computes in the dtype of its target, which must be the one asked for.
void match_dtype(const Entry& e, PyObject* out, std::vector<PyObject*>& values, py::list& names) {
  if (!is_tensor(out)) return;
  bool has = false;
  for (const Signature& s : e.overloads)
    for (const Param& p : s.params) has |= p.kind == Kind::DType;
  if (!has) return;
  PyObject* const wanted = dtype_object(impl_of(out)->dtype);
  const std::size_t first = values.size() - names.size();
  for (std::size_t k = 0; k < names.size(); ++k) {
    if (names[k].cast<std::string>() != "dtype" || values[first + k] == Py_None) continue;
    DType d{};
    if (dtype_of_object(values[first + k], d) && d != impl_of(out)->dtype)
      fail(ErrorKind::DType, e.name, ": dtype ", name(d), " does not match dtype of out parameter (",
           name(impl_of(out)->dtype), ")");
    return;
  }
  values.push_back(wanted);
  names.append("dtype");
}

PyObject* invoke_into(const Entry& e, const Arguments& a, Py_ssize_t at) {
  std::vector<PyObject*> values(a.v, a.v + a.n + PyTuple_GET_SIZE(a.keywords));
  values.erase(values.begin() + a.n + at);
  py::list names(py::reinterpret_borrow<py::object>(a.keywords));
  names.attr("pop")(at);
  PyObject* const out = a.v[a.n + at];
  if (out != Py_None) match_dtype(e, out, values, names);
  const py::tuple keywords(names);
  const Arguments rest{values.data(), a.n, keywords.ptr()};
  if (out == Py_None) return invoke(e, rest);
  return into(e.name.c_str(), out, values.data(), static_cast<Py_ssize_t>(values.size()),
              [&] { return invoke(e, rest); });
}

PyObject* invoke_function(const Entry& e, const Arguments& a) {
  if (a.keywords && e.takes_out) [[unlikely]]
    if (const Py_ssize_t at = find_out(a.keywords); at >= 0) return invoke_into(e, a, at);
  return invoke(e, a);
}

// ---- The table ------------------------------------------------------------------------------------------

// CPython gives a method no data of its own: one small function per entry knows its index.
constexpr int kMaxEntries = 768;

template <int I>
PyObject* as_function(PyObject*, PyObject* const* args, Py_ssize_t n, PyObject* keywords) {
  return guarded([&] { return invoke_function(entries[I], {args, n, keywords}); });
}

template <int I>
PyObject* as_method(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* keywords) {
  return guarded([&]() -> PyObject* {
    constexpr Py_ssize_t kInline = 12;
    const Py_ssize_t total = n + (keywords ? PyTuple_GET_SIZE(keywords) : 0);
    PyObject* inline_args[kInline + 1];
    std::vector<PyObject*> many;
    PyObject** all = inline_args;
    if (total > kInline) {
      many.resize(static_cast<std::size_t>(total) + 1);
      all = many.data();
    }
    all[0] = self;
    for (Py_ssize_t i = 0; i < total; ++i) all[i + 1] = args[i];
    return invoke(entries[I], {all, n + 1, keywords});
  });
}

using FastCall = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);

template <int... I>
constexpr auto functions_of(std::integer_sequence<int, I...>) {
  return std::array<FastCall, sizeof...(I)>{as_function<I>...};
}
template <int... I>
constexpr auto methods_of(std::integer_sequence<int, I...>) {
  return std::array<FastCall, sizeof...(I)>{as_method<I>...};
}
constexpr auto kFunctions = functions_of(std::make_integer_sequence<int, kMaxEntries>());
constexpr auto kMethods = methods_of(std::make_integer_sequence<int, kMaxEntries>());

// Names that PyTorch has twice.
constexpr std::pair<const char*, const char*> kAliases[] = {
    {"clip", "clamp"},       {"absolute", "abs"},    {"multiply", "mul"},       {"subtract", "sub"},
    {"divide", "div"},       {"true_divide", "div"}, {"negative", "neg"},       {"concat", "cat"},
    {"concatenate", "cat"},  {"greater", "gt"},      {"greater_equal", "ge"},   {"less", "lt"},
    {"less_equal", "le"},    {"not_equal", "ne"},    {"swapaxes", "transpose"}, {"swapdims", "transpose"},
    {"moveaxis", "movedim"}, {"arcsin", "asin"},     {"arccos", "acos"},        {"arctan", "atan"},
    {"arctan2", "atan2"},    {"arcsinh", "asinh"},   {"arccosh", "acosh"},      {"arctanh", "atanh"},
    {"fix", "trunc"},        {"ger", "outer"},
};

Entry& entry_for(std::unordered_map<std::string, Entry*>& table, const std::string& name) {
  Entry*& e = table[name];
  if (!e) {
    e = &entries.emplace_back();
    e->name = name;
  }
  return *e;
}

void add(Entry& e, const Signature& s) {
  e.overloads.push_back(s);
  if (s.op->composite && s.op->grad_name[0]) e.overloads.back().shown = number_of_name(s.op->grad_name);
  if (s.name == "matmul") e.overloads.back().shown = kShownAsProduct;
  if (!s.results.empty() && !s.results[0].empty()) e.result_type = return_type(s.name, s.results);
}

// Signatures first, one a line: the stubs are made from them.
void document(Entry& e, const std::string& name, bool method) {
  for (const Signature& s : e.overloads) {
    e.doc += name + s.stub(method, false, e.takes_out) + "\n";
    if (s.has_variadic()) e.doc += name + s.stub(method, true, e.takes_out) + "\n";
  }
  for (const Signature& s : e.overloads) {
    e.doc += std::string("\n") + s.op->doc + "\n";
    if (s.op->derivative.none && s.op->derivative.none[0] && !s.op->composite && s.op->cls != Class::Random)
      e.doc += std::string("Not differentiable: ") + s.op->derivative.none + ".\n";
    if (s.op->doctest) e.doc += std::string("\n") + s.op->doctest + "\n";
  }
}

int index_of(const Entry& e) {
  for (std::size_t i = 0; i < entries.size(); ++i)
    if (&entries[i] == &e) return static_cast<int>(i);
  return -1;
}

void expose(Entry& e, const std::string& name, bool method, py::module_& m) {
  const int i = index_of(e);
  if (i >= kMaxEntries) throw std::logic_error("ops: raise kMaxEntries");
  e.def = {e.name.c_str(),
           reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(method ? kMethods[i] : kFunctions[i])),
           METH_FASTCALL | METH_KEYWORDS, e.doc.c_str()};
  const py::object bound = py::reinterpret_steal<py::object>(
      method ? PyDescr_NewMethod(tensor_type, &e.def)
             : PyCFunction_NewEx(&e.def, nullptr, py::str("unspool._core").release().ptr()));
  if (!bound) throw py::error_already_set();
  const py::object owner =
      method ? py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(tensor_type)) : py::object(m);
  owner.attr(name.c_str()) = bound;
}

}  // namespace

const Entry* find_op(const char* name, bool inplace) {
  auto& table = inplace ? inplace_methods : functions;
  auto it = table.find(name);
  if (it == table.end()) throw std::logic_error(std::string("no op ") + name);
  return it->second;
}

PyObject* call_entry(const Entry* e, PyObject* const* args, int n) { return invoke(*e, {args, n, nullptr}); }

void bind_ops(py::module_& m) {
  py::options options;
  options.disable_function_signatures();
  m.def(
      "_aliases",
      [] {
        py::dict d;
        for (const auto& [alias, name] : kAliases) d[alias] = name;
        return d;
      },
      "_aliases() -> dict[str, str]\n\nSecond names of ops, for methods that the Python layer adds.");
  // Overloads are gathered first: entries must not move once their def is exposed.
  for (const OpDef* op : op_table()) {
    if (op->surface == kInternal) continue;
    const Signature s = parse_schema(*op);
    if (s.params.size() > kMaxParams) throw std::logic_error("ops: raise kMaxParams");
    const bool update = op->cls == Class::Update;
    if (op->surface & kFunction) {
      Entry& e = entry_for(functions, s.name);
      add(e, s);
      e.takes_out |= op->cls != Class::View && !update && !s.list;
    }
    if (op->surface & kMethod && !update) add(entry_for(methods, s.name), s);
    if (op->surface & kInplace) {
      const std::string name = update ? s.name : s.name + "_";
      Entry& e = entry_for(inplace_methods, name);
      e.inplace = true;
      add(e, s);
    }
  }
  for (auto* table : {&functions, &methods, &inplace_methods}) {
    const bool method = table != &functions;
    const char* const mark = table == &inplace_methods ? "_" : "";
    for (const auto& [alias, name] : kAliases)
      if (auto it = table->find(std::string(name) + mark); it != table->end()) {
        const std::vector<Signature> overloads = it->second->overloads;
        Entry& e = entry_for(*table, std::string(alias) + mark);
        e.overloads = overloads;
        e.takes_out = it->second->takes_out;
        e.inplace = table == &inplace_methods;
      }
    for (auto& [name, e] : *table) {
      document(*e, name, method);
      expose(*e, name, method, m);
    }
  }
}

}  // namespace unspool::python
