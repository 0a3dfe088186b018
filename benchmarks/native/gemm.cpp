// The GEMM against the processor's limit and against OpenBLAS, all called from C++ in one process on one
// thread. Start at main(); benchmarks/gemm.py builds and runs this and says what the figures should be.
//
// In each round every contestant runs once for about the same time: a loop of nothing but FMAs, our GEMM,
// OpenBLAS. A figure is the median over rounds, a ratio the median of the rounds' ratios.
//   gemm OPENBLAS_LIBRARY ROUNDS MILLISECONDS [TEXT]
// writes JSON to standard output and a table to standard error; with TEXT, of the sizes whose line in the
// table begins with it ("float32    64").
#include <dlfcn.h>
#include <immintrin.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "unspool/base/pool.h"
#include "unspool/kernels/table.h"

namespace unspool {
namespace {

// --- the FMA loop: 12 independent chains, no memory ----------------------------------------------------

// Returns multiply-adds done, times 2.
#define PEAK(NAME, TARGET, VEC, T, LANES, SET, FMA)                                     \
  __attribute__((target(TARGET))) double NAME(std::int64_t steps) {                     \
    VEC acc[12], x = SET(T(0.999)), y = SET(T(1e-3));                                   \
    for (auto& a : acc) a = y;                                                          \
    for (std::int64_t i = 0; i < steps; ++i) {                                          \
      _Pragma("GCC unroll 12") for (int c = 0; c < 12; ++c) acc[c] = FMA(acc[c], x, y); \
    }                                                                                   \
    for (auto& a : acc) asm volatile("" : : "x"(a));                                    \
    return 2.0 * 12 * LANES * static_cast<double>(steps);                               \
  }
PEAK(peak512f, "avx512f", __m512, float, 16, _mm512_set1_ps, _mm512_fmadd_ps)
PEAK(peak512d, "avx512f", __m512d, double, 8, _mm512_set1_pd, _mm512_fmadd_pd)
PEAK(peak256f, "avx2,fma", __m256, float, 8, _mm256_set1_ps, _mm256_fmadd_ps)
PEAK(peak256d, "avx2,fma", __m256d, double, 4, _mm256_set1_pd, _mm256_fmadd_pd)
#undef PEAK
double peak_generic_f(std::int64_t steps) {
  typedef float V __attribute__((vector_size(16)));
  V acc[8] = {}, x = V{} + 0.999f, y = V{} + 1e-3f;
  for (std::int64_t i = 0; i < steps; ++i)
#pragma GCC unroll 8
    for (int c = 0; c < 8; ++c) acc[c] = acc[c] * x + y;
  for (auto& a : acc) asm volatile("" : : "x"(a));
  return 2.0 * 8 * 4 * static_cast<double>(steps);
}
double peak_generic_d(std::int64_t steps) {
  typedef double V __attribute__((vector_size(16)));
  V acc[8] = {}, x = V{} + 0.999, y = V{} + 1e-3;
  for (std::int64_t i = 0; i < steps; ++i)
#pragma GCC unroll 8
    for (int c = 0; c < 8; ++c) acc[c] = acc[c] * x + y;
  for (auto& a : acc) asm volatile("" : : "x"(a));
  return 2.0 * 8 * 2 * static_cast<double>(steps);
}
double peak(DType dtype, std::int64_t steps) {
  const bool single = dtype == DType::Float32;
  switch (chosen_isa()) {
    case Isa::Avx512:
      return single ? peak512f(steps) : peak512d(steps);
    case Isa::Avx2:
      return single ? peak256f(steps) : peak256d(steps);
    default:
      return single ? peak_generic_f(steps) : peak_generic_d(steps);
  }
}

// --- OpenBLAS, as NumPy's wheel carries it -------------------------------------------------------------

enum { kRowMajor = 101, kPlain = 111, kTransposed = 112 };
template <class T>
using CblasGemm = void (*)(int order, int ta, int tb, std::int64_t m, std::int64_t n, std::int64_t k, T alpha,
                           const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c,
                           std::int64_t ldc);
struct OpenBlas {
  CblasGemm<float> sgemm = nullptr;
  CblasGemm<double> dgemm = nullptr;
  std::string config;
};
OpenBlas load_openblas(const char* path) {
  OpenBlas blas;
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    std::fprintf(stderr, "gemm: %s\n", dlerror());
    std::exit(1);
  }
  auto find = [&](const char* name) { return dlsym(library, name); };
  blas.sgemm = reinterpret_cast<CblasGemm<float>>(find("scipy_cblas_sgemm64_"));
  blas.dgemm = reinterpret_cast<CblasGemm<double>>(find("scipy_cblas_dgemm64_"));
  auto config = reinterpret_cast<char* (*)()>(find("scipy_openblas_get_config64_"));
  if (blas.sgemm == nullptr || blas.dgemm == nullptr || config == nullptr) {
    std::fprintf(stderr, "gemm: %s lacks the 64-bit CBLAS interface that NumPy's wheels have\n", path);
    std::exit(1);
  }
  blas.config = config();
  if (auto threads = reinterpret_cast<void (*)(int)>(find("scipy_openblas_set_num_threads64_"))) threads(1);
  return blas;
}

// --- what is measured ----------------------------------------------------------------------------------

struct Size {
  DType dtype;
  std::int64_t m, n, k;
  bool ta, tb;  // A, or B, is stored transposed
};

// A layer of `in` to `out` features: its product and those of its two gradients.
void add_layer(std::vector<Size>& sizes, DType d, std::int64_t batch, std::int64_t in, std::int64_t out) {
  sizes.push_back({d, batch, out, in, false, true});   // X·Wᵀ
  sizes.push_back({d, batch, in, out, false, false});  // G·W
  sizes.push_back({d, out, in, batch, true, false});   // Gᵀ·X
}

std::vector<Size> all_sizes() {
  std::vector<Size> sizes;
  for (DType d : {DType::Float32, DType::Float64}) {
    for (std::int64_t n : {64, 128, 256, 512, 1024, 2048}) sizes.push_back({d, n, n, n, false, false});
    add_layer(sizes, d, 10, 40, 40);
    add_layer(sizes, d, 32, 64, 64);
    add_layer(sizes, d, 128, 784, 256);
    if (d == DType::Float32) add_layer(sizes, d, 64, 4096, 4096);
    sizes.push_back({d, 1, 1024, 1024, false, true});  // a vector times a matrix, stored either way
    sizes.push_back({d, 1, 1024, 1024, false, false});
    sizes.push_back({d, 1024, 1, 1024, false, false});
    sizes.push_back({d, 1024, 1, 1024, true, false});
  }
  return sizes;
}

const char* name_of(DType d) { return d == DType::Float32 ? "float32" : "float64"; }
std::string layout_of(const Size& s) { return {s.ta ? 'T' : 'N', s.tb ? 'T' : 'N'}; }
std::string label(const Size& s) {
  char text[80];
  std::snprintf(text, sizeof text, "%s %5lld×%-5lld·%5lld×%-5lld %s", name_of(s.dtype),
                static_cast<long long>(s.m), static_cast<long long>(s.k), static_cast<long long>(s.k),
                static_cast<long long>(s.n), layout_of(s).c_str());
  return text;
}

// Seconds that this thread has run: what other programs take from it in between does not count.
double now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  const std::size_t half = v.size() / 2;
  return v.size() % 2 ? v[half] : (v[half - 1] + v[half]) / 2;
}

