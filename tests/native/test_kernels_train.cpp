// ReLU, softmax, losses and optimizer updates, against formulas in long double and PyTorch's conventions.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "unspool/kernels/table.h"

namespace unspool {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

template <class T>
View view(T* data, const Shape& shape, const Strides& strides) {
  View v;
  v.data = data;
  v.dtype = dtype_of<T>;
  v.shape = shape;
  v.strides = strides;
  return v;
}
template <class T>
View view(std::vector<T>& data, const Shape& shape) {
  return view(data.data(), shape, contiguous_strides(shape));
}
template <class T>
std::vector<T> numbers(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<T> x(n);
  for (T& v : x) v = static_cast<T>(normal(random));
  return x;
}

class Train : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    table_ = kernel_table(GetParam());
    if (table_ == nullptr) GTEST_SKIP() << isa_name(GetParam()) << " is not available here";
  }
  const KernelTable* table_ = nullptr;
};

template <class T>
void check_relu(const KernelTable& table, bool strided) {
  for (std::int64_t rows : {1, 3})
    for (std::int64_t columns : {1, 2, 15, 16, 63, 64, 65, 130, 600}) {
      const std::int64_t step = strided ? 2 : 1, row = columns * step + (strided ? 3 : 0);
      std::vector<T> x = numbers<T>(static_cast<std::size_t>(rows * row + 8), 4);
      x[0] = -T(0);
      if (columns > 2) {
        x[static_cast<std::size_t>(step)] = std::numeric_limits<T>::quiet_NaN();
        x[static_cast<std::size_t>(2 * step)] = 0;
      }
      std::vector<T> y(x.size(), 5), g(x.size(), static_cast<T>(kInf));
      const std::int64_t words = (columns + 63) / 64;
      std::vector<std::uint64_t> mask(static_cast<std::size_t>(rows * words) + 1, 0xabcd);
      const View in = view(x.data(), {rows, columns}, {row, step});
      const View out = view(y.data(), {rows, columns}, {row, step});
      const View gradient = view(g.data(), {rows, columns}, {row, step});
      table.relu(out, in, mask.data());
      EXPECT_EQ(mask.back(), 0xabcdu);
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < words * 64; ++j) {
          const bool bit = (mask[static_cast<std::size_t>(i * words + j / 64)] >> (j % 64)) & 1;
          if (j >= columns) {
            ASSERT_FALSE(bit);
            continue;
          }
          const T v = x[static_cast<std::size_t>(i * row + j * step)];
          const T r = y[static_cast<std::size_t>(i * row + j * step)];
          ASSERT_EQ(bit, !(v <= 0));
          const T wanted = v < 0 ? T(0) : v;
          if (std::isnan(v)) {
            ASSERT_TRUE(std::isnan(r));
          } else {
            ASSERT_TRUE(r == wanted && std::signbit(r) == std::signbit(wanted));
          }
        }
      std::vector<T> again(y);
      table.relu(view(again.data(), {rows, columns}, {row, step}), in, nullptr);
      ASSERT_EQ(std::memcmp(again.data(), y.data(), y.size() * sizeof(T)), 0);
      table.relu_backward(gradient, gradient, mask.data());  // selected: no 0 · inf
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < columns; ++j)
          ASSERT_EQ(g[static_cast<std::size_t>(i * row + j * step)],
                    x[static_cast<std::size_t>(i * row + j * step)] <= 0 ? T(0) : static_cast<T>(kInf));
    }
}

TEST_P(Train, ReluKinksAndMasks) {
  for (bool strided : {false, true}) {
    check_relu<float>(*table_, strided);
    check_relu<double>(*table_, strided);
  }
  std::vector<std::int64_t> x = {-3, 0, 4}, y(3);
  table_->relu(view(y, {3}), view(x, {3}), nullptr);
  EXPECT_EQ(y, (std::vector<std::int64_t>{0, 0, 4}));
}

