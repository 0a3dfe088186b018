// What diagnose.Monitor does at every step: it notes the loss, and tells whether Python has to look. Steps of
// the smallest networks take 4 µs, of which a call in Python would take a twentieth. Start reading at
// call_log().
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "handle.h"
#include "structmember.h"

namespace unspool::python {
namespace {

struct LossLog {
  PyObject_HEAD std::vector<double>* losses;
  long long window;  // losses that are judged together
  long long wake;    // the step from which Python looks anyway
  char troubled;     // something is bad, so the next windows are judged to see it pass
  bool flat;         // was the last window
  vectorcallfunc call;
  double least, most, aim, near;
};

LossLog& log_of(PyObject* self) { return *reinterpret_cast<LossLog*>(self); }

struct Window {
  double mean;
  double spread;  // the standard deviation as a part of |mean|
};

// Of the last losses. Divided by the mean before they are squared: a loss of 1e200 is judged, too.
Window last_window(const LossLog& log) {
  const std::span<const double> all = *log.losses;
  const std::span<const double> window = all.last(std::min<std::size_t>(all.size(), log.window));
  const auto count = static_cast<double>(window.size());
  double sum = 0.0, squares = 0.0;
  for (const double loss : window) sum += loss;
  const double mean = sum / count, scale = mean == 0.0 ? 1.0 : std::abs(mean);
  for (const double loss : window) squares += (loss - mean) / scale * ((loss - mean) / scale);
  return {mean, std::sqrt(squares / count)};
}

// Is there something to see in the last loss, or in the window that it ends? A flat window after a flat one
// is nothing new.
bool is_remarkable(LossLog& log) {
  if (!std::isfinite(log.losses->back())) return true;
  if (static_cast<long long>(log.losses->size()) % log.window != 0) return false;
  const Window w = last_window(log);
  const bool was_flat = std::exchange(log.flat, w.spread < log.least);
  return log.troubled || log.flat != was_flat || w.spread > log.most ||
         std::abs(w.mean - log.aim) < log.near * log.aim;
}

bool note(LossLog& log, PyObject* loss) {
  const double value = PyFloat_AsDouble(loss);
  if (value == -1.0 && PyErr_Occurred()) return false;
  log.losses->push_back(value);
  return true;
}

PyObject* call_log(PyObject* self, PyObject* const* args, std::size_t flags, PyObject* names) {
  static PyObject* const kAttend = PyUnicode_InternFromString("_attend");
  return guarded([&]() -> PyObject* {
    const Py_ssize_t given = PyVectorcall_NARGS(flags), named = names ? PyTuple_GET_SIZE(names) : 0;
    if (given + named != 1 ||
        (named == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "loss") != 0))
      fail(ErrorKind::Type, "Monitor: a call takes one argument, loss");
    LossLog& log = log_of(self);
    if (Py_TYPE(self)->tp_call != PyVectorcall_Call) {  // Somebody has replaced __call__ in the class.
      Py_TYPE(self)->tp_flags &= ~Py_TPFLAGS_HAVE_VECTORCALL;
      return PyObject_Vectorcall(self, args, flags, names);
    }
    if (!note(log, args[0])) return nullptr;
    if (static_cast<long long>(log.losses->size()) >= log.wake || is_remarkable(log))
      return PyObject_CallMethodNoArgs(self, kAttend);
    Py_RETURN_NONE;
  });
}

PyObject* note_several(PyObject* self, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject* values = nullptr;
    Py_ssize_t at = 0;
    if (!PyArg_ParseTuple(args, "O!n:_note_several", &PyList_Type, &values, &at)) return nullptr;
    LossLog& log = log_of(self);
    while (at >= 0 && at < PyList_GET_SIZE(values)) {
      if (!note(log, PyList_GET_ITEM(values, at++))) return nullptr;
      if (is_remarkable(log)) return PyLong_FromSsize_t(at);
    }
    Py_RETURN_NONE;
  });
}

PyObject* list_of(std::span<const double> losses) {
  PyObject* list = PyList_New(static_cast<Py_ssize_t>(losses.size()));
  for (std::size_t i = 0; list && i < losses.size(); ++i) {
    PyObject* loss = PyFloat_FromDouble(losses[i]);
    if (!loss) Py_CLEAR(list);
    if (list) PyList_SET_ITEM(list, static_cast<Py_ssize_t>(i), loss);
  }
  return list;
}

