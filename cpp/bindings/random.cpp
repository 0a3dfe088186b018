// Generator, and the seeds of the default one.
#include "random.h"

#include <pybind11/stl.h>

#include "compile.h"
#include "handle.h"
#include "unspool/ops/random_state.h"

namespace unspool::python {
namespace {

PyObject* generator_type = nullptr;
py::object* default_object = nullptr;

using Held = std::unique_ptr<Generator, py::nodelete>;

// PyTorch takes seeds in [-2^63, 2^64).
std::uint64_t seed_of(const py::object& o) {
  if (!PyLong_Check(o.ptr()) && !PyIndex_Check(o.ptr()))
    fail(ErrorKind::Type, "manual_seed: seed must be an int, got ", short_repr(o.ptr()));
  const py::object index = py::reinterpret_steal<py::object>(PyNumber_Index(o.ptr()));
  if (!index) throw py::error_already_set();
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (!overflow) return static_cast<std::uint64_t>(value);
  const unsigned long long large = PyLong_AsUnsignedLongLong(index.ptr());
  if (PyErr_Occurred()) {
    PyErr_Clear();
    fail(ErrorKind::Runtime, "manual_seed: seed must be in [-2^63, 2^64), got ", short_repr(o.ptr()));
  }
  return large;
}

// The state as a tensor of the program's own numbers.
Tensor number_state(const Generator& g) {
  const Generator::State state = g.get_state();
  Tensor t = empty({static_cast<std::int64_t>(state.size())}, DType::UInt8);
  std::memcpy(t->data, state.data(), state.size());
  return made_of_numbers(std::move(t));
}

}  // namespace

bool is_generator(PyObject* o) { return PyObject_IsInstance(o, generator_type) == 1; }
Generator& generator_of(PyObject* o) {
  auto& g = py::handle(o).cast<Generator&>();
  if (capturing) [[unlikely]]
    note_generator(o, g);
  return g;
}

void bind_random(py::module_& m) {
  py::options options;
  options.disable_function_signatures();
  py::class_<Generator> type(m, "Generator", "A stream of random numbers (mt19937), PyTorch's to the word.");
  generator_type = type.ptr();
  type.def(py::init([](const py::object& device) {
             check_device(device.ptr());
             refuse_in_capture("Generator", "makes a stream of random numbers");
             return new Generator;
           }),
           py::arg("device") = py::none(), "__init__(self, device: object = None) -> None");
  type.def(
      "manual_seed",
      [](py::object self, const py::object& seed) {
        Generator& g = generator_of(self.ptr());
        const std::uint64_t number = seed_of(seed);
        {
          const std::lock_guard lock(g.mutex());
          g.manual_seed(number);
        }
        if (capturing) [[unlikely]]
          set_generator_state(&g, number_state(g));  // for the replays
        return self;
      },
      py::arg("seed"), "manual_seed(self, seed: int) -> Generator\n\nStarts the stream anew.");
  type.def(
      "seed",
      [](Generator& g) {
        refuse_in_capture("seed", "reads what the operating system gives");
        return g.seed();
      },
      "seed(self) -> int\n\nSeeds from the operating system and returns the seed.");
  type.def(
      "initial_seed", [](const Generator& g) { return g.initial_seed(); },
      "initial_seed(self) -> int\n\nThe seed that the stream started from.");
  type.def(
      "get_state", [](const py::object& self) { return generator_state(&generator_of(self.ptr())); },
      "get_state(self) -> Tensor\n\nThe state as uint8, in PyTorch's layout.");
  type.def(
      "set_state",
      [](py::object self, const Tensor& t) {
        if (t.dtype() != DType::UInt8 || !t.contiguous())
          fail(ErrorKind::Type, "set_state: new_state must be a contiguous uint8 tensor, got ",
               name(t.dtype()), " of shape ", t.shape());
        set_generator_state(&generator_of(self.ptr()), t);
        return self;
      },
      py::arg("new_state"), "set_state(self, new_state: Tensor) -> Generator\n\nContinues there.");
  type.def(
      "clone_state",
      [](const Generator& g) {
        refuse_in_capture("clone_state", "makes a stream of random numbers");
        return new Generator(g);
      },
      "clone_state(self) -> Generator\n\nA generator that continues the same stream.");
  type.def(
      "__reduce__",
      [](const py::object& self) {
        const py::object rebuild = py::module_::import("unspool._tensor_pickle").attr("rebuild_generator");
        return py::make_tuple(rebuild, py::make_tuple(self.attr("get_state")()));
      },
      "__reduce__(self) -> tuple[object, ...]");
  type.def_property_readonly(
      "device", [](const Generator&) { return py::reinterpret_borrow<py::object>(device_object()); },
      "device: device");

  default_object = new py::object(py::cast(&default_generator(), py::return_value_policy::reference));
  m.attr("default_generator") = *default_object;
  m.def(
      "manual_seed", [](const py::object& seed) { return default_object->attr("manual_seed")(seed); },
      py::arg("seed"), "manual_seed(seed: int) -> Generator\n\nSeeds the default generator and returns it.");
  m.def(
      "seed", [] { return default_object->attr("seed")(); },
      "seed() -> int\n\nSeeds the default generator from the operating system.");
  m.def(
      "initial_seed", [] { return default_generator().initial_seed(); },
      "initial_seed() -> int\n\nThe seed that the default generator started from.");
  m.def(
      "get_rng_state", [] { return default_object->attr("get_state")(); },
      "get_rng_state() -> Tensor\n\nThe default generator's state as uint8.");
  m.def(
      "_rng_state_bytes",
      [] {
        const Generator& g = default_generator();
        const std::lock_guard lock(g.mutex());
        const Generator::State state = g.get_state();
        return py::bytes(reinterpret_cast<const char*>(state.data()), state.size());
      },
      "_rng_state_bytes() -> bytes\n\nThe default generator's state, for a look that is no part of a recording.");
  m.def(
      "set_rng_state", [](const py::object& state) { default_object->attr("set_state")(state); },
      py::arg("new_state"),
      "set_rng_state(new_state: Tensor) -> None\n\nSets the default generator's state.");
}

}  // namespace unspool::python
