// Functions of statistics: lgamma, digamma, polygamma, erfinv. Computed in double and rounded once.
#include <cmath>
#include <limits>
#include <numbers>

#include "unspool/ops/blocks.h"
#include "unspool/ops/scalar_unary.h"

namespace unspool {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// B(2k) / (2k)!, the coefficients of the Euler-Maclaurin sum.
constexpr double kBernoulli[] = {1.0 / 12,
                                 -1.0 / 720,
                                 1.0 / 30240,
                                 -1.0 / 1209600,
                                 1.0 / 47900160,
                                 -691.0 / 1307674368000.0,
                                 1.0 / 74724249600.0,
                                 -3617.0 / 10670622842880000.0};

// Σ 1 / (q + k)^s over k >= 0: Hurwitz's zeta function for s > 1, by Euler-Maclaurin's formula behind the
// first terms.
double zeta(double s, double q) {
  if (q <= 0.0 && q == std::floor(q)) return kInf;
  double sum = 0.0;
  while (q < 10.0) {
    sum += std::pow(q, -s);
    if (q < -1e6) return kNaN;  // no sum of a million terms
    q += 1.0;
  }
  sum += std::pow(q, 1.0 - s) / (s - 1.0) + 0.5 * std::pow(q, -s);
  double factor = s, power = std::pow(q, -s - 1.0);
  for (int k = 0; k < static_cast<int>(std::size(kBernoulli)); ++k) {
    sum += kBernoulli[k] * factor * power;
    factor *= (s + 2 * k + 1) * (s + 2 * k + 2);
    power /= q * q;
  }
  return sum;
}

// The derivative of ln Γ: by reflection to x > 0, by ψ(x) = ψ(x + 1) - 1/x to x >= 10, then its asymptotic
// series.
double digamma_at(double x) {
  if (x == 0.0) return std::copysign(kInf, -x);
  double sum = 0.0;
  if (x < 0.0) {
    const double part = x - std::trunc(x);  // exact, for tiny x too
    if (part == 0.0) return kNaN;
    sum = -std::numbers::pi / std::tan(std::numbers::pi * part);
    x = 1.0 - x;
  }
  while (x < 10.0) {
    sum -= 1.0 / x;
    x += 1.0;
  }
  const double z = 1.0 / (x * x);
  const double series =
      z *
      (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132 - z * 691.0 / 32760)))));
  return sum + std::log(x) - 0.5 / x - series;
}

// By Halley's steps from Winitzki's approximation (2e-3 off); in the tails on erfc, where erf is flat.
double erfinv_at(double y) {
  const double a = std::abs(y);
  if (!(a <= 1.0)) return kNaN;
  if (a == 1.0) return std::copysign(kInf, y);
  if (a == 0.0) return y;
  const double l = std::log1p(-a * a), h = 2.0 / (std::numbers::pi * 0.147) + 0.5 * l;
  double x = std::sqrt(std::sqrt(h * h - l / 0.147) - h);
  for (int step = 0; step < 4; ++step) {
    const double error = a < 0.5 ? std::erf(x) - a : (1.0 - a) - std::erfc(x);
    const double newton = error * std::exp(x * x) * (0.5 / std::numbers::inv_sqrtpi);
    x -= newton / (1.0 + x * newton);
  }
  return std::copysign(x, y);
}

Tensor digamma_of(const Tensor& x);
Tensor polygamma_of(std::int64_t n, const Tensor& x);

UNSPOOL_UNARY(Lgamma, static_cast<T>(std::lgamma(static_cast<double>(x))), kSaveIn0, digamma_of(v))
UNSPOOL_UNARY(Digamma, static_cast<T>(digamma_at(static_cast<double>(x))), kSaveIn0, polygamma_of(1, v))
UNSPOOL_UNARY(Erfinv, static_cast<T>(erfinv_at(static_cast<double>(x))), kSaveOut,
              exp(square(v)) * (0.5 / std::numbers::inv_sqrtpi))

constexpr OpDef lgamma_op = unary<Lgamma>("lgamma(Tensor input)", "ln |Γ(x)| of each element.",
                                          "LgammaBackward0", Promote::Floating, Domain::Positive);
constexpr OpDef digamma_op = unary<Digamma>("digamma(Tensor input)", "The derivative of ln Γ(x).",
                                            "DigammaBackward0", Promote::Floating, Domain::Positive);
constexpr OpDef erfinv_op =
    unary<Erfinv>("erfinv(Tensor input)", "The x of erf(x) = input; ±inf at ±1 and NaN outside of [-1, 1].",
                  "ErfinvBackward0");

void polygamma_rule(const Record& r, const Tensor* g, Tensor* gx) {
  gx[0] = g[0] * polygamma_of(r.attrs.i(0) + 1, r.x(0));
}

// The order stands first, as in PyTorch.
constexpr OpDef polygamma_op = {
    .schema = "polygamma(int n, Tensor input)",
    .doc = "The n-th derivative of digamma, n >= 0: (-1)^(n+1) n! times Hurwitz's zeta function of n + 1.",
    .grad_name = "PolygammaBackward0",
    .surface = kFunction,
    .cls = Class::Fused,
    .promote = Promote::Floating,
    .shape =
        [](Call& c) {
          const std::int64_t n = c.attrs.i(0);
          if (n < 0)
            fail(ErrorKind::Runtime, "polygamma: polygamma(n, x) does not support negative n, got ", n);
          unary_shape(c);
        },
    .forward =
        [](Call& c) {
          const auto n = static_cast<double>(c.attrs.i(0));
          const double factor = (c.attrs.i(0) % 2 ? 1.0 : -1.0) * std::exp(std::lgamma(n + 1.0));
          visit_floating(c.in[0].dtype(), [&]<class T>() {
            const T* x = reinterpret_cast<const T*>(c.in[0]->data);
            T* y = reinterpret_cast<T*>(c.out[0]->data);
            for (std::int64_t i = 0, m = c.in[0].numel(); i < m; ++i)
              y[i] = static_cast<T>(n == 0.0 ? digamma_at(static_cast<double>(x[i]))
                                             : factor * zeta(n + 1.0, static_cast<double>(x[i])));
          });
        },
    .derivative = custom(polygamma_rule, polygamma_rule, kSaveIn0),
    .domain = Domain::Positive,
};

Tensor digamma_of(const Tensor& x) { return call(digamma_op, {x}); }
Tensor polygamma_of(std::int64_t n, const Tensor& x) { return call(polygamma_op, {x}, {n}); }

}  // namespace

std::span<const OpDef* const> special_math_ops() {
  static const OpDef* const ops[] = {&lgamma_op, &digamma_op, &erfinv_op, &polygamma_op};
  return ops;
}

}  // namespace unspool
