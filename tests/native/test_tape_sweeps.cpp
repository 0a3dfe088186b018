// Sweeps of the tape: derivatives of derivatives, tangents, a million nodes on a small stack, several
// threads.
#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <thread>

#include "tape_fixture.h"

namespace unspool {
namespace {

// ---- Derivatives of derivatives, and the tangent sweep ---------------------------------------------

TEST_F(Tape, ADerivativeIsDifferentiatedAgain) {
  const Tensor x = leaf({}, {0.5});
  Tensor y = x * x * x * x * x;
  for (double expected : {5 * std::pow(0.5, 4), 20 * std::pow(0.5, 3), 60 * 0.25, 60.0}) {
    y = grad_of(y, x, true);
    EXPECT_NEAR(values(y)[0], expected, 1e-12);
  }
  EXPECT_FALSE(x->grad);
}

TEST_F(Tape, RulesAreRecordedForCreateGraphAlone) {
  const Tensor x = leaf({2, 2}, {1, 2, 3, 4});
  run_backward(sum(matmul(exp(x), x) * x));
  EXPECT_FALSE(x->grad.requires_grad());
  EXPECT_EQ(x->grad->node, nullptr);
  EXPECT_FALSE(grad_of(sum(matmul(x, x)), x).requires_grad());
  EXPECT_TRUE(grad_of(sum(matmul(x, x)), x, true).requires_grad());
}

// One function with maps, broadcasts, views, products and a reduction.
Tensor mixed(const Tensor& w, const Tensor& b, const Tensor& x) {
  const Tensor h = tanh(linear(x, w, b));                           // 4×3
  const Tensor t = transpose(h, 0, 1) * 0.5;                        // 3×4
  const Tensor part = slice(exp(h), 0, 1, 3, 1) + select(h, 0, 0);  // 2×3
  return sum(matmul(t, h)) + sum(part * part) / sum(sigmoid(h));
}

TEST_F(Tape, TangentsAgreeWithGradients) {
  auto filled = [](const Shape& shape, double seed) {
    Tensor t = empty(shape, DType::Float64);
    for (std::int64_t i = 0; i < t.numel(); ++i)
      reinterpret_cast<double*>(t->data)[i] = std::sin(seed + 1.7 * static_cast<double>(i));
    return t;
  };
  const Tensor inputs[] = {filled({3, 5}, 1), filled({3}, 2), filled({4, 5}, 3)};
  const Tensor tangents[] = {filled({3, 5}, 4), filled({3}, 5), filled({4, 5}, 6)};
  for (const Tensor& t : inputs) t->requires_grad = true;
  const Tensor y = mixed(inputs[0], inputs[1], inputs[2]);
  const Tensor outputs[] = {y}, nothing[] = {Tensor()};
  const double forward = values(jvp(outputs, inputs, tangents)[0])[0];
  double reverse = 0.0;
  const auto g = grad(outputs, nothing, inputs, {.retain_graph = true});
  for (std::size_t k = 0; k < 3; ++k)
    for (std::size_t i = 0; i < values(g[k]).size(); ++i) reverse += values(g[k])[i] * values(tangents[k])[i];
  EXPECT_NEAR(forward, reverse, 1e-12 * std::max(1.0, std::abs(reverse)));
  EXPECT_GT(std::abs(reverse), 1e-3);

  // And central differences along the tangent.
  auto moved = [&](double step) {
    const GradMode off(false);
    return values(mixed(inputs[0] + tangents[0] * step, inputs[1] + tangents[1] * step,
                        inputs[2] + tangents[2] * step))[0];
  };
  EXPECT_NEAR((moved(1e-6) - moved(-1e-6)) / 2e-6, forward, 1e-7 * std::max(1.0, std::abs(forward)));
}

// A tangent has its result's shape also where the one input that has a tangent is broadcast.
TEST_F(Tape, TangentsAreBroadcast) {
  const Tensor x = vector_leaf({1, 2}), wide = tensor({3, 2}, {1, 2, 3, 4, 5, 6});
  const Tensor outputs[] = {x + wide, wide - x, x * wide}, inputs[] = {x};
  const Tensor tangents[] = {vector({10, 20})};
  const auto dy = jvp(outputs, inputs, tangents);
  for (const Tensor& t : dy) ASSERT_EQ(t.shape(), (Shape{3, 2}));
  EXPECT_EQ(values(dy[0]), (Values{10, 20, 10, 20, 10, 20}));
  EXPECT_EQ(values(dy[1]), (Values{-10, -20, -10, -20, -10, -20}));
  EXPECT_EQ(values(dy[2]), (Values{10, 40, 30, 80, 50, 120}));
  const Tensor unrelated[] = {wide * 2.0};
  EXPECT_FALSE(jvp(unrelated, inputs, tangents)[0]);
}

TEST_F(Tape, TangentsThroughInPlaceWrites) {
  const Tensor x = vector_leaf({2, 3});
  const Tensor y = x * 1.0, z = view(y, {2, 1});
  mul_(z, wrapped_number(3.0));
  mul_(y, x);  // 3x²
  const Tensor outputs[] = {y, z}, inputs[] = {x}, tangents[] = {vector({1, 10})};
  const auto dy = jvp(outputs, inputs, tangents);
  EXPECT_EQ(values(dy[0]), (Values{12, 180}));
  EXPECT_EQ(values(dy[1]), (Values{12, 180}));
}

// ---- A million nodes ---------------------------------------------------------------------------------

constexpr std::size_t kSmallStack = 256 * 1024;
constexpr int kMillion = 1000000;

void on_small_stack(const std::function<void()>& work) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, kSmallStack), 0);
  pthread_t thread;
  auto run = [](void* f) -> void* {
    (*static_cast<const std::function<void()>*>(f))();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, run, const_cast<void*>(static_cast<const void*>(&work))), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

