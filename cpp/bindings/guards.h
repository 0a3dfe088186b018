// What must be as it was when a function was recorded, beside its arguments: entries of dicts (module
// attributes, globals) and the contents of closure cells.
#pragma once

#include <cstdint>
#include <vector>

#include "handle.h"

namespace unspool::python {

// A number that changes with every change of the dict; 0 where this Python keeps none (from 3.13 on).
inline std::uint64_t version_of_dict(PyObject* dict) {
#if PY_VERSION_HEX < 0x030D0000
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  return reinterpret_cast<PyDictObject*>(dict)->ma_version_tag;
#pragma GCC diagnostic pop
#else
  return static_cast<void>(dict), 0;
#endif
}

class Guards {
 public:
  // Of tuples (kind, owner, key, value), as python/unspool/_compile.py makes them: kind 0, an entry of a
  // dict; 1, a cell; 2, a dict that has as many entries as now; 3, a function's defaults;
  // 4, a list or dict with these tensors.
  explicit Guards(const py::list& tuples);
  bool hold();

 private:
  struct Entry {
    py::object key, value;  // no value: not guarded
  };
  struct Dict {
    py::object dict;
    Py_ssize_t size = -1;  // where that is guarded; then the entries are all, in the dict's order
    std::vector<Entry> entries;
    std::uint64_t version = 0;  // of the dict when it was last found to hold
    bool holds() const;
  };
  std::vector<Dict> dicts_;
  std::vector<Entry> cells_;     // key: the cell
  std::vector<Entry> defaults_;  // key: the function
  std::vector<Entry> held_;      // key: the list or dict, value: a list
};

// Whether a value is the same, or an equal number, string or tuple of one type.
bool same_value(PyObject* now, PyObject* then);

}  // namespace unspool::python
