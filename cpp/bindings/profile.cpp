// The profile's events, and a plan's steps as data for a picture, for the Python layer to show.
#include "unspool/base/profile.h"

#include "handle.h"

namespace unspool::python {

void bind_profile(py::module_& m) {
  py::options options;
  options.disable_function_signatures();
  m.def(
      "_profile_start",
      [] {
        if (profiling)
          fail(ErrorKind::Runtime, "profile: a profile is running already; leave its block first");
        start_profile();
      },
      "_profile_start() -> None\n\nNotes what runs from now on, in all threads.");
  m.def(
      "_profile_stop",
      [] {
        py::list all;
        for (const ProfileEvent& e : stop_profile())
          all.append(py::make_tuple(e.name, e.begin, e.end, e.thread, e.frozen,
                                    py::reinterpret_steal<py::object>(size_object(e.shape))));
        return all;
      },
      "_profile_stop() -> list[tuple[str, int, int, int, bool, Any]]\n\nName, begin and end in nanoseconds, thread, "
      "whether a plan ran it, and the result's shape, in the order of ends.");
}

}  // namespace unspool::python
