// Functions of two integers: shifts of bits, divisors. They have no derivative.
#include <limits>
#include <numeric>
#include <type_traits>

#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"
#include "unspool/ops/map.h"

namespace unspool {
namespace {

// A shift by a negative number or by all bits empties the number, as in PyTorch: of a right shift its sign is
// left.
struct LeftShift {
  template <class T>
  static T f(T a, T b) {
    using U = std::make_unsigned_t<T>;
    if (b < 0 || b >= static_cast<T>(sizeof(T) * 8)) return 0;
    return static_cast<T>(static_cast<U>(a) << b);
  }
};
struct RightShift {
  template <class T>
  static T f(T a, T b) {
    constexpr T kMost = static_cast<T>(sizeof(T) * 8) - std::is_signed_v<T>;
    return static_cast<T>(a >> (b < 0 || b >= kMost ? kMost : b));
  }
};
template <class T>
std::uint64_t magnitude(T a) {
  return a < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(a) : static_cast<std::uint64_t>(a);
}
struct Gcd {
  template <class T>
  static T f(T a, T b) {
    return static_cast<T>(std::gcd(magnitude(a), magnitude(b)));
  }
};
struct Lcm {
  template <class T>
  static T f(T a, T b) {
    const std::uint64_t divisor = std::gcd(magnitude(a), magnitude(b));
    return divisor ? static_cast<T>(magnitude(a) / divisor * magnitude(b)) : T{0};
  }
};

void integer_shape(Call& c) {
  const DType dtype = c.in[0].dtype();
  if (info(dtype).category != Category::Integer)
    fail(ErrorKind::NotImplemented, name_of(*c.op), ": not implemented for '", name(dtype), "'");
  const Shape shape = broadcast_shapes(c.op->schema, c.in[0].shape(), c.in[1].shape());
  flat_shape(c, shape, dtype);
}

template <class F>
void integer_forward(Call& c) {
  visit_dtype(c.in[0].dtype(), [&]<class T>() {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      const T* a = reinterpret_cast<const T*>(c.in[0]->data);
      const T* b = reinterpret_cast<const T*>(c.in[1]->data);
      T* y = reinterpret_cast<T*>(c.out[0]->data);
      for (std::int64_t i = 0, n = c.in[0].numel(); i < n; ++i) y[i] = F::f(a[i], b[i]);
    }
  });
}

template <class F>
constexpr OpDef integers(const char* schema, const char* doc) {
  return {.schema = schema,
          .doc = doc,
          .surface = kBoth | kInplace,
          .cls = Class::Fused,
          .promote = Promote::Common,
          .shape = integer_shape,
          .forward = integer_forward<F>,
          .derivative = none("it takes integers alone")};
}

constexpr OpDef left_shift_op = integers<LeftShift>("bitwise_left_shift(Operand input, Operand other)",
                                                    "`input << other`, of integers: input · 2^other.");
constexpr OpDef right_shift_op =
    integers<RightShift>("bitwise_right_shift(Operand input, Operand other)",
                         "`input >> other`, of integers: input / 2^other, rounded down.");
constexpr OpDef gcd_op = integers<Gcd>("gcd(Tensor input, Tensor other)",
                                       "The greatest common divisor of integers; of 0 and 0 it is 0.");
constexpr OpDef lcm_op =
    integers<Lcm>("lcm(Tensor input, Tensor other)", "The least common multiple of integers.");

}  // namespace

std::span<const OpDef* const> integer_math_ops() {
  static const OpDef* const ops[] = {&left_shift_op, &right_shift_op, &gcd_op, &lcm_op};
  return ops;
}

}  // namespace unspool
