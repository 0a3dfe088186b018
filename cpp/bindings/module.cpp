// The extension module: a line for each subject, and what belongs to the library as a whole.
#include "handle.h"
#include "unspool/base/cpu.h"
#include "unspool/base/pool.h"
#include "unspool/plan/recording.h"
#include "unspool/tape/node.h"

namespace unspool::python {
namespace {

py::dict stats() {
  const MemoryStats s = memory_stats();
  py::dict d;
  d["live_bytes"] = s.live_bytes;
  d["cached_bytes"] = s.cached_bytes;
  d["peak_bytes"] = s.peak_bytes;
  d["system_calls"] = s.system_calls;
  return d;
}

std::string config() {
  std::string text = "unspool " UNSPOOL_VERSION "\n  compiler: ";
#ifdef __clang__
  text += "Clang " __clang_version__;
#else
  text += "GCC " __VERSION__;
#endif
  text += "\n  build: " UNSPOOL_BUILD "\n  instruction set: " + std::string(isa_name(chosen_isa())) +
          " (available:";
  for (Isa isa : {Isa::Generic, Isa::Avx2, Isa::Avx512})
    if (cpu_has(isa)) text += std::string(" ") + isa_name(isa);
  return text + ")\n  threads: " + std::to_string(get_num_threads()) + "\n";
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "The native engine of unspool.";
  m.attr("__version__") = UNSPOOL_VERSION;
  install_tape();
  install_capture();
  bind_errors(m);
  try {
    chosen_isa();  // what the environment asks for and cannot have is an error of the import
    get_num_threads();
  } catch (const Error& e) {
    throw py::value_error(e.what());
  }
  bind_types(m);
  bind_handle(m);
  bind_dtypes(m);
  bind_return_types(m);
  bind_out(m);
  bind_ops(m);
  bind_methods(m);
  bind_numpy(m);
  bind_autograd(m);
  bind_dlpack(m);
  bind_hooks(m);
  bind_graph(m);
  bind_sites(py::module_::import("os")
                 .attr("path")
                 .attr("dirname")(m.attr("__spec__").attr("origin"))
                 .cast<std::string>() +
             "/");
  bind_random(m);
  bind_init(m);
  bind_modules(m);
  bind_monitor(m);
  bind_optim(m);
  bind_compile(m);
  bind_profile(m);
  bind_data(m);
  bind_threads(m);

  py::options options;
  options.disable_function_signatures();
  m.def(
      "is_tensor", [](const py::object& o) { return is_tensor(o.ptr()); }, py::arg("obj"),
      "is_tensor(obj: object) -> bool\n\nWhether obj is a Tensor.");
  m.def("get_default_dtype", default_dtype,
        "get_default_dtype() -> dtype\n\nWhat Python floats become: float32 at first.");
  m.def(
      "set_default_dtype",
      [](DType d) {
        if (!is_floating(d))
          fail(ErrorKind::Type, "set_default_dtype: only floating-point types are supported, got ", name(d));
        set_default_dtype(d);
      },
      py::arg("d"), "set_default_dtype(d: dtype) -> None\n\nA floating-point one.");
  m.def("memory_stats", stats,
        "memory_stats() -> dict[str, int]\n\nlive_bytes, cached_bytes, peak_bytes of the engine's "
        "memory, and system_calls: how often it asked the system.");
  m.def("reset_peak_memory_stats", reset_peak_memory_stats,
        "reset_peak_memory_stats() -> None\n\npeak_bytes counts from now.");
  m.def("empty_cache", empty_cache, "empty_cache() -> None\n\nReturns free blocks to the system.");
  m.def("_config", config, "_config() -> str\n\nVersion, compiler and flags, instruction set, threads.");
  m.def(
      "_op_schemas",
      [] {
        py::list all;
        for (const OpDef* op : op_table()) {
          py::dict d;
          d["schema"] = op->schema;
          d["doc"] = op->doc;
          d["doctest"] = op->doctest ? py::object(py::str(op->doctest)) : py::object(py::none());
          d["surface"] = static_cast<int>(op->surface);
          d["domain"] = static_cast<int>(op->domain);
          d["none"] = op->derivative.none ? py::object(py::str(op->derivative.none)) : py::object(py::none());
          d["composite"] = op->composite != nullptr;
          all.append(d);
        }
        return all;
      },
      "_op_schemas() -> list[dict[str, object]]\n\nThe op table, for tests and documentation.");
}

}  // namespace unspool::python