PyObject* between(PyObject* self, PyObject* args) {
  Py_ssize_t start = 0, stop = 0;
  if (!PyArg_ParseTuple(args, "nn:_between", &start, &stop)) return nullptr;
  const std::span<const double> all = *log_of(self).losses;
  const auto size = static_cast<Py_ssize_t>(all.size());
  start = std::clamp<Py_ssize_t>(start, 0, size);
  return list_of(all.subspan(start, std::clamp(stop, start, size) - start));
}

PyObject* window_numbers(PyObject* self, PyObject* /*unused*/) {
  const Window w = last_window(log_of(self));
  return Py_BuildValue("dd", w.mean, w.spread);
}

PyObject* steps_of(PyObject* self, void* /*unused*/) {
  return PyLong_FromSize_t(log_of(self).losses->size());
}

PyObject* losses_of(PyObject* self, void* /*unused*/) { return list_of(*log_of(self).losses); }

PyObject* new_log(PyTypeObject* type, PyObject* /*args*/, PyObject* /*kwargs*/) {
  return guarded([&]() -> PyObject* {
    auto losses = std::make_unique<std::vector<double>>();
    PyObject* self = type->tp_alloc(type, 0);
    if (!self) return nullptr;
    LossLog& log = log_of(self);
    log.losses = losses.release();
    log.call = call_log;
    // Before CPython 3.12 a class in Python does not inherit this, and a call makes a tuple: 36 ns of a step.
    if (type->tp_call == PyVectorcall_Call) type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
    log.window = log.wake = 1;
    log.aim = std::numeric_limits<double>::quiet_NaN();
    return self;
  });
}

PyObject* judge_by(PyObject* self, PyObject* args) {
  LossLog& log = log_of(self);
  long long window = 0;
  if (!PyArg_ParseTuple(args, "Ldddd:_judge_by", &window, &log.least, &log.most, &log.aim, &log.near))
    return nullptr;
  log.window = std::max(window, 1LL);
  Py_RETURN_NONE;
}

void free_log(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  delete log_of(self).losses;
  type->tp_free(self);
  Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"_judge_by", judge_by, METH_VARARGS,
     "_judge_by(self, window: int, least: float, most: float, aim: float, near: float) -> None\n\nJudge windows "
     "of so many losses: a spread below `least` or above `most`, a mean that is `aim` but for a part `near`."},
    {"_note_several", note_several, METH_VARARGS,
     "_note_several(self, values: list[float], at: int) -> int | None\n\nNote losses from the at-th on, up to one "
     "at which there is something to see; gives the index of the next, or None where there was nothing."},
    {"_between", between, METH_VARARGS,
     "_between(self, start: int, stop: int) -> list[float]\n\nSome of the losses."},
    {"_window_numbers", window_numbers, METH_NOARGS,
     "_window_numbers(self) -> tuple[float, float]\n\nThe last window's mean, and its standard deviation as "
     "a part of that."},
    {nullptr, nullptr, 0, nullptr}};

PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(LossLog, call), READONLY, nullptr},
    {"_wake", T_LONGLONG, offsetof(LossLog, wake), 0, "_wake: int\n\nThe step from which _attend is called."},
    {"_troubled", T_BOOL, offsetof(LossLog, troubled), 0, "_troubled: bool\n\nJudge each window."},
    {nullptr, 0, 0, 0, nullptr}};

PyGetSetDef properties[] = {
    {"losses", losses_of, nullptr, "losses: list[float]\n\nOf all steps, a copy.", nullptr},
    {"steps", steps_of, nullptr, "steps: int\n\nHow many losses there are.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

}  // namespace

void bind_monitor(py::module_& m) {
  PyType_Slot slots[] = {
      {Py_tp_call, slot(PyVectorcall_Call)},
      {Py_tp_new, slot(new_log)},
      {Py_tp_dealloc, slot(free_log)},
      {Py_tp_methods, methods},
      {Py_tp_members, members},
      {Py_tp_getset, properties},
      {Py_tp_doc, const_cast<char*>("What diagnose.Monitor is made of: losses, one a call.")},
      {0, nullptr}};
  PyType_Spec spec = {"unspool._core.LossLog", sizeof(LossLog), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_VECTORCALL, slots};
  PyObject* type = PyType_FromSpec(&spec);
  if (!type) throw py::error_already_set();
  m.attr("LossLog") = py::reinterpret_steal<py::object>(type);
}

}  // namespace unspool::python
