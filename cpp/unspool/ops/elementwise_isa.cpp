// Compiled once per instruction set, with the flags of kernels/table_isa.cpp: the map kernels of
// every formula in elementwise.h, in the order of elementwise::Kernels.
#include "unspool/kernels/map.h"
#include "unspool/ops/elementwise.h"
#include "unspool/ops/map.h"

#define UNSPOOL_PASTE_(a, b) a##b
#define UNSPOOL_PASTE(a, b) UNSPOOL_PASTE_(a, b)
#define UNSPOOL_MAP_INFOS UNSPOOL_PASTE(map_infos_, UNSPOOL_ISA_NAME)

namespace unspool {
namespace {

template <class... T>
struct Types {
  static constexpr std::uint32_t kBits = ((1u << static_cast<int>(DTypeOf<T>::value)) | ...);
  template <class F>
  static constexpr MapFn entry = map_entry<F, T...>;
};

template <class Tag>
struct TypesOf;
template <>
struct TypesOf<elementwise::Floats> : Types<float, double> {};
template <>
struct TypesOf<elementwise::Numbers> : Types<std::uint8_t, std::int32_t, std::int64_t, float, double> {};
template <>
struct TypesOf<elementwise::Bits> : Types<bool, std::uint8_t, std::int32_t, std::int64_t> {};
template <>
struct TypesOf<elementwise::Everything>
    : Types<bool, std::uint8_t, std::int32_t, std::int64_t, float, double> {};

template <class F>
constexpr MapInfo info_of() {
  using T = TypesOf<typename F::Types>;
  return {T::template entry<F>, F::kArity, F::kBool, T::kBits};
}

template <class List>
struct Table;
template <class... F>
struct Table<elementwise::List<F...>> {
  static constexpr MapInfo kInfos[] = {info_of<F>()...};
};

}  // namespace

extern const MapInfo* const UNSPOOL_MAP_INFOS;
const MapInfo* const UNSPOOL_MAP_INFOS = Table<elementwise::Kernels>::kInfos;

}  // namespace unspool
