// Example functors, compiled once per instruction set with the flags of kernels/table_isa.cpp
// (-DUNSPOOL_ISA_NAME=…). It shows how a layer makes maps: functors in an anonymous namespace, a table.
#include "test_kernels_probe.h"
#include "unspool/kernels/map.h"

#define UNSPOOL_JOIN2(A, B) A##B
#define UNSPOOL_JOIN(A, B) UNSPOOL_JOIN2(A, B)

namespace unspool {
namespace {

#define UNARY(NAME, EXPR)                       \
  struct NAME {                                 \
    static constexpr int kArity = 1;            \
    explicit NAME(const double*) {}             \
    template <class V>                          \
    UNSPOOL_INLINE auto operator()(V x) const { \
      return EXPR;                              \
    }                                           \
  };
#define BINARY(NAME, EXPR)                           \
  struct NAME {                                      \
    static constexpr int kArity = 2;                 \
    explicit NAME(const double*) {}                  \
    template <class V>                               \
    UNSPOOL_INLINE auto operator()(V x, V y) const { \
      return EXPR;                                   \
    }                                                \
  };
UNARY(Exp, exp(x))
UNARY(Log, log(x))
UNARY(Expm1, expm1(x))
UNARY(Log1p, log1p(x))
UNARY(Tanh, tanh(x))
UNARY(Sigmoid, sigmoid(x))
UNARY(Erf, erf(x))
UNARY(Floor, floor(x))
UNARY(Round, round(x))
UNARY(Sqrt, sqrt(x))
UNARY(Abs, abs(x))
UNARY(Sign, sign(x))
BINARY(Add, x + y)
BINARY(Divide, x / y)
BINARY(FloorDiv, floor_div(x, y))
BINARY(Remainder, remainder(x, y))
BINARY(ModC, fmod(x, y))
BINARY(Less, x < y)
BINARY(Maximum, max(x, y))
BINARY(Minimum, min(x, y))
BINARY(Power, pow(x, y))

struct ScaleShift {
  static constexpr int kArity = 1;
  double scale, shift;
  explicit ScaleShift(const double* p) : scale(p[0]), shift(p[1]) {}
  template <class V>
  UNSPOOL_INLINE auto operator()(V x) const {
    return x * scale + shift;
  }
};
struct Pick3 {
  static constexpr int kArity = 3;
  explicit Pick3(const double*) {}
  template <class V>
  UNSPOOL_INLINE auto operator()(V a, V b, V c) const {
    return where(a < b, c, -a);
  }
};

}  // namespace

#define FLOATS(F) map_entry<F, float, double>
#define NUMBERS(F) map_entry<F, float, double, uint8_t, int32_t, int64_t>
#define ALL(F) map_entry<F, float, double, bool, uint8_t, int32_t, int64_t>
extern const ProbeTable UNSPOOL_JOIN(probe_table_, UNSPOOL_ISA_NAME);
const ProbeTable UNSPOOL_JOIN(probe_table_, UNSPOOL_ISA_NAME) = {
    .exp = FLOATS(Exp),
    .log = FLOATS(Log),
    .expm1 = FLOATS(Expm1),
    .log1p = FLOATS(Log1p),
    .tanh = FLOATS(Tanh),
    .sigmoid = FLOATS(Sigmoid),
    .erf = FLOATS(Erf),
    .add = ALL(Add),
    .divide = NUMBERS(Divide),
    .floor_div = NUMBERS(FloorDiv),
    .remainder = NUMBERS(Remainder),
    .mod_c = NUMBERS(ModC),
    .less = ALL(Less),
    .scale_shift = NUMBERS(ScaleShift),
    .pick = NUMBERS(Pick3),
    .maximum = NUMBERS(Maximum),
    .minimum = NUMBERS(Minimum),
    .floor = NUMBERS(Floor),
    .round = NUMBERS(Round),
    .sqrt = FLOATS(Sqrt),
    .abs = NUMBERS(Abs),
    .sign = NUMBERS(Sign),
    .power = FLOATS(Power),
};

}  // namespace unspool
