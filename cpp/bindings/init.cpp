// Initialisation in place, from fans and gains (ops/fan.h derives the formulas).
#include <pybind11/stl.h>

#include "handle.h"
#include "random.h"
#include "unspool/ops/fan.h"
#include "unspool/ops/ops.h"

namespace unspool::python {
namespace {

Attr generator_or_default(const py::object& o) {
  if (o.is_none()) return {};
  if (!is_generator(o.ptr()))
    fail(ErrorKind::Type, "init: generator must be a Generator or None, got ", short_repr(o.ptr()));
  return Attr(static_cast<void*>(&generator_of(o.ptr())));
}

// An empty weight has no fan, and nothing to draw.
template <class F>
py::object drawn(const py::object& self, F&& draw) {
  if (!is_tensor(self.ptr()))
    fail(ErrorKind::Type, "init: tensor must be a Tensor, got ", short_repr(self.ptr()));
  const Tensor t = unwrap(self.ptr());
  GradMode off(false);
  if (t.numel()) draw(t);
  return self;
}

py::object kaiming_uniform(const py::object& self, double a, const std::string& mode,
                           const std::string& nonlinearity, const py::object& generator) {
  return drawn(self, [&](const Tensor& t) {
    const double b = uniform_bound(kaiming_std(t.shape(), a, parse_fan_mode(mode), nonlinearity));
    uniform_(t, -b, b, generator_or_default(generator));
  });
}
py::object kaiming_normal(const py::object& self, double a, const std::string& mode,
                          const std::string& nonlinearity, const py::object& generator) {
  return drawn(self, [&](const Tensor& t) {
    normal_(t, 0.0, kaiming_std(t.shape(), a, parse_fan_mode(mode), nonlinearity),
            generator_or_default(generator));
  });
}
py::object xavier_uniform(const py::object& self, double gain, const py::object& generator) {
  return drawn(self, [&](const Tensor& t) {
    const double b = uniform_bound(xavier_std(t.shape(), gain));
    uniform_(t, -b, b, generator_or_default(generator));
  });
}
py::object xavier_normal(const py::object& self, double gain, const py::object& generator) {
  return drawn(self, [&](const Tensor& t) {
    normal_(t, 0.0, xavier_std(t.shape(), gain), generator_or_default(generator));
  });
}
py::object trunc_normal(const py::object& self, double mean, double std, double a, double b,
                        const py::object& generator) {
  return drawn(self,
               [&](const Tensor& t) { trunc_normal_(t, mean, std, a, b, generator_or_default(generator)); });
}

}  // namespace

void bind_init(py::module_& m) {
  py::options options;
  options.disable_function_signatures();
  const auto tensor = py::arg("tensor");
  const auto generator = py::arg("generator") = py::none();
  const char* kaiming =
      "(tensor: Tensor, a: float = 0.0, mode: str = 'fan_in', nonlinearity: str = 'leaky_relu', "
      "generator: Generator | None = None) -> Tensor\n\nHe initialisation: variance gain² / fan, "
      "with fan_in, fan_out or their mean (fan_avg).";
  const char* xavier =
      "(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor\n\nGlorot "
      "initialisation: variance 2 gain² / (fan_in + fan_out).";
  const std::string docs[] = {
      std::string("kaiming_uniform_") + kaiming, std::string("kaiming_normal_") + kaiming,
      std::string("xavier_uniform_") + xavier, std::string("xavier_normal_") + xavier};
  m.def("kaiming_uniform_", kaiming_uniform, tensor, py::arg("a") = 0.0, py::arg("mode") = "fan_in",
        py::arg("nonlinearity") = "leaky_relu", generator, docs[0].c_str());
  m.def("kaiming_normal_", kaiming_normal, tensor, py::arg("a") = 0.0, py::arg("mode") = "fan_in",
        py::arg("nonlinearity") = "leaky_relu", generator, docs[1].c_str());
  m.def("xavier_uniform_", xavier_uniform, tensor, py::arg("gain") = 1.0, generator, docs[2].c_str());
  m.def("xavier_normal_", xavier_normal, tensor, py::arg("gain") = 1.0, generator, docs[3].c_str());
  m.def("trunc_normal_", trunc_normal, tensor, py::arg("mean") = 0.0, py::arg("std") = 1.0,
        py::arg("a") = -2.0, py::arg("b") = 2.0, generator,
        "trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: "
        "float = 2.0, generator: Generator | None = None) -> Tensor\n\nNormal numbers within "
        "[a, b].");
  m.def(
      "calculate_gain",
      [](const std::string& nonlinearity, const std::optional<double>& param) {
        return calculate_gain(nonlinearity, param);
      },
      py::arg("nonlinearity"), py::arg("param") = py::none(),
      "calculate_gain(nonlinearity: str, param: float | None = None) -> float\n\nThe factor that "
      "keeps a layer's variance: sqrt(2) for ReLU.");
  m.def(
      "calculate_fans",
      [](const Tensor& t) {
        const Fans fans = fans_of(t.shape());
        return py::make_tuple(fans.in, fans.out);
      },
      tensor, "calculate_fans(tensor: Tensor) -> tuple[int, int]\n\nfan_in and fan_out of a weight.");
}

}  // namespace unspool::python