TEST_F(Tape, AMillionNodesAreRewoundOnASmallStack) {
  const Tensor x = vector_leaf({1, 1});
  on_small_stack([&] {
    Tensor y = x;
    for (int i = 0; i < kMillion; ++i) y = y * 1.0;
    EXPECT_GT(memory_stats().live_bytes, 96ll * kMillion);
    run_backward(sum(y));
  });
  EXPECT_EQ(values(x->grad), (Values{1, 1}));
}

TEST_F(Tape, AMillionNodesAreDroppedOnASmallStack) {
  const Tensor x = vector_leaf({1, 1});
  on_small_stack([&] {
    Tensor y = x;
    for (int i = 0; i < kMillion; ++i) y = y * x;  // every node keeps its input, too
  });
}

TEST_F(Tape, AMillionNodesAreDroppedByAnError) {
  const Tensor x = vector_leaf({1, 1});
  on_small_stack([&] {
    broken = true;
    Tensor y = fragile(x);
    for (int i = 0; i < kMillion; ++i) y = y + x;
    EXPECT_NE(message_of([&] { run_backward(sum(y)); }), "");
    broken = false;
  });
}

TEST_F(Tape, AMillionWritesAndViewsOnASmallStack) {
  const Tensor x = vector_leaf({1, 1}), zero = vector({0});
  on_small_stack([&] {
    const Tensor y = x * 1.0;
    for (int i = 0; i < kMillion / 4; ++i) {
      add_(y, wrapped_number(0.0));
      add_(slice(y, 0, 1, 2, 1), zero);
    }
    Tensor z = y;
    for (int i = 0; i < kMillion / 4; ++i) z = view(view(z, {2, 1}), {2});
    run_backward(sum(z));
  });
  EXPECT_EQ(values(x->grad), (Values{1, 1}));
}

TEST_F(Tape, ALongChainIsDifferentiatedTwiceAndPushedForward) {
  const Tensor x = vector_leaf({1, 1});
  on_small_stack([&] {
    Tensor y = x * x;
    for (int i = 0; i < kMillion / 10; ++i) y = y * 1.0;
    const Tensor g = grad_of(sum(y), x, true);
    EXPECT_EQ(values(grad_of(sum(g * g), x)), (Values{8, 8}));
    const Tensor outputs[] = {y}, inputs[] = {x}, tangents[] = {vector({1, 2})};
    EXPECT_EQ(values(jvp(outputs, inputs, tangents)[0]), (Values{2, 4}));
  });
}

// ---- Threads -----------------------------------------------------------------------------------------

TEST_F(Tape, GradModeBelongsToItsThread) {
  const GradMode off(false);
  bool other = false;
  std::thread([&] { other = grad_enabled(); }).join();
  EXPECT_TRUE(other);
}

TEST_F(Tape, AGraphMayChangeThreads) {
  const Tensor x = vector_leaf({1, 2});
  Tensor loss;
  std::thread([&] {
    Tensor y = x;
    for (int i = 0; i < 1000; ++i) y = y * 1.0 + x;
    loss = sum(y);
  }).join();
  std::thread([&] { run_backward(loss); }).join();
  std::thread([&] { loss = Tensor(); }).join();
  EXPECT_EQ(values(x->grad), (Values{1001, 1001}));
}

}  // namespace
}  // namespace unspool
