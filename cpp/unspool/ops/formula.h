// What a formula of elementwise.h or activations.h is made of: its arity, its element types, constants.
#pragma once

#include <cstdint>
#include <limits>
#include <numbers>
#include <type_traits>

#include "unspool/ops/op.h"
#include "unspool/ops/ops.h"

namespace unspool::elementwise {
namespace {  // each instruction set compiles its own

// Which element types a kernel is compiled for.
struct Floats {};   // float32, float64
struct Numbers {};  // those and the integers
struct Bits {};     // bool and the integers
struct Everything {};

// A constant in the world of V: broadcast into a vector, or a 0-d tensor that decides no dtype.
template <class V>
[[gnu::always_inline]] inline V constant(double c) {
  if constexpr (std::is_same_v<V, Tensor>)
    return wrapped_number(c);
  else
    return V(c);
}

template <int Arity, class T>
struct Base {
  static constexpr int kArity = Arity;
  using Types = T;
  static constexpr std::uint32_t kUses0 = 0, kUses1 = 0;
  static constexpr bool kBool = false;  // the result is bool, whatever the inputs are
  // g0, g1 stand in place of d0, d1: the gradient is selected, not multiplied by 0 or 1.
  static constexpr bool kSelects = false;
  constexpr explicit Base(const double* = nullptr) {}
};

}  // namespace
}  // namespace unspool::elementwise
