// The element types, one row each. Start reading at UNSPOOL_DTYPES.
// Promotion between them lives in tensor/promote.h; nothing here knows a Tensor.
#pragma once

#include <cstddef>
#include <cstdint>

#include "unspool/base/half.h"

namespace unspool {

// X(enumerator, C++ type, public name, category), in promotion order (but for the two 16-bit ones, see
// promote). Categories order as PyTorch's: bool < integer < floating.
#define UNSPOOL_DTYPES(X)                     \
  X(Bool, bool, "bool", Boolean)              \
  X(UInt8, std::uint8_t, "uint8", Integer)    \
  X(Int32, std::int32_t, "int32", Integer)    \
  X(Int64, std::int64_t, "int64", Integer)    \
  X(Float16, float16, "float16", Floating)    \
  X(BFloat16, bfloat16, "bfloat16", Floating) \
  X(Float32, float, "float32", Floating)      \
  X(Float64, double, "float64", Floating)

enum class Category : std::uint8_t { Boolean, Integer, Floating };

enum class DType : std::uint8_t {
#define X(E, T, N, C) E,
  UNSPOOL_DTYPES(X)
#undef X
};

struct DTypeInfo {
  const char* name;
  std::size_t size;
  Category category;
};

inline constexpr DTypeInfo kDTypes[] = {
#define X(E, T, N, C) {N, sizeof(T), Category::C},
    UNSPOOL_DTYPES(X)
#undef X
};
inline constexpr int kNumDTypes = sizeof(kDTypes) / sizeof(kDTypes[0]);

constexpr const DTypeInfo& info(DType d) { return kDTypes[static_cast<int>(d)]; }
constexpr const char* name(DType d) { return info(d).name; }
constexpr std::size_t item_size(DType d) { return info(d).size; }
constexpr bool is_floating(DType d) { return info(d).category == Category::Floating; }
// Stored in 16 bits and computed in float32: only copies know these types, the door converts for the rest.
constexpr bool is_half(DType d) { return d == DType::Float16 || d == DType::BFloat16; }

template <class T>
struct DTypeOf;
#define X(E, T, N, C)                        \
  template <>                                \
  struct DTypeOf<T> {                        \
    static constexpr DType value = DType::E; \
  };
UNSPOOL_DTYPES(X)
#undef X
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

// Calls f.template operator()<T>() with the C++ type of d, one that is computed in: no 16-bit one.
template <class F>
decltype(auto) visit_dtype(DType d, F&& f) {
  switch (d) {
#define X(E, T, N, C)                                               \
  case DType::E:                                                    \
    if constexpr (!is_half_v<T>) return f.template operator()<T>(); \
    break;
    UNSPOOL_DTYPES(X)
#undef X
  }
  __builtin_unreachable();
}

template <class F>
decltype(auto) visit_half(DType d, F&& f) {
  return d == DType::Float16 ? f.template operator()<float16>() : f.template operator()<bfloat16>();
}

// float32 or float64 alone; the caller has checked that d is one.
template <class F>
decltype(auto) visit_floating(DType d, F&& f) {
  return d == DType::Float64 ? f.template operator()<double>() : f.template operator()<float>();
}

}  // namespace unspool
