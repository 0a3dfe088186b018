// The elementwise functors that the native tests run: one table per instruction set, filled by
// test_kernels_probe_isa.cpp. The engine's own functors live in the ops layer.
#pragma once

#include "unspool/base/cpu.h"
#include "unspool/kernels/view.h"

namespace unspool {

using ProbeFn = void (*)(const View& out, const View* in, const double* params);

struct ProbeTable {
  ProbeFn exp, log, expm1, log1p, tanh, sigmoid, erf;  // floats
  ProbeFn add, divide, floor_div, remainder, mod_c;    // all but bool (add: bool too)
  ProbeFn less;                                        // → bool
  ProbeFn scale_shift;                                 // x * p[0] + p[1], generic lambda style
  ProbeFn pick;                                        // where(a < b, c, -a)
  ProbeFn maximum, minimum, floor, round, sqrt, abs, sign, power;
};

extern const ProbeTable probe_table_generic, probe_table_avx2, probe_table_avx512;

inline const ProbeTable* probe_table(Isa isa) {
  if (!cpu_has(isa)) return nullptr;
  return isa == Isa::Generic ? &probe_table_generic
         : isa == Isa::Avx2  ? &probe_table_avx2
                             : &probe_table_avx512;
}

}  // namespace unspool
