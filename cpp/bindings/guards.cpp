// Guards are looked at before every replay: a dict that has changed since is walked in its order where its
// size is known, at a third of the price of a look-up for each entry.
#include "guards.h"

#include <bit>
#include <cstdint>
#include <unordered_map>

#include "compile.h"

namespace unspool::python {

namespace {

// Whether the tensors in a list or dict are those of the list `then`, in this order.
bool holds_tensors(PyObject* box, PyObject* then) {
  const Py_ssize_t n = PyList_GET_SIZE(then);
  Py_ssize_t i = 0;
  const auto next = [&](PyObject* o) { return !is_tensor(o) || (i < n && PyList_GET_ITEM(then, i++) == o); };
  if (PyDict_Check(box)) {
    PyObject *key, *value;
    for (Py_ssize_t at = 0; PyDict_Next(box, &at, &key, &value);)
      if (!next(value)) return false;
  } else {
    for (Py_ssize_t k = 0; k < PyList_GET_SIZE(box); ++k)
      if (!next(PyList_GET_ITEM(box, k))) return false;
  }
  return i == n;
}

bool same_bits(double x, double y) {
  return std::bit_cast<std::uint64_t>(x) == std::bit_cast<std::uint64_t>(y);
}

}  // namespace

bool same_value(PyObject* now, PyObject* then) {
  if (now == then) return true;
  if (!now || Py_TYPE(now) != Py_TYPE(then)) return false;
  // By their bits: zeros of two signs are equal, and NaN is not.
  if (PyFloat_CheckExact(now)) return same_bits(PyFloat_AS_DOUBLE(now), PyFloat_AS_DOUBLE(then));
  if (PyComplex_CheckExact(now)) {
    const Py_complex x = PyComplex_AsCComplex(now), y = PyComplex_AsCComplex(then);
    return same_bits(x.real, y.real) && same_bits(x.imag, y.imag);
  }
  if (PyTuple_Check(now)) {  // 1, 1.0 and True are equal, too
    const Py_ssize_t n = PyTuple_GET_SIZE(now);
    if (n != PyTuple_GET_SIZE(then)) return false;
    for (Py_ssize_t i = 0; i < n; ++i)
      if (!same_value(PyTuple_GET_ITEM(now, i), PyTuple_GET_ITEM(then, i))) return false;
    return true;
  }
  if (!(PyLong_CheckExact(now) || PyUnicode_CheckExact(now) || PyBytes_CheckExact(now))) return false;
  const int equal = PyObject_RichCompareBool(now, then, Py_EQ);
  if (equal < 0) PyErr_Clear();
  return equal == 1;
}

Guards::Guards(const py::list& tuples) {
  std::unordered_map<PyObject*, std::size_t> number;
  auto of = [&](const py::object& dict) -> Dict& {
    const auto [at, fresh] = number.try_emplace(dict.ptr(), dicts_.size());
    if (fresh) dicts_.push_back({.dict = dict, .size = -1, .entries = {}, .version = 0});
    return dicts_[at->second];
  };
  for (const py::handle g : tuples) {
    const auto parts = py::reinterpret_borrow<py::tuple>(g);
    const py::object owner = parts[1], key = parts[2], value = parts[3];
    switch (parts[0].cast<int>()) {
      case 0:
        of(owner).entries.push_back({key, value});
        break;
      case 1:
        cells_.push_back({owner, value});
        break;
      case 3:
        defaults_.push_back({owner, value});
        break;
      case 4:
        held_.push_back({owner, value});
        break;
      default:
        of(owner).size = value.cast<Py_ssize_t>();
    }
  }
  for (Dict& d : dicts_) {
    if (d.size < 0 || PyDict_GET_SIZE(d.dict.ptr()) != d.size) continue;
    std::vector<Entry> ordered;
    std::size_t found = 0;
    PyObject *key, *value;
    for (Py_ssize_t at = 0; PyDict_Next(d.dict.ptr(), &at, &key, &value);) {
      Entry& e = ordered.emplace_back(Entry{py::reinterpret_borrow<py::object>(key), {}});
      for (const Entry& g : d.entries)
        if (g.key.ptr() == key) {
          e.value = g.value;
          ++found;
        }
    }
    if (found == d.entries.size()) d.entries = std::move(ordered);  // else it has other keys already
  }
}

bool Guards::Dict::holds() const {
  PyObject* const d = dict.ptr();
  if (size >= 0) {
    if (PyDict_GET_SIZE(d) != size) return false;
    PyObject *key, *value;
    std::size_t i = 0;
    for (Py_ssize_t at = 0; i < entries.size() && PyDict_Next(d, &at, &key, &value); ++i) {
      if (key != entries[i].key.ptr()) break;
      if (entries[i].value && !same_value(value, entries[i].value.ptr())) return false;
    }
    if (i == entries.size()) return true;
  }
  // A dict that has been filled anew in another order, or one of which a few entries count.
  for (const Entry& e : entries) {
    PyObject* const now = PyDict_GetItemWithError(d, e.key.ptr());
    if (!now) PyErr_Clear();
    if (!now || (e.value && !same_value(now, e.value.ptr()))) return false;
  }
  return true;
}

bool Unchanged::holds() const {
  for (const auto& [dict, version] : dicts)
    if (version_of_dict(dict.ptr()) != version) return false;
  for (const auto& [list, items] : lists) {
    if (PyList_GET_SIZE(list.ptr()) != static_cast<Py_ssize_t>(items.size())) return false;
    PyObject** const now = PySequence_Fast_ITEMS(list.ptr());
    for (std::size_t i = 0; i < items.size(); ++i)
      if (now[i] != items[i].ptr()) return false;
  }
  for (const auto& [tensor, storage] : state)
    if (tensor->storage != storage) return false;
  return !dicts.empty();
}

bool Guards::hold() {
  for (const Entry& c : cells_)
    if (!same_value(PyCell_GET(c.key.ptr()), c.value.ptr())) return false;
  for (const Entry& d : defaults_)
    if (!same_value(PyFunction_GET_DEFAULTS(d.key.ptr()), d.value.ptr())) return false;
  for (const Entry& h : held_)
    if (!holds_tensors(h.key.ptr(), h.value.ptr())) return false;
  for (Dict& d : dicts_) {
    const std::uint64_t version = version_of_dict(d.dict.ptr());
    if (version != 0 && version == d.version) continue;
    if (!d.holds()) return false;
    d.version = version;
  }
  return true;
}

}  // namespace unspool::python
