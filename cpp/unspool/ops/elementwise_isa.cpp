// Compiled once per instruction set, with the flags of kernels/table_isa.cpp: the map kernels of
// every formula in elementwise.h, in the order of elementwise::Kernels.
#include "unspool/kernels/map.h"
#include "unspool/ops/elementwise.h"
#include "unspool/ops/map.h"

#define UNSPOOL_PASTE_(a, b) a##b
#define UNSPOOL_PASTE(a, b) UNSPOOL_PASTE_(a, b)
#define UNSPOOL_MAP_INFOS UNSPOOL_PASTE(map_infos_, UNSPOOL_ISA_NAME)

namespace unspool {

extern const MapInfo* const map_infos_avx2;

namespace {

#if defined(__AVX512F__)
// Bools and integers are most of the code and no faster in registers of 64 bytes: they go to AVX2's kernels.
template <class F, class... T>
void entry(const View& out, const View* in, const double* params) {
  if (in[0].dtype == DType::Float32 || in[0].dtype == DType::Float64) {
    if constexpr (kSame<typename F::Types, elementwise::Bits>)
      return;
    else
      return map_entry<F, float, double>(out, in, params);
  }
  map_infos_avx2[elementwise::map_id<F>].run(out, in, params);
}
#else
template <class F, class... T>
constexpr MapFn entry = map_entry<F, T...>;
#endif

template <class... T>
struct Types {
  static constexpr std::uint32_t kBits = ((1u << static_cast<int>(DTypeOf<T>::value)) | ...);
  template <class F>
  static constexpr MapFn run = entry<F, T...>;
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
  return {T::template run<F>, F::kArity, F::kBool, T::kBits};
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
