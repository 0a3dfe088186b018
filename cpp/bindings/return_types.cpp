// The named tuples of ops with several results: `unspool.return_types.max(values, indices)`. They print,
// unpack and pickle as PyTorch's do.
#include "return_types.h"

#include <structmember.h>

#include <deque>
#include <map>

#include "handle.h"

namespace unspool::python {
namespace {

// Both are kept for the life of the process: types point into the texts.
std::deque<std::string> texts;
std::map<std::string, PyTypeObject*> types;

PyObject* repr(PyObject* self) {
  return guarded([&] {
    const std::string name = Py_TYPE(self)->tp_name;
    std::string text = "torch.return_types" + name.substr(name.rfind('.')) + "(\n";
    const PyMemberDef* member = Py_TYPE(self)->tp_members;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self); ++i)
      text += std::string(i ? ",\n" : "") + member[i].name + "=" +
              std::string(py::repr(py::handle(PyTuple_GET_ITEM(self, i))));
    return py::str(text + ")").release().ptr();
  });
}

PyTypeObject* make(const std::string& name, const std::vector<std::string>& fields) {
  std::vector<PyStructSequence_Field> rows;
  rows.reserve(fields.size() + 1);
  for (const std::string& f : fields) rows.push_back({texts.emplace_back(f).c_str(), "A tensor."});
  rows.push_back({nullptr, nullptr});
  PyStructSequence_Desc desc = {texts.emplace_back("unspool.return_types." + name).c_str(),
                                "Several results under their names.", rows.data(),
                                static_cast<int>(fields.size())};
  PyTypeObject* type = PyStructSequence_NewType(&desc);
  if (!type) throw py::error_already_set();
  type->tp_repr = repr;
  return type;
}

}  // namespace

PyTypeObject* return_type(const std::string& name, const std::vector<std::string>& fields) {
  PyTypeObject*& type = types[name];
  if (!type) type = make(name, fields);
  return type;
}

void bind_return_types(py::module_& m) {
  py::options options;
  options.disable_function_signatures();
  m.def(
      "_return_type",
      [](const std::string& name, const py::args& fields) {
        std::vector<std::string> names;
        for (const py::handle f : fields) names.push_back(f.cast<std::string>());
        return py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(return_type(name, names)));
      },
      py::arg("name"),
      "_return_type(name: str, *fields: str) -> Any\n\nThe named tuple of an op's results, made on first use.");
  m.def(
      "_return_types",
      [] {
        py::dict all;
        for (const auto& [name, type] : types)
          all[name.c_str()] = py::handle(reinterpret_cast<PyObject*>(type));
        return all;
      },
      "_return_types() -> dict[str, Any]\n\nThe named tuples that exist, by op.");
}

}  // namespace unspool::python