template <class T>
void check_softmax(const KernelTable& table, double tolerance) {
  for (std::int64_t columns : {1, 3, 10, 16, 40, 513, 5000}) {
    const std::int64_t rows = 3;
    std::vector<T> x = numbers<T>(static_cast<std::size_t>(rows * columns), 9);
    const std::vector<T> gv = numbers<T>(x.size(), 10);
    std::vector<T> y(x.size()), l(x.size()), g(gv), ys(x.size()), d(x.size());
    const Shape shape{rows, columns};
    table.softmax(view(y, shape), view(x, shape));
    table.log_softmax(view(l, shape), view(x, shape));
    for (std::int64_t i = 0; i < rows; ++i) {
      long double sum = 0;
      const std::size_t at = static_cast<std::size_t>(i * columns);
      for (std::size_t j = 0; j < static_cast<std::size_t>(columns); ++j)
        sum += std::exp(static_cast<long double>(x[at + j]));
      for (std::size_t j = 0; j < static_cast<std::size_t>(columns); ++j) {
        const long double p = std::exp(static_cast<long double>(x[at + j])) / sum;
        ASSERT_NEAR(y[at + j], p, tolerance * p);
        ASSERT_NEAR(l[at + j], std::log(p), tolerance * (1 + std::fabs(std::log(p))));
      }
    }
    // Columns strided, in and out: the same bits.
    std::vector<T> xt(x.size());
    table.copy(view(xt.data(), shape, {1, rows}), view(x, shape));
    table.softmax(view(ys.data(), shape, {1, rows}), view(xt.data(), shape, {1, rows}));
    table.copy(view(d, shape), view(ys.data(), shape, {1, rows}));
    ASSERT_EQ(d, y);
    table.softmax(view(xt.data(), shape, {1, rows}), view(xt.data(), shape, {1, rows}));
    ASSERT_EQ(xt, ys);
    // Backwards.
    table.softmax_backward(view(d, shape), view(g, shape), view(y, shape));
    table.log_softmax_backward(view(ys, shape), view(g, shape), view(l, shape));
    for (std::int64_t i = 0; i < rows; ++i) {
      long double dot = 0, total = 0, size = 0;
      const std::size_t at = static_cast<std::size_t>(i * columns);
      for (std::size_t j = 0; j < static_cast<std::size_t>(columns); ++j) {
        dot += static_cast<long double>(g[at + j]) * y[at + j];
        total += g[at + j];
        size += std::fabs(g[at + j]);
      }
      for (std::size_t j = 0; j < static_cast<std::size_t>(columns); ++j) {
        ASSERT_NEAR(d[at + j], y[at + j] * (g[at + j] - dot),
                    tolerance * y[at + j] * (4 + std::fabs(g[at + j])));
        ASSERT_NEAR(ys[at + j], g[at + j] - y[at + j] * total,
                    tolerance * (1 + std::fabs(g[at + j]) + y[at + j] * size));
      }
    }
  }
}

TEST_P(Train, SoftmaxAgainstTheFormula) {
  check_softmax<float>(*table_, 2e-6);
  check_softmax<double>(*table_, 2e-14);
}

// Dense rows of few numbers are taken many at once, or in whole registers; rows with gaps one by one.
template <class T>
void check_short_rows(const KernelTable& table) {
  for (std::int64_t rows : {1, 2, 7, 16, 17, 40})
    for (std::int64_t n = 1; n <= 18; ++n) {
      const Shape shape{rows, n};
      const auto size = static_cast<std::size_t>(rows * n);
      std::vector<T> x = numbers<T>(size, static_cast<unsigned>(n)), turned(size);
      x[size / 2] = static_cast<T>(rows == 7 ? kInf : rows == 17 ? -kInf : -0.0);
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < n; ++j)
          turned[static_cast<std::size_t>(j * rows + i)] = x[static_cast<std::size_t>(i * n + j)];
      for (auto* f : {table.softmax, table.log_softmax}) {
        std::vector<T> dense(size), apart(size);
        f(view(dense, shape), view(x, shape));
        f(view(apart, shape), view(turned.data(), shape, {1, rows}));
        EXPECT_EQ(std::memcmp(dense.data(), apart.data(), size * sizeof(T)), 0) << rows << "x" << n;
      }
    }
}

TEST_P(Train, SoftmaxOfShortRowsKeepsTheOrder) {
  check_short_rows<float>(*table_);
  check_short_rows<double>(*table_);
}

