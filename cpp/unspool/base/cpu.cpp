// See cpu.h. __builtin_cpu_supports asks CPUID and, through xgetbv, the operating system.
#include "unspool/base/cpu.h"

#include <xmmintrin.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "unspool/base/error.h"

namespace unspool {

bool cpu_has(Isa isa) {
  if (isa == Isa::Generic) return true;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (isa == Isa::Avx2) return avx2;
  return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::Generic:
      return "generic";
    case Isa::Avx2:
      return "avx2";
    case Isa::Avx512:
      return "avx512";
  }
  return "?";
}

namespace {

Isa choose() {
  std::string available;
  Isa best = Isa::Generic;
  for (int i = 0; i < kNumIsas; ++i) {
    const Isa isa = static_cast<Isa>(i);
    if (!cpu_has(isa)) continue;
    best = isa;
    available += available.empty() ? "" : ", ";
    available += isa_name(isa);
  }
  const char* asked = std::getenv("UNSPOOL_ISA");
  if (asked == nullptr || *asked == '\0') return best;
  for (int i = 0; i < kNumIsas; ++i) {
    const Isa isa = static_cast<Isa>(i);
    if (std::strcmp(asked, isa_name(isa)) != 0) continue;
    if (cpu_has(isa)) return isa;
    fail(ErrorKind::Value, "UNSPOOL_ISA: this CPU or operating system lacks '", asked,
         "'; available: ", available);
  }
  fail(ErrorKind::Value, "UNSPOOL_ISA: unknown instruction set '", asked, "'; available: ", available);
}

}  // namespace

Isa chosen_isa() {
  static const Isa isa = choose();  // a throw leaves it undecided
  return isa;
}

namespace {
constexpr unsigned kFlush = 0x8000 | 0x0040;  // of MXCSR: flush to zero, denormals are zero
}

// Writing the register waits for all arithmetic before it, so one inside of another leaves it alone.
FlushSubnormals::FlushSubnormals() : previous_(_mm_getcsr()) {
  if ((previous_ & kFlush) != kFlush) _mm_setcsr(previous_ | kFlush);
}
FlushSubnormals::~FlushSubnormals() {
  if ((previous_ & kFlush) != kFlush) _mm_setcsr(previous_);
}

}  // namespace unspool