// GFLOP/s of f, which does `flops` a call, over about `seconds`.
struct Contestant {
  std::function<void()> f;
  double flops;
  std::int64_t calls = 1;
  std::vector<double> rate = {};
  double time(std::int64_t n) const {
    const double start = now();
    for (std::int64_t i = 0; i < n; ++i) f();
    return now() - start;
  }
  void warm_up(double seconds) {
    time(1);
    while (time(calls) < seconds / 4) calls *= 2;
    calls = std::max<std::int64_t>(
        1, static_cast<std::int64_t>(static_cast<double>(calls) * seconds / time(calls)));
  }
  void run() { rate.push_back(flops * static_cast<double>(calls) / time(calls) * 1e-9); }
};

double ratio(const Contestant& a, const Contestant& b) {
  std::vector<double> r;
  for (std::size_t i = 0; i < a.rate.size(); ++i) r.push_back(a.rate[i] / b.rate[i]);
  return median(r);
}

template <class T>
void measure(const Size& s, CblasGemm<T> blas, int rounds, double seconds, bool first) {
  auto numbers = [](std::int64_t count) {
    T* p =
        static_cast<T*>(std::aligned_alloc(64, (static_cast<std::size_t>(count) * sizeof(T) + 63) / 64 * 64));
    for (std::int64_t i = 0; i < count; ++i) p[i] = static_cast<T>(i % 17 - 8) / T(8);
    return p;
  };
  T *a = numbers(s.m * s.k), *b = numbers(s.k * s.n), *c = numbers(s.m * s.n);
  GemmCall call{.dtype = s.dtype, .m = s.m, .n = s.n, .k = s.k};
  call.a = a;
  call.a_row = s.ta ? 1 : s.k;
  call.a_col = s.ta ? s.m : 1;
  call.b = b;
  call.b_row = s.tb ? 1 : s.n;
  call.b_col = s.tb ? s.k : 1;
  call.c = c;
  call.c_row = s.n;
  call.c_col = 1;
  call.workspace = std::aligned_alloc(64, std::size_t{4} << 20);

  constexpr std::int64_t kSteps = 20'000;
  const double flops = 2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
  Contestant limit{[&] { peak(s.dtype, kSteps); }, peak(s.dtype, 1) * kSteps};
  Contestant ours{[&] { kernels().gemm(call); }, flops};
  Contestant theirs{[&] {
                      blas(kRowMajor, s.ta ? kTransposed : kPlain, s.tb ? kTransposed : kPlain, s.m, s.n, s.k,
                           T(1), a, s.ta ? s.m : s.k, b, s.tb ? s.k : s.n, T(0), c, s.n);
                    },
                    flops};
  for (Contestant* x : {&limit, &ours, &theirs}) x->warm_up(seconds);
  for (int r = 0; r < rounds; ++r)
    for (Contestant* x : {&limit, &ours, &theirs}) x->run();
  const double of_peak = ratio(ours, limit), of_blas = ratio(ours, theirs);
  std::printf(
      "%s\n  {\"dtype\": \"%s\", \"m\": %lld, \"n\": %lld, \"k\": %lld, \"layout\": \"%s\", \"peak_gflops\": %.2f, "
      "\"gflops\": %.2f, \"openblas_gflops\": %.2f, \"of_peak\": %.4f, \"of_openblas\": %.4f}",
      first ? "" : ",", name_of(s.dtype), static_cast<long long>(s.m), static_cast<long long>(s.n),
      static_cast<long long>(s.k), layout_of(s).c_str(), median(limit.rate), median(ours.rate),
      median(theirs.rate), of_peak, of_blas);
  std::fprintf(stderr, "%s %8.1f %8.1f %8.1f %8.3f %8.3f\n", label(s).c_str(), median(limit.rate),
               median(ours.rate), median(theirs.rate), of_peak, of_blas);
  for (void* p : {static_cast<void*>(a), static_cast<void*>(b), static_cast<void*>(c), call.workspace})
    std::free(p);
}

