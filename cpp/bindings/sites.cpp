// Sites: where the program made a call, as a number. A call is recorded too often for a string or a
// reference, so (code object, instruction) pairs are kept in a table; its numbers are the sites.
// Reading the interpreter's own frames costs a few nanoseconds; their public form is an object that has to be
// made for most calls.
#include <Python.h>
#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030C0000
#define UNSPOOL_OWN_FRAMES 1
#define Py_BUILD_CORE
#include <internal/pycore_frame.h>
#undef Py_BUILD_CORE
#elif PY_VERSION_HEX < 0x030B0000
#include <frameobject.h>
#endif

#include <cstring>
#include <unordered_map>
#include <utility>
#include <vector>

#include "handle.h"

namespace unspool::python {
namespace {

struct Site {
  PyCodeObject* code;  // kept for good: there are as many as lines in programs
  int instruction;     // a byte offset
};

constexpr std::size_t kSlots = 1 << 12;  // of the fast table
constexpr std::size_t kMost = 1 << 16;   // sites; a program that makes code without end gets no more
std::vector<Site> all{{nullptr, 0}};     // 0 is no site
struct Slot {
  PyCodeObject* code = nullptr;
  int instruction = 0;
  std::uint32_t site = 0;
};
Slot slots[kSlots];
struct SiteHash {
  std::size_t operator()(const std::pair<PyCodeObject*, int>& s) const {
    return reinterpret_cast<std::size_t>(s.first) * 31 + static_cast<std::size_t>(s.second);
  }
};
std::unordered_map<std::pair<PyCodeObject*, int>, std::uint32_t, SiteHash> numbers;
std::unordered_map<PyObject*, bool> own_files;  // file name objects of this package, and others
struct File {
  PyObject* name = nullptr;
  bool own = false;
};
File files[64];       // the fast table for these
std::string package;  // its folder

bool in_package(PyCodeObject* code) {
  File& file = files[(reinterpret_cast<std::uintptr_t>(code->co_filename) >> 5) % std::size(files)];
  if (code->co_filename == file.name) return file.own;
  auto it = own_files.find(code->co_filename);
  if (it == own_files.end()) {
    const char* name = PyUnicode_AsUTF8(code->co_filename);
    const bool own = name && !std::strncmp(name, package.c_str(), package.size());
    if (own_files.size() >= kMost) return own;  // a program that makes code without end
    Py_INCREF(code->co_filename);               // the key stays this object's
    it = own_files.emplace(code->co_filename, own).first;
  }
  file = {code->co_filename, it->second};
  return file.own;
}

std::uint32_t number_of_site(PyCodeObject* code, int instruction) {
  const std::pair key{code, instruction};
  Slot& slot = slots[(SiteHash{}(key) >> 4) % kSlots];
  if (slot.code == code && slot.instruction == instruction) return slot.site;
  auto it = numbers.find(key);
  if (it == numbers.end()) {
    if (all.size() >= kMost) return 0;
    Py_INCREF(code);
    all.push_back({code, instruction});
    it = numbers.emplace(key, static_cast<std::uint32_t>(all.size() - 1)).first;
  }
  slot = {code, instruction, it->second};
  return it->second;
}

// What is asked of a frame, by version.
#ifdef UNSPOOL_OWN_FRAMES
using Frame = _PyInterpreterFrame*;
Frame innermost(PyThreadState* thread) { return thread->cframe ? thread->cframe->current_frame : nullptr; }
PyCodeObject* code_of(Frame frame) { return frame->f_code; }
Frame outer(Frame frame) { return frame->previous; }
int instruction_of(Frame frame) {
  return _PyInterpreterFrame_LASTI(frame) * static_cast<int>(sizeof(_Py_CODEUNIT));
}
#else
using Frame = py::object;
Frame owned(PyFrameObject* frame) {
  return py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(frame));
}
PyFrameObject* raw(const Frame& frame) { return reinterpret_cast<PyFrameObject*>(frame.ptr()); }
Frame innermost(PyThreadState* thread) { return owned(PyThreadState_GetFrame(thread)); }
PyCodeObject* code_of(const Frame& frame) {
  PyCodeObject* code = PyFrame_GetCode(raw(frame));
  Py_DECREF(code);  // the frame holds it
  return code;
}
Frame outer(const Frame& frame) { return owned(PyFrame_GetBack(raw(frame))); }
int instruction_of(const Frame& frame) {
#if PY_VERSION_HEX >= 0x030B0000
  return PyFrame_GetLasti(raw(frame));
#else
  return raw(frame)->f_lasti * 2;
#endif
}
#endif

// The innermost line outside of this package; none where there is none.
std::uint32_t here() {
#if PY_VERSION_HEX >= 0x030D0000
  PyThreadState* thread = PyThreadState_GetUnchecked();
#else
  PyThreadState* thread = _PyThreadState_UncheckedGet();
#endif
  if (!thread || thread != PyGILState_GetThisThreadState()) return 0;  // without the GIL: none
  for (Frame frame = innermost(thread); frame; frame = outer(frame))
    if (PyCodeObject* code = code_of(frame); !in_package(code))
      return number_of_site(code, instruction_of(frame));
  return 0;
}

std::string text(std::uint32_t site) {
  const Site& s = all[site];
  const char* file = PyUnicode_AsUTF8(s.code->co_filename);
  return std::string(file ? file : "?") + ":" + std::to_string(PyCode_Addr2Line(s.code, s.instruction));
}

}  // namespace

void bind_sites(const std::string& folder) {
  package = folder;
  sites.here = here;
  sites.text = text;
}

}  // namespace unspool::python