TEST_P(Train, SoftmaxExtremes) {
  std::vector<float> x = {1000, 0, -1000, 1e38f, 1e38f, -1e38f}, y(6);
  table_->softmax(view(y, {2, 3}), view(x, {2, 3}));
  EXPECT_EQ(y, (std::vector<float>{1, 0, 0, 0.5, 0.5, 0}));
  table_->log_softmax(view(y, {2, 3}), view(x, {2, 3}));
  EXPECT_EQ(y[1], -1000);
  EXPECT_EQ(y[2], -2000);
  const float inf = static_cast<float>(kInf);
  x = {-inf, -inf, -inf, -inf, 0, 0};
  table_->softmax(view(y, {2, 3}), view(x, {2, 3}));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(std::isnan(y[static_cast<std::size_t>(i)]));
  EXPECT_EQ(y[3], 0);
  EXPECT_EQ(y[4], 0.5);
  table_->log_softmax(view(y, {2, 3}), view(x, {2, 3}));
  EXPECT_EQ(y[3], -inf);
}

// The gradient against central differences of the losses, weighted, smoothed and with an ignored row.
TEST_P(Train, CrossEntropy) {
  const std::int64_t rows = 4, classes = 5;
  const Shape shape{rows, classes};
  std::vector<double> x = numbers<double>(20, 12), weights = {0.5, 1, 2, 1.5, 0.25}, g = {1, -2, 0.5, 3};
  const std::vector<std::int64_t> target = {0, 4, -100, 2};
  const View weight = view(weights, {classes});
  for (double smoothing : {0.0, 0.2})
    for (bool weighted : {false, true}) {
      CrossEntropyCall call{};
      call.target = target.data();
      call.weight = weighted ? &weight : nullptr;
      call.label_smoothing = smoothing;
      std::vector<double> losses(4), lp(20), grad(20);
      auto evaluate = [&] {
        table_->cross_entropy(view(losses, {rows}), view(lp, shape), view(x, shape), call);
        double total = 0;
        for (std::size_t i = 0; i < 4; ++i) total += losses[i] * g[i];
        return total;
      };
      evaluate();
      EXPECT_EQ(losses[2], 0);
      for (std::size_t r : {0u, 1u, 3u}) {
        double smooth = 0;
        for (std::size_t c = 0; c < 5; ++c) smooth -= lp[r * 5 + c] * (weighted ? weights[c] : 1);
        const std::size_t t = static_cast<std::size_t>(target[r]);
        const double nll = -lp[r * 5 + t] * (weighted ? weights[t] : 1);
        EXPECT_NEAR(losses[r], (1 - smoothing) * nll + smoothing / 5 * smooth, 1e-14);
      }
      table_->cross_entropy_backward(view(grad, shape), view(lp, shape), view(g, {rows}), call);
      for (std::size_t i = 0; i < 20; ++i) {
        const double kept = x[i], h = 1e-5;
        x[i] = kept + h;
        const double up = evaluate();
        x[i] = kept - h;
        const double down = evaluate();
        x[i] = kept;
        EXPECT_NEAR(grad[i], (up - down) / (2 * h), 1e-8) << i;
      }
    }
  EXPECT_EQ(table_->check_labels(target.data(), 4, 5, -100), -1);
  EXPECT_EQ(table_->check_labels(target.data(), 4, 4, -100), 1);
  EXPECT_EQ(table_->check_labels(target.data(), 4, 5, -1), 2);
}

TEST_P(Train, SquaredError) {
  std::vector<float> a = numbers<float>(1200, 1), b = numbers<float>(1200, 2), y(1), d(1200), g = {3};
  double sum = 0;
  for (std::size_t i = 0; i < 1200; ++i)
    sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  table_->mse(view(y.data(), {}, {}), view(a, {30, 40}), view(b.data(), {30, 40}, {40, 1}),
              MseReduction::Sum);
  EXPECT_NEAR(y[0], sum, 1e-3);
  const View first = view(a.data(), {30, 40}, {40, 1});
  table_->mse(view(y.data(), {}, {}), first, view(b.data(), {30, 40}, {40, 1}), MseReduction::Mean);
  EXPECT_NEAR(y[0], sum / 1200, 1e-6);
  // The row-major sequence decides, not the strides.
  std::vector<float> at(1200), bt(1200);
  table_->copy(view(at.data(), {30, 40}, {1, 30}), first);
  table_->copy(view(bt.data(), {30, 40}, {1, 30}), view(b, {30, 40}));
  std::vector<float> z(1);
  table_->mse(view(z.data(), {}, {}), view(at.data(), {30, 40}, {1, 30}), view(bt.data(), {30, 40}, {1, 30}),
              MseReduction::Mean);
  EXPECT_EQ(z[0], y[0]);
  table_->mse(view(d, {30, 40}), first, view(b, {30, 40}), MseReduction::None);
  EXPECT_EQ(d[77], (a[77] - b[77]) * (a[77] - b[77]));
  table_->mse_backward(view(d, {30, 40}), first, view(b, {30, 40}), 0.5, view(g.data(), {30, 40}, {0, 0}));
  for (std::size_t i = 0; i < 1200; ++i) ASSERT_EQ(d[i], (a[i] - b[i]) * 1.0f * 3.0f);
}

