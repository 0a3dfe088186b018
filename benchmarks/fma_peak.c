/* How many multiply-adds this CPU can do: the probe that benchmark rounds are interleaved with (fma_peak.py builds it).
   Nothing of unspool is in here. Two units with a latency of 4 cycles want 8 independent chains; 12 fit 16 registers.
   -ffp-contract=fast makes one instruction of a multiply-add; where the CPU has none, they stay two. */
#include <string.h>

#define CHAINS 12

/* Turns until `turns`, each CHAINS vectors of multiply-adds; the returned sum keeps them alive. x < 1 keeps them finite. */
#define LOOP(NAME, TARGET, T, BYTES)                                    \
  TARGET static double NAME(long turns) {                               \
    typedef T Vector __attribute__((vector_size(BYTES)));               \
    const Vector x = (Vector){0} + (T)0.999, y = (Vector){0} + (T)1e-3; \
    Vector a[CHAINS];                                                   \
    for (int i = 0; i < CHAINS; ++i) a[i] = y * (T)i;                   \
    for (long t = 0; t < turns; ++t) {                                  \
      _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; ++i)         \
          a[i] = a[i] * x + y;                                          \
    }                                                                   \
    double sum = 0;                                                     \
    for (int i = 0; i < CHAINS; ++i) sum += (double)a[i][0];            \
    return sum;                                                         \
  }

#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,prefer-vector-width=512")))

LOOP(generic_f, , float, 16)
LOOP(generic_d, , double, 16)
LOOP(avx2_f, AVX2, float, 32)
LOOP(avx2_d, AVX2, double, 32)
LOOP(avx512_f, AVX512, float, 64)
LOOP(avx512_d, AVX512, double, 64)

const char* fma_isa(void) {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return "avx512";
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "avx2" : "generic";
}

/* Runs `turns` turns; returns their floating-point operations, a multiply-add counting as two. */
double fma_run(long turns, int is_double, double* sum) {
  const char* isa = fma_isa();
  const int wide = strcmp(isa, "avx512") == 0 ? 64 : strcmp(isa, "avx2") == 0 ? 32 : 16;
  if (wide == 64)
    *sum = is_double ? avx512_d(turns) : avx512_f(turns);
  else if (wide == 32)
    *sum = is_double ? avx2_d(turns) : avx2_f(turns);
  else
    *sum = is_double ? generic_d(turns) : generic_f(turns);
  return 2.0 * CHAINS * (double)turns * (wide / (is_double ? 8 : 4));
}
