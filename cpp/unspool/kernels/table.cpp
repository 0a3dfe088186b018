// Chooses among the tables that table_isa.cpp, compiled once per instruction set, exports.
#include "unspool/kernels/table.h"

namespace unspool {

extern const KernelTable kernel_table_generic;
#if defined(__x86_64__)
extern const KernelTable kernel_table_avx2;
extern const KernelTable kernel_table_avx512;
#endif

const KernelTable* kernel_table(Isa isa) {
  if (!cpu_has(isa)) return nullptr;
  switch (isa) {
    case Isa::Generic:
      return &kernel_table_generic;
#if defined(__x86_64__)
    case Isa::Avx2:
      return &kernel_table_avx2;
    case Isa::Avx512:
      return &kernel_table_avx512;
#else
    default:
      break;
#endif
  }
  return nullptr;
}

const KernelTable& kernels() {
  static const KernelTable& table = *kernel_table(chosen_isa());
  return table;
}

}  // namespace unspool