// One element through every switch, in PyTorch's order; n = 21 also covers the tail.
TEST_P(Train, SgdFollowsPyTorch) {
  const bool has_fma = GetParam() != Isa::Generic;
  auto fma = [&](float a, float b, float c) {
    const float product = a * b;
    return has_fma ? std::fma(a, b, c) : product + c;
  };
  for (int flags = 0; flags < 8; ++flags) {
    SgdCall call{};
    const bool momentum = flags & 1;
    std::vector<float> p = numbers<float>(21, 1), buffer(21, 0), wanted = p, state(21, 0);
    call.dtype = DType::Float32;
    call.n = 21;
    call.param = p.data();
    call.lr = 0.1;
    call.weight_decay = 0.01;
    call.nesterov = momentum && (flags & 2);
    call.maximize = flags & 4;
    call.momentum = momentum ? 0.9 : 0;
    call.dampening = call.nesterov ? 0 : 0.25;
    call.momentum_buffer = momentum ? buffer.data() : nullptr;
    for (int step = 0; step < 3; ++step) {
      const std::vector<float> grad = numbers<float>(21, static_cast<unsigned>(20 + step));
      call.grad = grad.data();
      call.first = step == 0;
      table_->sgd(call);
      for (std::size_t i = 0; i < 21; ++i) {
        float g = call.maximize ? -grad[i] : grad[i];
        g = fma(0.01f, wanted[i], g);
        if (momentum) {
          const float decayed = state[i] * 0.9f;
          state[i] = step == 0 ? g : fma(static_cast<float>(1 - call.dampening), g, decayed);
          g = call.nesterov ? fma(0.9f, state[i], g) : state[i];
        }
        wanted[i] = fma(-0.1f, g, wanted[i]);
        ASSERT_EQ(p[i], wanted[i]);
      }
    }
  }
}

TEST_P(Train, AdamAgainstTheFormula) {
  for (int flags = 0; flags < 8; ++flags) {
    AdamCall call{};
    std::vector<double> p = numbers<double>(21, 1), m(21, 0), v(21, 0), top(21, 0);
    std::vector<double> wanted = p, wm(21, 0), wv(21, 0), wtop(21, 0);
    call.dtype = DType::Float64;
    call.n = 21;
    call.param = p.data();
    call.exp_avg = m.data();
    call.exp_avg_sq = v.data();
    call.max_exp_avg_sq = (flags & 1) ? top.data() : nullptr;
    call.decoupled = flags & 2;
    call.maximize = flags & 4;
    call.lr = 0.01;
    call.beta1 = (flags & 4) ? 0.3 : 0.9;
    call.beta2 = 0.99;
    call.eps = 1e-8;
    call.weight_decay = 0.1;
    for (int step = 1; step <= 4; ++step) {
      const std::vector<double> grad = numbers<double>(21, static_cast<unsigned>(20 + step));
      call.grad = grad.data();
      call.step = step;
      table_->adam(call);
      for (std::size_t i = 0; i < 21; ++i) {
        double g = call.maximize ? -grad[i] : grad[i];
        if (call.decoupled)
          wanted[i] *= 1 - 0.01 * 0.1;
        else
          g += 0.1 * wanted[i];
        wm[i] = call.beta1 * wm[i] + (1 - call.beta1) * g;
        wv[i] = 0.99 * wv[i] + (1 - 0.99) * g * g;
        wtop[i] = std::max(wtop[i], wv[i]);
        const double spread = (flags & 1) ? wtop[i] : wv[i];
        wanted[i] -= 0.01 / (1 - std::pow(call.beta1, step)) * wm[i] /
                     (std::sqrt(spread) / std::sqrt(1 - std::pow(0.99, step)) + 1e-8);
        ASSERT_NEAR(p[i], wanted[i], 1e-14);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, Train, testing::Values(Isa::Generic, Isa::Avx2, Isa::Avx512),
                         [](const auto& info) { return isa_name(info.param); });

}  // namespace
}  // namespace unspool