int run(const char* library, int rounds, double seconds, const std::string& only) {
  set_num_threads(1);
  const OpenBlas blas = load_openblas(library);
  std::printf("{\"isa\": \"%s\", \"openblas\": \"%s\", \"rounds\": %d, \"sizes\": [", isa_name(chosen_isa()),
              blas.config.c_str(), rounds);
  std::fprintf(stderr, "%s; %s\n%-7s %-23s    %8s %8s %8s %8s %8s\n", isa_name(chosen_isa()),
               blas.config.c_str(), "dtype", "m×k·k×n, stored", "peak", "unspool", "OpenBLAS", "of peak",
               "of OpenBLAS");
  bool first = true;
  for (const Size& s : all_sizes()) {
    if (label(s).compare(0, only.size(), only) != 0) continue;
    if (s.dtype == DType::Float32)
      measure<float>(s, blas.sgemm, rounds, seconds, first);
    else
      measure<double>(s, blas.dgemm, rounds, seconds, first);
    first = false;
  }
  std::printf("\n]}\n");
  return 0;
}

}  // namespace
}  // namespace unspool

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) {
    std::fprintf(stderr, "usage: gemm OPENBLAS_LIBRARY ROUNDS MILLISECONDS [TEXT]\n");
    return 2;
  }
  return unspool::run(argv[1], std::atoi(argv[2]), std::atof(argv[3]) * 1e-3, argc == 5 ? argv[4] : "");
}
