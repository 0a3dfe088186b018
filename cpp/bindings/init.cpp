// Initialisation in place, from fans and gains (ops/fan.h derives the formulas).
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

// Runs f; the errors of fan.h, which knows no caller, begin with the op's name.
template <class F>
auto named(const char* op, F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    const std::string text = e.what(), prefix = std::string(op) + ": ";
    throw Error(e.kind(), text.starts_with(prefix) ? text : prefix + text);
  }
}

// An empty weight has no fan, and nothing to draw.
template <class F>
py::object drawn(const char* op, const py::object& self, F&& draw) {
  if (!is_tensor(self.ptr()))
    fail(ErrorKind::Type, op, ": tensor must be a Tensor, got ", short_repr(self.ptr()));
  const Tensor t = unwrap(self.ptr());
  GradMode off(false);
  if (t.numel()) named(op, [&] { draw(t); });
  return self;
}

// The slope of leaky_relu. PyTorch's ValueError for what is no number, a bool among it.
double slope_of(const char* op, const char* argument, const py::object& o) {
  Attr a;
  if (PyBool_Check(o.ptr()) || !number_of(o.ptr(), a))
    fail(ErrorKind::Value, op, ": ", argument, " is the negative slope and must be a number, got ",
         short_repr(o.ptr()));
  return a.number();
}

py::object kaiming_uniform(const py::object& self, const py::object& a, const std::string& mode,
                           const std::string& nonlinearity, const py::object& generator) {
  const double slope = slope_of("kaiming_uniform_", "a", a);
  return drawn("kaiming_uniform_", self, [&](const Tensor& t) {
    const double b = uniform_bound(kaiming_std(t.shape(), slope, parse_fan_mode(mode), nonlinearity));
    uniform_(t, -b, b, generator_or_default(generator));
  });
}
py::object kaiming_normal(const py::object& self, const py::object& a, const std::string& mode,
                          const std::string& nonlinearity, const py::object& generator) {
  const double slope = slope_of("kaiming_normal_", "a", a);
  return drawn("kaiming_normal_", self, [&](const Tensor& t) {
    normal_(t, 0.0, kaiming_std(t.shape(), slope, parse_fan_mode(mode), nonlinearity),
            generator_or_default(generator));
  });
}
py::object xavier_uniform(const py::object& self, double gain, const py::object& generator) {
  return drawn("xavier_uniform_", self, [&](const Tensor& t) {
    const double b = uniform_bound(xavier_std(t.shape(), gain));
    uniform_(t, -b, b, generator_or_default(generator));
  });
}
py::object xavier_normal(const py::object& self, double gain, const py::object& generator) {
  return drawn("xavier_normal_", self, [&](const Tensor& t) {
    normal_(t, 0.0, xavier_std(t.shape(), gain), generator_or_default(generator));
  });
}
py::object trunc_normal(const py::object& self, double mean, double std, double a, double b,
                        const py::object& generator) {
  if (!(std >= 0.0))
    fail(ErrorKind::Value, "trunc_normal_: std must not be negative, got ",
         short_repr(py::float_(std).ptr()));
  return drawn("trunc_normal_", self,
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
      [](const std::string& nonlinearity, const py::object& param) {
        return named("calculate_gain", [&] {
          if (param.is_none() || nonlinearity != "leaky_relu") return calculate_gain(nonlinearity);
          return calculate_gain(nonlinearity, slope_of("calculate_gain", "param", param));
        });
      },
      py::arg("nonlinearity"), py::arg("param") = py::none(),
      "calculate_gain(nonlinearity: str, param: float | None = None) -> float\n\nThe factor that "
      "keeps a layer's variance: sqrt(2) for ReLU.");
  m.def(
      "calculate_fans",
      [](const Tensor& t) {
        const Fans fans = named("calculate_fans", [&] { return fans_of(t.shape()); });
        return py::make_tuple(fans.in, fans.out);
      },
      tensor, "calculate_fans(tensor: Tensor) -> tuple[int, int]\n\nfan_in and fan_out of a weight.");
}

}  // namespace unspool::python
