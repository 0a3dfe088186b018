// The matrix product over all small sizes, each path forced in turn, and its error over large ones.
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "gemm_fixture.h"
#include "unspool/base/pool.h"

namespace unspool {
namespace {

constexpr std::int64_t kMax = 33;
constexpr std::size_t kGuard = 16;

double a_at(std::int64_t i, std::int64_t p) { return static_cast<double>((i * 3 + p * 5) % 7 - 3); }
double b_at(std::int64_t p, std::int64_t j) { return static_cast<double>((p * 2 + j * 3) % 5 - 2); }

// sum over p < k of a(i, p) b(p, j), for all k up to kMax: what every size is compared with.
class Products {
 public:
  Products() : v_(static_cast<std::size_t>((kMax + 1) * kMax * kMax)) {
    for (std::int64_t k = 0; k < kMax; ++k)
      for (std::int64_t i = 0; i < kMax; ++i)
        for (std::int64_t j = 0; j < kMax; ++j) at(k + 1, i, j) = at(k, i, j) + a_at(i, k) * b_at(k, j);
  }
  double& at(std::int64_t k, std::int64_t i, std::int64_t j) {
    return v_[static_cast<std::size_t>((k * kMax + i) * kMax + j)];
  }

 private:
  std::vector<double> v_;
};

// rows × columns of f, rows or columns contiguous, or neither. Unused places hold NaN.
template <class T>
struct Operand {
  std::int64_t row, column;
  std::vector<T> v;
  template <class F>
  void set(std::int64_t rows, std::int64_t columns, bool turned, bool spread, const F& f) {
    row = turned ? 1 : columns;
    column = turned ? rows : 1;
    if (spread) {
      row *= turned ? 2 : 3;
      column *= turned ? 3 : 2;
    }
    v.assign(static_cast<std::size_t>(rows * columns * 3 + 1), std::numeric_limits<T>::quiet_NaN());
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j)
        v[static_cast<std::size_t>(i * row + j * column)] = static_cast<T>(f(i, j));
  }
};

// Of C: before the call, after it, and where guards surround it. β = 0 starts from NaN.
template <class T>
struct Output {
  std::int64_t row, column;
  std::vector<T> start, expected, v;
  void set(Products& products, std::int64_t m, std::int64_t n, std::int64_t k, bool accumulate, bool spread) {
    row = spread ? 2 * n + 1 : n;
    column = spread ? 2 : 1;
    start.assign(static_cast<std::size_t>(m * row) + 2 * kGuard, T(77));
    expected = start;
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        const std::size_t at = kGuard + static_cast<std::size_t>(i * row + j * column);
        start[at] = accumulate ? static_cast<T>(i - j) : std::numeric_limits<T>::quiet_NaN();
        expected[at] = static_cast<T>(products.at(k, i, j)) + (accumulate ? start[at] : T(0));
      }
    v = start;
  }
};

// Of A·B, but for where C lies.
template <class T>
GemmCall product_of(std::int64_t m, std::int64_t n, std::int64_t k, const Operand<T>& a,
                    const Operand<T>& b) {
  GemmCall call{.dtype = dtype_of<T>, .m = m, .n = n, .k = k};
  call.a = a.v.data();
  call.a_row = a.row;
  call.a_col = a.column;
  call.b = b.v.data();
  call.b_row = b.row;
  call.b_col = b.column;
  return call;
}

class GemmPaths : public Gemm {
 protected:
  template <class T>
  void all_sizes();
};

// The direct path, and the small one with a panel of full width and all of k, are among the trials too.
constexpr GemmTrial kTrials[] = {{GemmPath::Direct, 16, 32, 5, true},
                                 {GemmPath::Direct, 64, 64, 128, false},
                                 {GemmPath::Small, 64, 64, 128, false},
                                 kSmallBlocks[0],
                                 kSmallBlocks[1],
                                 kSmallBlocks[2]};

template <class T>
void GemmPaths::all_sizes() {
  Products products;
  Operand<T> a[4], b[4];  // turned or not, spread or not
  Output<T> c[4];         // accumulated or not, spread or not
  for (std::int64_t k = 0; k <= kMax; ++k)
    for (std::int64_t m = 0; m <= kMax; ++m) {
      for (int i = 0; i < 4; ++i) a[i].set(m, k, i & 1, i & 2, a_at);
      for (std::int64_t n = 0; n <= kMax; ++n) {
        for (int i = 0; i < 4; ++i) b[i].set(k, n, i & 1, i & 2, b_at);
        for (int i = 0; i < 4; ++i) c[i].set(products, m, n, k, i & 1, i & 2);
        for (const GemmTrial& trial : kTrials)
          for (int flags = 0; flags < 16; ++flags) {
            const bool spread = flags & 8;
            Operand<T>&x = a[(flags & 1) + 2 * spread], &y = b[(flags >> 1 & 1) + 2 * spread];
            Output<T>& z = c[(flags >> 2 & 1) + 2 * spread];
            const bool direct = trial.path == GemmPath::Direct;
            if (direct && y.column != 1) continue;  // it would take another path
            GemmCall call = product_of(m, n, k, x, y);
            call.c = z.v.data() + kGuard;
            call.c_row = z.row;
            call.c_col = z.column;
            call.accumulate = flags & 4;
            call.trial = &trial;
            table_->gemm(call);
            ASSERT_EQ(std::memcmp(z.v.data(), z.expected.data(), z.v.size() * sizeof(T)), 0)
                << m << "x" << n << "x" << k << " flags " << flags << " path " << static_cast<int>(trial.path)
                << (trial.narrow ? " narrow" : "");
            z.v = z.start;
          }
      }
    }
}

