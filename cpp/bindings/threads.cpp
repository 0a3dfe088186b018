// How many threads kernels use, and the GIL around their long work.
#include <cxxabi.h>
#include <unistd.h>

#include <limits>

#include "handle.h"
#include "unspool/base/pool.h"

namespace unspool::python {
namespace {

void* let_others_run() { return PyGILState_Check() ? PyEval_SaveThread() : nullptr; }

// While the interpreter ends, a daemon thread that asks for the GIL is ended by pthread_exit (before
// Python 3.14), which unwinds, and would meet noexcept functions. It sleeps here instead.
void run_again(void* state) {
  try {
    PyEval_RestoreThread(static_cast<PyThreadState*>(state));
  } catch (abi::__forced_unwind&) {
    for (;;) pause();
  }
}

// A positive int, or PyTorch's exceptions.
int count_of(const char* op, const py::object& o) {
  if (!PyLong_Check(o.ptr()) || PyBool_Check(o.ptr()))
    fail(ErrorKind::Runtime, op, ": n must be an int, got ", short_repr(o.ptr()), " of type ",
         std::string(Py_TYPE(o.ptr())->tp_name));
  int overflow = 0;
  const long long n = PyLong_AsLongLongAndOverflow(o.ptr(), &overflow);
  if (overflow > 0 || n > std::numeric_limits<int>::max())
    fail(ErrorKind::Value, op, ": n does not fit into 32 bits, got ", short_repr(o.ptr()));
  if (overflow < 0 || n < 1)
    fail(ErrorKind::Runtime, op, ": n must be a positive integer, got ", short_repr(o.ptr()));
  return static_cast<int>(n);
}

}  // namespace

void bind_threads(py::module_& m) {
  long_work_hooks = {let_others_run, run_again};
  py::options options;
  options.disable_function_signatures();
  m.def(
      "set_num_threads", [](const py::object& n) { set_num_threads(count_of("set_num_threads", n)); },
      py::arg("n"), py::pos_only(),
      "set_num_threads(n: int, /) -> None\n\nHow many threads a kernel may use, the caller included. Results "
      "are the same bits for any number. At first: UNSPOOL_NUM_THREADS, or the CPUs of this process.");
  m.def("get_num_threads", get_num_threads,
        "get_num_threads() -> int\n\nHow many threads a kernel may use, the caller included.");
  m.def(
      "get_num_interop_threads", [] { return 1; },
      "get_num_interop_threads() -> int\n\nHow many operations run at once for one caller: always 1.");
  m.def(
      "_set_parallel_threshold",
      [](const py::object& work) {
        const std::int64_t before = parallel_threshold;
        set_parallel_threshold(work.is_none() ? kParallelWork : work.cast<std::int64_t>());
        return before;
      },
      py::arg("work"),
      "_set_parallel_threshold(work: int | None) -> int\n\nFor tests: from which work on (about nanoseconds) "
      "kernels use several threads, None for the default; returns the previous. With 0 all that may, do.");
  m.def(
      "_workers_that_ran",
      [](bool reset) {
        const int n = pool_workers_that_ran();
        if (reset) reset_pool_workers_that_ran();
        return n;
      },
      py::arg("reset") = false,
      "_workers_that_ran(reset: bool = False) -> int\n\nFor tests: how many threads besides the callers have "
      "worked since start or reset.");
}

}  // namespace unspool::python
