// The matrix product: exact against whole numbers, and the same bits by whatever path.
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "gemm_fixture.h"

namespace unspool {
namespace {

// A matrix in a larger array: contiguous, transposed, or with both strides spread.
template <class T>
struct Matrix {
  enum Layout { Rows, Columns, Spread };
  std::int64_t rows, columns, row, column;
  std::vector<T> data;
  Matrix(std::int64_t r, std::int64_t c, Layout layout, T filler) : rows(r), columns(c) {
    row = layout == Columns ? 1 : layout == Rows ? c : 2 * c + 3;
    column = layout == Columns ? r : layout == Rows ? 1 : 2;
    data.assign(static_cast<std::size_t>((r + 1) * (2 * c + 3) + 64), filler);
  }
  T& at(std::int64_t i, std::int64_t j) { return data[static_cast<std::size_t>(32 + i * row + j * column)]; }
  T* begin() { return data.data() + 32; }
};

template <class T>
GemmCall make_call(Matrix<T>& a, Matrix<T>& b, Matrix<T>& c, const T* bias, bool accumulate) {
  GemmCall call{};
  call.dtype = dtype_of<T>;
  call.m = c.rows;
  call.n = c.columns;
  call.k = a.columns;
  call.a = a.begin();
  call.a_row = a.row;
  call.a_col = a.column;
  call.b = b.begin();
  call.b_row = b.row;
  call.b_col = b.column;
  call.c = c.begin();
  call.c_row = c.row;
  call.c_col = c.column;
  call.bias = bias;
  call.bias_stride = 1;
  call.accumulate = accumulate;
  return call;
}

#define CHECK_EXACT(T, ...) check_exact<T>(__VA_ARGS__, [this](const GemmCall& c) { run(c); })

// Whole numbers are exact in any order, so the comparison is by ==; the guards around C stay.
template <class T, class Run>
void check_exact(std::int64_t m, std::int64_t n, std::int64_t k, int la, int lb, int lc, bool bias,
                 bool accumulate, const Run& run) {
  using M = Matrix<T>;
  T nan{};
  if constexpr (std::is_floating_point_v<T>) nan = static_cast<T>(std::nan(""));
  const T guard = static_cast<T>(77);
  M a(m, k, static_cast<typename M::Layout>(la), guard);
  M b(k, n, static_cast<typename M::Layout>(lb), guard);
  M c(m, n, static_cast<typename M::Layout>(lc), guard);
  std::vector<T> bias_data(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t p = 0; p < k; ++p) a.at(i, p) = static_cast<T>((i * 3 + p * 5) % 7 - 3);
  for (std::int64_t p = 0; p < k; ++p)
    for (std::int64_t j = 0; j < n; ++j) b.at(p, j) = static_cast<T>((p * 2 + j * 3) % 5 - 2);
  for (std::int64_t j = 0; j < n; ++j) bias_data[static_cast<std::size_t>(j)] = static_cast<T>(j + 1);
  M expected = c;
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      T sum = bias ? static_cast<T>(j + 1) : T(0);
      for (std::int64_t p = 0; p < k; ++p) sum += a.at(i, p) * b.at(p, j);
      c.at(i, j) = accumulate ? static_cast<T>(i - j) : (std::is_floating_point_v<T> ? nan : guard);
      expected.at(i, j) = accumulate ? static_cast<T>(i - j) + sum : sum;
    }
  run(make_call(a, b, c, bias ? bias_data.data() : nullptr, accumulate));
  ASSERT_EQ(c.data, expected.data) << m << "x" << n << "x" << k << " layouts " << la << lb << lc << " bias "
                                   << bias << " accumulate " << accumulate;
}

TEST_P(Gemm, SmallSizesAreExact) {
  int turn = 0;
  for (std::int64_t m = 0; m <= 17; m += m < 3 ? 1 : 2)
    for (std::int64_t n = 0; n <= 17; n += n < 3 ? 1 : 2)
      for (std::int64_t k = 0; k <= 17; k += k < 3 ? 1 : 3)
        for (int layouts = 0; layouts < 27; ++layouts) {
          const int flags = turn++ % 4;
          CHECK_EXACT(float, m, n, k, layouts % 3, layouts / 3 % 3, layouts / 9, flags & 1, flags >> 1);
          if (layouts % 2 == 0)
            CHECK_EXACT(double, m, n, k, layouts % 3, layouts / 3 % 3, layouts / 9, flags & 1, flags >> 1);
        }
}

TEST_P(Gemm, IntegersAreExact) {
  for (std::int64_t m : {0, 1, 5})
    for (std::int64_t n : {1, 7})
      for (std::int64_t k : {0, 1, 9})
        for (int layouts = 0; layouts < 27; ++layouts) {
          CHECK_EXACT(std::int32_t, m, n, k, layouts % 3, layouts / 3 % 3, layouts / 9, true, true);
          CHECK_EXACT(std::int64_t, m, n, k, layouts % 3, layouts / 3 % 3, layouts / 9, false, false);
        }
}

// The sizes of gemm.h, and one less and one more: rows and k of the direct and the small path, the blocks of
// the others, which by columns are 576 KiB of B in whole panels.
TEST_P(Gemm, BlockEdgesAreExact) {
  std::vector<std::array<std::int64_t, 3>> sizes = {{64, 64, 64},  {129, 97, 65},  {1, 300, 700},
                                                    {300, 1, 700}, {33, 530, 130}, {100, 100, 1030}};
  for (std::int64_t by : {-1, 0, 1}) {
    sizes.insert(sizes.end(),
                 {{16 + by, 49, 129}, {17, 60, 128 + by}, {20, 70, 512 + by}, {20, 70, 384 + by}});
    sizes.insert(sizes.end(), {{512 + by, 520, 5},
                               {256 + by, 260, 9},
                               {300, 528 + by, 9},
                               {300, 264 + by, 9},
                               {80, 1440 + by, 100},
                               {80, 720 + by, 100},
                               {720 + by, 33, 520}});
  }
  for (const auto& s : sizes)
    for (int layouts : {0, 1, 3, 4, 2, 9, 13, 18})
      for (int flags : {0, 3}) {
        CHECK_EXACT(float, s[0], s[1], s[2], layouts % 3, layouts / 3 % 3, layouts / 9, flags & 1,
                    flags >> 1);
        CHECK_EXACT(double, s[0], s[1], s[2], layouts % 3, layouts / 3 % 3, layouts / 9, flags & 1,
                    flags >> 1);
      }
}

// The law of bits: an element is one chain over k, so neither layout nor path nor neighbours show.
template <class T, class Run>
void check_bits(bool has_fma, const Run& run) {
  using M = Matrix<T>;
  std::mt19937_64 random(7);
  std::normal_distribution<T> normal;
  const std::int64_t sizes[][3] = {{3, 5, 7}, {10, 40, 40}, {70, 90, 600}, {2, 3, 1100}, {200, 2, 50}};
  for (const auto& s : sizes) {
    const std::int64_t m = s[0], n = s[1], k = s[2];
    std::vector<T> av(static_cast<std::size_t>(m * k)), bv(static_cast<std::size_t>(k * n)),
        bias(static_cast<std::size_t>(n)), cv(static_cast<std::size_t>(m * n));
    for (auto* v : {&av, &bv, &bias, &cv})
      for (T& x : *v) x = normal(random);
    for (int layouts = 0; layouts < 27; ++layouts)
      for (bool accumulate : {false, true}) {
        M a(m, k, static_cast<typename M::Layout>(layouts % 3), T(0));
        M b(k, n, static_cast<typename M::Layout>(layouts / 3 % 3), T(0));
        M c(m, n, static_cast<typename M::Layout>(layouts / 9), T(0));
        for (std::int64_t i = 0; i < m; ++i)
          for (std::int64_t p = 0; p < k; ++p) a.at(i, p) = av[static_cast<std::size_t>(i * k + p)];
        for (std::int64_t p = 0; p < k; ++p)
          for (std::int64_t j = 0; j < n; ++j) b.at(p, j) = bv[static_cast<std::size_t>(p * n + j)];
        for (std::int64_t i = 0; i < m; ++i)
          for (std::int64_t j = 0; j < n; ++j) c.at(i, j) = cv[static_cast<std::size_t>(i * n + j)];
        run(make_call(a, b, c, bias.data(), accumulate));
        for (std::int64_t i = 0; i < m; ++i)
          for (std::int64_t j = 0; j < n; ++j) {
            T acc = 0;
            for (std::int64_t p = 0; p < k; ++p) {
              const T x = av[static_cast<std::size_t>(i * k + p)],
                      y = bv[static_cast<std::size_t>(p * n + j)];
              if (has_fma) {
                acc = std::fma(x, y, acc);
              } else {
                const T product = x * y;
                acc = acc + product;
              }
            }
            acc = acc + bias[static_cast<std::size_t>(j)];
            if (accumulate) acc = cv[static_cast<std::size_t>(i * n + j)] + acc;
            ASSERT_EQ(c.at(i, j), acc)
                << m << "x" << n << "x" << k << " layouts " << layouts << " at " << i << "," << j;
          }
      }
  }
}

TEST_P(Gemm, EveryPathIsTheSameChain) {
  const bool has_fma = GetParam() != Isa::Generic;
  check_bits<float>(has_fma, [this](const GemmCall& c) { run(c); });
  check_bits<double>(has_fma, [this](const GemmCall& c) { run(c); });
}

// What is fused gives the bits of the kernels that it replaces. The odd values in A and B: a gradient's
// zeros of both signs, and infinities, which a masked 0 turns into NaN.
template <class T>
std::vector<T> noise(std::mt19937_64& random, std::int64_t count) {
  std::normal_distribution<T> normal;
  std::vector<T> v(static_cast<std::size_t>(count));
  for (T& x : v) x = normal(random);
  if (count > 20) {
    v[3] = T(-0.0);
    v[7] = std::numeric_limits<T>::infinity();
  }
  return v;
}
template <class T>
View view_of(std::vector<T>& v, Shape shape) {
  Strides strides;
  for (int d = 0; d < shape.ndim; ++d) strides.push(d == 0 && shape.ndim == 2 ? shape[1] : 1);
  return {v.data(), dtype_of<T>, shape, strides};
}
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {  // NaNs of one kind are equal
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0 && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
  return true;
}

// The path that a size takes, and each of the others with small blocks.
const GemmTrial* const kFusedTrials[] = {nullptr, &kSmallBlocks[0], &kSmallBlocks[1], &kSmallBlocks[2]};

constexpr std::int64_t kFusedSizes[][3] = {{1, 1, 1},     {3, 5, 7},      {10, 40, 40},   {40, 10, 10},
                                           {17, 65, 33},  {9, 64, 130},   {33, 129, 64},  {64, 64, 64},
                                           {65, 47, 200}, {128, 200, 90}, {20, 130, 600}, {100, 7, 5000},
                                           {5, 3, 0},     {700, 49, 3},   {30, 1, 60}};

// relu(c + A·B + bias) with its mask, against the product, the sums and the relu kernel in turn.
template <class T, class Run>
void check_relu(const KernelTable& table, const Run& run) {
  std::mt19937_64 random(11);
  for (const auto& s : kFusedSizes)
    for (int flags = 0; flags < 16; ++flags) {
      const std::int64_t m = s[0], n = s[1], k = s[2], words = m * ((n + 63) / 64);
      const bool with_mask = flags & 1, accumulate = flags & 2, with_bias = flags & 4, turned = flags & 8;
      auto a = noise<T>(random, m * k), b = noise<T>(random, k * n), bias = noise<T>(random, n),
           c = noise<T>(random, m * n);
      GemmCall call{.dtype = dtype_of<T>, .m = m, .n = n, .k = k, .a = a.data(), .a_row = k, .a_col = 1};
      call.b = b.data();
      call.b_row = turned ? 1 : n;
      call.b_col = turned ? k : 1;
      call.c_row = n;
      call.c_col = 1;
      std::vector<T> expected(static_cast<std::size_t>(m * n));
      call.c = expected.data();
      run(call);
      for (std::int64_t i = 0; i < m * n; ++i) {
        const auto at = static_cast<std::size_t>(i);
        if (with_bias) expected[at] = expected[at] + bias[static_cast<std::size_t>(i % n)];
        if (accumulate) expected[at] = c[at] + expected[at];
      }
      std::vector<std::uint64_t> expected_mask(static_cast<std::size_t>(words + 2), ~0ull),
          mask = expected_mask;  // a guard on either side
      const View y = view_of(expected, {m, n});
      table.relu(y, y, expected_mask.data() + 1);
      call.trial = kFusedTrials[random() % 4];
      call.c = c.data();
      call.bias = with_bias ? bias.data() : nullptr;
      call.accumulate = accumulate;
      call.relu = true;
      call.relu_mask = with_mask ? mask.data() + 1 : nullptr;
      run(call);
      ASSERT_TRUE(same_bits(c, expected)) << m << "x" << n << "x" << k << " flags " << flags;
      if (with_mask) {
        ASSERT_EQ(mask, expected_mask) << m << "x" << n << "x" << k << " flags " << flags;
      }
      // Into a C whose columns are not contiguous.
      std::vector<T> wide(static_cast<std::size_t>(m * n * 2), T(77));
      call.c = wide.data();
      call.c_row = 2 * n;
      call.c_col = 2;
      call.accumulate = false;
      std::fill(mask.begin(), mask.end(), ~0ull);
      run(call);
      if (!accumulate) {
        for (std::int64_t i = 0; i < m * n; ++i) {
          c[static_cast<std::size_t>(i)] = wide[static_cast<std::size_t>(2 * i)];
          ASSERT_EQ(wide[static_cast<std::size_t>(2 * i + 1)], T(77));
        }
        ASSERT_TRUE(same_bits(c, expected)) << m << "x" << n << "x" << k << " flags " << flags;
        if (with_mask) {
          ASSERT_EQ(mask, expected_mask) << m << "x" << n << "x" << k << " flags " << flags;
        }
      }
    }
}

TEST_P(Gemm, ReluIsTheReluKernel) {
  check_relu<float>(*table_, [this](const GemmCall& c) { run(c); });
  check_relu<double>(*table_, [this](const GemmCall& c) { run(c); });
}

// A layer's gradients from g: G·W, and Gᵀ·X with the sums of G, on each path and from a G whose elements lie
// apart, against plain products and sum. (batch × out)·(out × in) and (out × batch)·(batch × in).
template <class T, class Run>
void check_gradients(const KernelTable& table, const Run& run) {
  std::mt19937_64 random(13);
  for (const auto& s : kFusedSizes)
    for (int flags = 0; flags < 4; ++flags) {
      const std::int64_t batch = s[0], out = s[1], in = s[2];
      const bool accumulate = flags & 1, spread = flags & 2;
      auto g = noise<T>(random, batch * out), w = noise<T>(random, out * in),
           x = noise<T>(random, batch * in);
      std::vector<T> wide(g.size() * 2);
      for (std::size_t i = 0; i < g.size(); ++i) wide[2 * i] = g[i];
      const std::int64_t g_row = spread ? 2 * out : out, g_col = spread ? 2 : 1;
      const void* g_data = spread ? wide.data() : g.data();

      GemmCall dx{.dtype = dtype_of<T>, .m = batch, .n = in, .k = out, .a = g.data(), .a_row = out};
      dx.a_col = dx.b_col = dx.c_col = 1;
      dx.b = w.data();
      dx.b_row = dx.c_row = in;
      GemmCall dw{.dtype = dtype_of<T>, .m = out, .n = in, .k = batch, .a = g.data(), .a_row = 1};
      dw.a_col = out;
      dw.b = x.data();
      dw.b_row = dw.c_row = in;
      dw.b_col = dw.c_col = 1;
      std::vector<T> sums(static_cast<std::size_t>(out) + 1, T(77)), expected_sums = sums;
      table.sum(view_of(expected_sums, {1, out}), view_of(g, {batch, out}), 1);
      for (GemmCall* call : {&dx, &dw}) {
        call->accumulate = accumulate;
        auto c = noise<T>(random, call->m * call->n), expected = c;
        call->c = expected.data();
        run(*call);
        call->trial = kFusedTrials[random() % 4];
        call->c = c.data();
        call->a = g_data;
        call->a_row = call == &dx ? g_row : g_col;
        call->a_col = call == &dx ? g_col : g_row;
        if (call == &dw) call->a_sums = sums.data();
        run(*call);
        ASSERT_TRUE(same_bits(c, expected))
            << batch << "x" << out << "x" << in << " flags " << flags << (call == &dx ? " dx" : " dw");
      }
      ASSERT_TRUE(same_bits(sums, expected_sums)) << batch << "x" << out << "x" << in << " flags " << flags;
    }
}

TEST_P(Gemm, GradientsAndSumsOfALayer) {
  check_gradients<float>(*table_, [this](const GemmCall& c) { run(c); });
  check_gradients<double>(*table_, [this](const GemmCall& c) { run(c); });
}

INSTANTIATE_TEST_SUITE_P(Isas, Gemm, testing::Values(Isa::Generic, Isa::Avx2, Isa::Avx512),
                         [](const auto& info) { return isa_name(info.param); });

}  // namespace
}  // namespace unspool
