// The engine's matrix product, and one with CBLAS's interface, called in a loop: what benchmarks/gemm.py
// times. It is the iterations that must not cost a call from Python each; all else is in that script.
#include <cstdint>

#include "unspool/kernels/table.h"

namespace unspool {
namespace {

struct Product {
  std::int64_t m, n, k;
  bool ta, tb;  // A, or B, is stored transposed
};

template <class T>
using CblasGemm = void (*)(int order, int ta, int tb, std::int64_t m, std::int64_t n, std::int64_t k, T alpha,
                           const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c,
                           std::int64_t ldc);

template <class T>
void call_cblas(std::int64_t times, const Product& s, const void* a, const void* b, void* c, void* gemm) {
  constexpr int kRowMajor = 101, kPlain = 111, kTransposed = 112;
  for (std::int64_t i = 0; i < times; ++i)
    reinterpret_cast<CblasGemm<T>>(gemm)(kRowMajor, s.ta ? kTransposed : kPlain, s.tb ? kTransposed : kPlain,
                                         s.m, s.n, s.k, T(1), static_cast<const T*>(a), s.ta ? s.m : s.k,
                                         static_cast<const T*>(b), s.tb ? s.k : s.n, T(0), static_cast<T*>(c),
                                         s.n);
}

GemmCall call_of(DType dtype, const Product& s, const void* a, const void* b, void* c) {
  return {.dtype = dtype,
          .m = s.m,
          .n = s.n,
          .k = s.k,
          .a = a,
          .a_row = s.ta ? 1 : s.k,
          .a_col = s.ta ? s.m : 1,
          .b = b,
          .b_row = s.tb ? 1 : s.n,
          .b_col = s.tb ? s.k : 1,
          .c = c,
          .c_row = s.n,
          .c_col = 1};
}

}  // namespace
}  // namespace unspool

// C = A·B, `times` times: by `gemm`, a cblas_sgemm or cblas_dgemm of 64-bit integers, or by the engine where
// that is null.
extern "C" __attribute__((visibility("default"))) void benchmark_gemm(std::int64_t times, int is_double,
                                                                      std::int64_t m, std::int64_t n,
                                                                      std::int64_t k, int ta, int tb,
                                                                      const void* a, const void* b, void* c,
                                                                      void* gemm) {
  using namespace unspool;
  const Product s{m, n, k, ta != 0, tb != 0};
  if (gemm != nullptr) return (is_double ? call_cblas<double> : call_cblas<float>)(times, s, a, b, c, gemm);
  const GemmCall call = call_of(is_double ? DType::Float64 : DType::Float32, s, a, b, c);
  for (std::int64_t i = 0; i < times; ++i) kernels().gemm(call);
}
