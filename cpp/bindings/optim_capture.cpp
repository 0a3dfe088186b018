// An optimizer in a plan: which of the plan's numbers are its settings, and how they are read again before a
// replay. Start at note_use(), which a captured step calls, and refresh(), which each replay does.
#include "optim_capture.h"

#include <utility>
#include <vector>

#include "compile.h"
#include "guards.h"

namespace unspool::python {
namespace {

// Whether the dict's version tells of every change of what it says: not where a value may change in place.
bool is_settled(PyObject* group, PyObject* params) {
  PyObject *key, *value;
  for (Py_ssize_t i = 0; PyDict_Next(group, &i, &key, &value);) {
    if (value == params) continue;
    if (PyTuple_CheckExact(value)) {
      for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(value); ++k)
        if (PyObject* x = PyTuple_GET_ITEM(value, k); !PyFloat_CheckExact(x) && !PyLong_CheckExact(x))
          return false;
    } else if (!PyFloat_CheckExact(value) && !PyLong_CheckExact(value) && !PyBool_Check(value) &&
               value != Py_None && !PyUnicode_CheckExact(value)) {
      return false;
    }
  }
  return true;
}

// Notes what a refresh has read; empty where its changes could go unseen.
Unchanged noted(const OptimizerUse& use, PyObject* state, PyObject* groups) {
  Unchanged u;
  auto add_dict = [&](PyObject* dict) {
    const std::uint64_t version = version_of_dict(dict);
    u.dicts.emplace_back(py::reinterpret_borrow<py::object>(dict), version);
    return version != 0;
  };
  auto add_list = [&](PyObject* list) {
    auto& items = u.lists.emplace_back(py::reinterpret_borrow<py::object>(list), 0).second;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); ++i)
      items.push_back(py::reinterpret_borrow<py::object>(PyList_GET_ITEM(list, i)));
  };
  const py::object own = py::getattr(use.optimizer, "__dict__");
  bool settled = PyDict_CheckExact(own.ptr()) && PyDict_Check(state) && PyList_CheckExact(groups) &&
                 add_dict(own.ptr()) && add_dict(state);
  if (settled) add_list(groups);
  for (Py_ssize_t g = 0; settled && g < PyList_GET_SIZE(groups); ++g) {
    PyObject* const group = PyList_GET_ITEM(groups, g);
    PyObject* const params = entry(group, names().params);
    settled =
        PyDict_CheckExact(group) && PyList_CheckExact(params) && is_settled(group, params) && add_dict(group);
    if (settled) add_list(params);
  }
  for (std::size_t i = 0; settled && i < use.updated.size(); ++i) {
    if (use.updated[i].state.empty()) continue;
    PyObject* const kept = entry(state, use.updated[i].handle);
    settled = PyDict_CheckExact(kept) && add_dict(kept);
    PyObject *key, *value;
    for (Py_ssize_t k = 0; settled && PyDict_Next(kept, &k, &key, &value);)
      if (is_tensor(value)) u.state.emplace_back(impl_of(value), impl_of(value)->storage);
  }
  return settled ? u : Unchanged();
}

// Reads a captured step's settings again, into the plan; false where the parameters or their state are
// others, or where steps have hooks now.
template <class Rule>
bool refresh(OptimizerUse& use, Plan& plan) {
  if (use.unchanged.holds()) return true;
  Place at{use.optimizer.ptr()};
  const py::object own_dict = py::getattr(use.optimizer, "__dict__");
  if (PyDict_Check(own_dict.ptr()) && entry(own_dict.ptr(), names().watches_steps)) return false;
  const py::object state = state_dict_of(at.optimizer, at);
  std::size_t setting = use.first_setting, number = 0;
  bool same = true;
  const py::object groups = attribute(at.optimizer, names().param_groups);
  each_group(groups.ptr(), at, [&](PyObject* group) {
    const Rule rule(Settings(group, at));
    const Attrs attrs = rule.attrs(false);
    const Kept kept = rule.kept();
    each_param(group, at, [&](PyObject* handle, const Tensor&) {
      if (!same || number == use.updated.size() || use.updated[number].handle != handle) {
        same = false;
        return;
      }
      const Updated& u = use.updated[number++];
      if (!u.updated) return;
      PyObject* own = kept.nothing() ? nullptr : entry(state.ptr(), handle);
      std::size_t k = 0;
      for (const auto keys : {kept.counters, kept.shaped})
        for (PyObject* key : keys) {
          PyObject* t = own && PyDict_Check(own) ? entry(own, key) : nullptr;
          same = same && t && is_tensor(t) && k < u.state.size() && impl_of(t)->storage == u.state[k];
          ++k;
        }
      same = same && k == u.state.size();
      for (int i = 0; same && i < attrs.n; ++i) plan.setting(setting++) = attrs.v[i];
    });
  });
  same = same && number == use.updated.size();
  use.unchanged = same ? noted(use, state.ptr(), groups.ptr()) : Unchanged();
  return same;
}

}  // namespace

template <class Rule>
void note_use(PyObject* optimizer, const std::vector<Rule>& rules, const std::vector<Update>& updates) {
  Recording& recording = *current_recording();
  OptimizerUse use{
      py::reinterpret_borrow<py::object>(optimizer), recording.settings.size(), {}, refresh<Rule>, {}};
  std::size_t next = 0;
  Place at{optimizer};
  const py::object groups = attribute(optimizer, names().param_groups);
  each_group(groups.ptr(), at, [&](PyObject* group) {
    each_param(group, at, [&](PyObject* handle, const Tensor& p) {
      Updated& u = use.updated.emplace_back();
      u.handle = handle;
      u.updated = next < updates.size() && updates[next].in[0].get() == p.get();
      if (!u.updated) return;
      const Update& update = updates[next++];
      if (update.in[5]) u.state.push_back(update.in[5]->storage);
      for (int i = 2; i < 5; ++i)
        if (update.in[i]) u.state.push_back(update.in[i]->storage);
      const int n = rules[update.rule].attrs(false).n;
      for (int i = 0; i < n; ++i) recording.settings.emplace_back(recording.steps.size() + next - 1, i);
    });
  });
  capture_uses()->push_back(std::move(use));
}

template void note_use(PyObject*, const std::vector<Sgd>&, const std::vector<Update>&);
template void note_use(PyObject*, const std::vector<Adam>&, const std::vector<Update>&);
template void note_use(PyObject*, const std::vector<Rmsprop>&, const std::vector<Update>&);

}  // namespace unspool::python