TEST_P(GemmPaths, AllSmallSizesOfFloat32AreExact) { all_sizes<float>(); }
TEST_P(GemmPaths, AllSmallSizesOfFloat64AreExact) { all_sizes<double>(); }

// What is told of C while it is made: how often each element, and what it held then.
struct Told {
  const float* c;
  std::int64_t n;
  std::vector<std::atomic<int>> times;
  std::vector<float> held;
  Told(const float* at, std::int64_t rows, std::int64_t columns)
      : c(at),
        n(columns),
        times(static_cast<std::size_t>(rows * columns)),
        held(static_cast<std::size_t>(rows * columns)) {}
  static void done(const void* context, std::int64_t i, std::int64_t j, std::int64_t rows,
                   std::int64_t columns) {
    auto& told = *const_cast<Told*>(static_cast<const Told*>(context));
    for (std::int64_t r = i; r < i + rows; ++r)
      for (std::int64_t x = j; x < j + columns; ++x) {
        const auto at = static_cast<std::size_t>(r * told.n + x);
        ++told.times[at];
        told.held[at] = told.c[at];
      }
  }
};

// Panels of every width, one after the other and shared among threads; each element is told of once, when it
// has its final value, and what is read beside it may end where C does.
TEST_P(GemmPaths, PanelsOfAllWidthsAreExactAndToldOnce) {
  constexpr std::int64_t kK = 20;
  constexpr GemmTrial kWide[] = {{GemmPath::Direct, 64, 528, 128, false},
                                 {GemmPath::Small, 64, 528, 128, false},
                                 {GemmPath::Rows, 64, 528, 128, false},
                                 {GemmPath::Columns, 64, 528, 128, false},
                                 {GemmPath::Columns, 64, 96, 7, false}};
  const int threads = get_num_threads();
  for (const int used : {1, 3}) {
    set_num_threads(used);
    set_parallel_threshold(used == 1 ? kParallelWork : 0);
    for (const std::int64_t m : {9, 70})
      for (std::int64_t n = 1; n <= 160; ++n)
        for (const GemmTrial& trial : kWide) {
          Operand<float> a, b;
          a.set(m, kK, true, false, a_at);
          b.set(kK, n, trial.path == GemmPath::Small, false, b_at);
          std::vector<float> c(static_cast<std::size_t>(m * n), std::nanf("")), beside(c.size());
          Told told(c.data(), m, n);
          GemmCall call = product_of(m, n, kK, a, b);
          call.c = c.data();
          call.c_row = n;
          call.c_col = 1;
          call.done = Told::done;
          call.done_context = &told;
          call.done_reads[0] = beside.data();
          call.trial = &trial;
          table_->gemm(call);
          for (std::int64_t i = 0; i < m; ++i)
            for (std::int64_t j = 0; j < n; ++j) {
              const auto at = static_cast<std::size_t>(i * n + j);
              double exact = 0;
              for (std::int64_t p = 0; p < kK; ++p) exact += a_at(i, p) * b_at(p, j);
              ASSERT_EQ(c[at], exact) << m << "x" << n << " path " << static_cast<int>(trial.path);
              ASSERT_EQ(told.times[at], 1) << m << "x" << n << " path " << static_cast<int>(trial.path);
              ASSERT_EQ(told.held[at], exact) << m << "x" << n << " path " << static_cast<int>(trial.path);
            }
        }
  }
  set_num_threads(threads);
  set_parallel_threshold(kParallelWork);
}

// |computed - exact| <= k u |A||B| for numbers of either sign, with k roundings along a chain.
template <class T, class Run>
void check_error(const Run& run) {
  std::mt19937_64 random(3);
  std::uniform_real_distribution<T> numbers(-1, 1);
  for (int round = 0; round < 6; ++round) {
    const auto size = [&] { return static_cast<std::int64_t>(random() % 300) + 1; };
    const std::int64_t m = size(), n = size(), k = 3 * size();
    std::vector<T> a(static_cast<std::size_t>(m * k)), b(static_cast<std::size_t>(k * n)),
        c(static_cast<std::size_t>(m * n));
    for (auto* v : {&a, &b})
      for (T& x : *v) x = numbers(random);
    GemmCall call{.dtype = dtype_of<T>, .m = m, .n = n, .k = k};
    call.a = a.data();
    call.a_row = round & 1 ? 1 : k;
    call.a_col = round & 1 ? m : 1;
    call.b = b.data();
    call.b_row = round & 2 ? 1 : n;
    call.b_col = round & 2 ? k : 1;
    call.c = c.data();
    call.c_row = n;
    call.c_col = 1;
    run(call);
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        long double exact = 0, magnitude = 0;
        for (std::int64_t p = 0; p < k; ++p) {
          const long double t =
              static_cast<long double>(a[static_cast<std::size_t>(i * call.a_row + p * call.a_col)]) *
              b[static_cast<std::size_t>(p * call.b_row + j * call.b_col)];
          exact += t;
          magnitude += std::abs(t);
        }
        const long double u = std::numeric_limits<T>::epsilon() / 2;
        ASSERT_LE(std::abs(exact - c[static_cast<std::size_t>(i * n + j)]),
                  static_cast<long double>(k + 1) * u * magnitude)
            << m << "x" << n << "x" << k << " at " << i << "," << j;
      }
  }
}

TEST_P(GemmPaths, LargeOnesAreWithinTheBound) {
  check_error<float>([this](const GemmCall& c) { run(c); });
  check_error<double>([this](const GemmCall& c) { run(c); });
}

INSTANTIATE_TEST_SUITE_P(Isas, GemmPaths, testing::Values(Isa::Generic, Isa::Avx2, Isa::Avx512),
                         [](const auto& info) { return isa_name(info.param); });

}  // namespace
}  // namespace unspool
