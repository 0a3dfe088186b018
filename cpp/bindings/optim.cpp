// One native call for an optimizer's step and one for zero_grad, all parameter groups together. Settings are
// read from the groups' dicts, state lives in the optimizer's own dicts, both under PyTorch's keys. A step is
// two passes: `plan` checks all that it reads and makes the state that is missing, then all parameters are
// updated. Start at step(); optimizers written in Python take their plan from plan_step().
#include <string>
#include <utility>
#include <vector>

#include "compile.h"
#include "optim_capture.h"
#include "unspool/base/cpu.h"
#include "unspool/ops/ops.h"

namespace unspool::python {
namespace {

void zero_grad(const py::object& groups, bool set_to_none) {
  GradMode off(false);
  Place at;
  each_group(groups.ptr(), at, [&](PyObject* group) {
    each_param(group, at, [&](PyObject*, const Tensor& p) {
      note_gradient(p.get(), !set_to_none);
      if (!p->grad) return;
      if (set_to_none) {
        p->grad = Tensor();
      } else {
        if (p->grad->node) p->grad = alias(p->grad);
        fill_(p->grad, wrapped_number(0.0));
      }
    });
  });
}

// Calls group(settings, dict) and param(handle, tensor) for all that a step updates, and checks the
// gradients.
template <class Group, class Param>
void each_update(PyObject* optimizer, Place& at, Group&& on_group, Param&& on_param) {
  const py::object groups = attribute(optimizer, names().param_groups);
  each_group(groups.ptr(), at, [&](PyObject* group) {
    on_group(Settings(group, at));
    each_param(group, at, [&](PyObject* handle, const Tensor& p) {
      note_gradient(p.get(), true);
      if (!p->grad) return;
      check_grad(p, at);
      on_param(handle, p, group);
    });
  });
}

// The step of an optimizer whose update is one op a parameter.
template <class Rule>
PyObject* step(PyObject*, PyObject* optimizer) {
  return guarded([&]() -> PyObject* {
    const GradMode off(false);
    Place at{optimizer};
    const py::object state = state_dict_of(optimizer, at);
    if (capturing) [[unlikely]]
      keep_state(state);
    std::vector<Rule> rules;
    std::vector<Update> updates;
    updates.reserve(32);
    Made made;
    each_update(
        optimizer, at, [&](const Settings& s) { rules.emplace_back(s); },
        [&](PyObject* handle, const Tensor& p, PyObject*) {
          Update& u = updates.emplace_back();
          u.rule = rules.size() - 1;
          u.in[0] = p;
          u.in[1] = p->grad;
          const Kept kept = rules.back().kept();
          if (kept.nothing()) return;
          const auto make = [&](PyObject* own) {
            u.first = true;
            const auto put = [&](PyObject* key, const Tensor& t) {
              made.put(own, key, py::reinterpret_steal<py::object>(wrap(t)).ptr());
            };
            for (PyObject* key : kept.counters) put(key, zeros({}, DType::Float32));
            for (PyObject* key : kept.shaped) put(key, zeros_like(p));
          };
          state_of(state.ptr(), handle, p, kept, made, at, make, [&](bool count, std::size_t i, Tensor&& t) {
            u.in[count ? 5 : rules.back().place(i)] = std::move(t);
          });
        });
    made.keep();
    if (capturing) [[unlikely]]
      note_use(optimizer, rules, updates);
    const FlushSubnormals flush;  // once, not once a parameter
    for (Update& u : updates) Rule::update(u.in, rules[u.rule].attrs(u.first));
    Py_RETURN_NONE;
  });
}

// For an optimizer in Python: what its step updates, after the same checks.
PyObject* plan_step(PyObject*, PyObject* optimizer) {
  return guarded([&]() -> PyObject* {
    const GradMode off(false);
    Place at{optimizer};
    const py::object state = state_dict_of(optimizer, at), defaults = attribute(optimizer, names().defaults),
                     not_negative = attribute(optimizer, names().not_negative),
                     counters = attribute(optimizer, names().counters),
                     shapes = attribute(optimizer, names().shaped_state);
    const auto items = py::reinterpret_steal<py::object>(PyDict_Items(defaults.ptr()));
    if (!items || !PyTuple_Check(counters.ptr()) || !PyTuple_Check(shapes.ptr()))
      fail(ErrorKind::Type, at.op(), ": defaults must be a dict, _counters and _shaped_state tuples");
    const auto keys = [](const py::object& tuple) {
      return std::span<PyObject* const>(PySequence_Fast_ITEMS(tuple.ptr()),
                                        static_cast<std::size_t>(PyTuple_GET_SIZE(tuple.ptr())));
    };
    const Kept kept{keys(counters), keys(shapes)};
    py::list plan;
    Made made;
    each_update(
        optimizer, at,
        [&](const Settings& s) {
          for (const py::handle item : items) {
            PyObject* key = PyTuple_GET_ITEM(item.ptr(), 0);
            const int listed = PySequence_Contains(not_negative.ptr(), key);
            if (listed < 0) throw py::error_already_set();
            s.check(key, PyTuple_GET_ITEM(item.ptr(), 1), listed == 0);
          }
        },
        [&](PyObject* handle, const Tensor& p, PyObject* group) {
          py::object own = py::none();
          const auto make = [&](PyObject* dict) {
            const auto fresh = py::reinterpret_steal<py::object>(
                PyObject_CallMethodObjArgs(optimizer, names().fresh_state, group, handle, nullptr));
            if (!fresh) throw py::error_already_set();
            PyObject *key, *value;
            for (Py_ssize_t item = 0; PyDict_Next(fresh.ptr(), &item, &key, &value);)
              made.put(dict, key, value);
          };
          if (!kept.nothing())
            own = state_of(state.ptr(), handle, p, kept, made, at, make, [](bool, std::size_t, Tensor&&) {});
          plan.append(py::make_tuple(py::handle(group), py::handle(handle), own));
        });
    made.keep();
    return plan.release().ptr();
  });
}

}  // namespace

void bind_optim(py::module_& m) {
  py::options options;
  options.disable_function_signatures();
  m.def(
      "zero_grad", zero_grad, py::arg("param_groups"), py::arg("set_to_none") = true,
      "zero_grad(param_groups: list[dict[str, Any]], set_to_none: bool = True) -> None\n\nForgets or zeroes "
      "every grad.");
  static PyMethodDef steps[] = {
      {"sgd_step", step<Sgd>, METH_O,
       "sgd_step(optimizer: Any, /) -> None\n\nOne SGD step of all params that have a grad."},
      {"adam_step", step<Adam>, METH_O,
       "adam_step(optimizer: Any, /) -> None\n\nOne Adam step of all params that have a grad."},
      {"rmsprop_step", step<Rmsprop>, METH_O,
       "rmsprop_step(optimizer: Any, /) -> None\n\nOne RMSprop step of all params that have a grad."},
      {"plan_step", plan_step, METH_O,
       "plan_step(optimizer: Any, /) -> list[tuple[dict[str, Any], Tensor, Any]]\n\nGroup, parameter and state of "
       "all params that have a grad; raises, with nothing changed, where a step would fail."}};
  for (PyMethodDef& def : steps)
    m.attr(def.ml_name) = py::reinterpret_steal<py::object>(
        PyCFunction_NewEx(&def, nullptr, py::str("unspool._core").release().ptr()));
}

}  // namespace unspool::python
