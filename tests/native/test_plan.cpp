// Plans without Python: a training step replays to the bits of the eager one, fused or not, allocates
// nothing, and does so in several threads at once, each with a plan of its own.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "malloc_count.h"
#include "unspool/base/alloc.h"
#include "unspool/base/error.h"
#include "unspool/base/pool.h"
#include "unspool/ops/ops.h"
#include "unspool/ops/update.h"
#include "unspool/plan/batches.h"
#include "unspool/plan/plan.h"
#include "unspool/tape/node.h"
#include "unspool/tape/sweep.h"

namespace unspool {
namespace {

using Bits = std::string;
Bits bits(const Tensor& t) {
  const GradMode off(false);
  const Tensor dense = contiguous(t);
  return {static_cast<const char*>(dense->data),
          static_cast<std::size_t>(dense.numel()) * item_size(dense.dtype())};
}

// Numbers in [-1, 1), the same for the same seed.
Tensor numbers(const Shape& shape, std::uint32_t seed) {
  Tensor t = empty(shape, DType::Float32);
  for (std::int64_t i = 0; i < t.numel(); ++i) {
    seed = seed * 1664525u + 1013904223u;
    reinterpret_cast<float*>(t->data)[i] = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
  }
  return t;
}

// Three layers with ReLU and tanh, and SGD with momentum; `drops` forgets the gradients after the step, so
// that a plan may update the weights as their gradients are made.
struct Training {
  std::vector<Tensor> params, momenta;
  bool drops;

  explicit Training(std::int64_t width, bool drop, std::uint32_t seed = 1) : drops(drop) {
    const std::int64_t sizes[] = {6, width, width, 3};
    for (int i = 0; i < 3; ++i)
      for (const Shape& shape : {Shape{sizes[i + 1], sizes[i]}, Shape{sizes[i + 1]}}) {
        params.push_back(numbers(shape, ++seed));
        params.back()->requires_grad = true;
        momenta.push_back(zeros(shape, DType::Float32));
      }
  }
  void forget() {
    for (const Tensor& p : params) {
      note_gradient(p.get(), false);
      p->grad = Tensor();
    }
  }
  Tensor step(const Tensor& x, const Tensor& y) {
    if (!drops) forget();
    Tensor h = relu(linear(x, params[0], params[1]));
    h = tanh(linear(h, params[2], params[3])) * 0.5 + h;
    const Tensor loss = mse_loss(linear(h, params[4], params[5]), y, 1);
    const Tensor roots[] = {loss}, grads[] = {Tensor()};
    backward(roots, grads, {}, {});
    {
      const GradMode off(false);
      for (std::size_t i = 0; i < params.size(); ++i) {
        note_gradient(params[i].get(), true);
        Tensor in[] = {params[i], params[i]->grad, momenta[i]};
        sgd_update(in, attrs_of(SgdOptions{0.05, 0.9, 0.0, 0.0, false, false}, false));
      }
    }
    if (drops) forget();
    return loss;
  }
  Bits state() const {
    Bits all;
    for (const Tensor& t : params) all += bits(t) + (t->grad ? bits(t->grad) : Bits());
    for (const Tensor& t : momenta) all += bits(t);
    return all;
  }
};

Tensor batch(std::uint32_t seed) { return numbers({9, 6}, seed); }
Tensor targets(std::uint32_t seed) { return numbers({9, 3}, seed + 1000); }

// Records two steps, which must agree, and freezes the second.
std::unique_ptr<Plan> frozen(Training& t) {
  Recording recordings[2];
  for (int i = 0; i < 2; ++i) {
    const Tensor x = batch(90 + i), y = targets(90 + i);
    const Capture on(recordings[i], {x, y});
    finish(recordings[i], {t.step(x, y)});
    EXPECT_EQ(recordings[i].refusal, "");
  }
  EXPECT_EQ(difference(recordings[0], recordings[1]), "");
  return std::make_unique<Plan>(std::move(recordings[1]));
}

class PlanTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    install_tape();
    install_capture();
  }
  void SetUp() override { live_ = memory_stats().live_bytes; }
  void TearDown() override {
    set_num_threads(threads_);
    set_parallel_threshold(kParallelWork);
    EXPECT_EQ(memory_stats().live_bytes, live_);
  }

 private:
  int threads_ = get_num_threads();
  std::int64_t live_ = 0;
};

// 20 steps, eager or by a plan: losses and what is left.
Bits trained(std::int64_t width, bool drops, bool by_plan, std::uint32_t seed = 1) {
  Training t(width, drops, seed);
  std::unique_ptr<Plan> plan;
  if (by_plan) {
    plan = frozen(t);
  } else {
    for (std::uint32_t i = 0; i < 2; ++i) t.step(batch(90 + i), targets(90 + i));
  }
  Bits seen;
  for (std::uint32_t i = 0; i < 20; ++i) {
    const Tensor in[] = {batch(i), targets(i)};
    if (plan) {
      std::vector<Tensor> results;
      EXPECT_TRUE(plan->fits(in));
      plan->run(in, results);
      seen += bits(results[0]);
    } else {
      seen += bits(t.step(in[0], in[1]));
    }
  }
  return seen + t.state();
}

TEST_F(PlanTest, ReplaysToTheBitsOfTheEagerStep) {
  for (const bool drops : {false, true})
    for (const std::int64_t width : {1, 5, 40, 300})
      EXPECT_EQ(trained(width, drops, true), trained(width, drops, false)) << width << ", drops " << drops;
}

TEST_F(PlanTest, TellsWhatItFused) {
  Training kept(40, false), dropped(40, true);
  const std::string with_gradients = frozen(kept)->explain(), without = frozen(dropped)->explain();
  for (const char* part :
       {"linear_relu(", "mse_loss_with_gradient(", "mul+add(", "linear_backward+sgd_update("}) {
    EXPECT_NE(with_gradients.find(part), std::string::npos) << part << "\n" << with_gradients;
    EXPECT_NE(without.find(part), std::string::npos) << part << "\n" << without;
  }
}

TEST_F(PlanTest, AReplayAllocatesNothing) {
  if (!mallocs_are_counted()) GTEST_SKIP() << "a sanitizer owns malloc";
  Training t(40, false);
  const auto plan = frozen(t);
  const Tensor in[] = {batch(1), targets(1)};
  std::vector<Tensor> results;
  std::int64_t before = 0, calls = 0;
  for (int i = 0; i < 300; ++i) {
    if (i == 100) {
      before = mallocs_so_far();
      calls = memory_stats().system_calls;
    }
    results.clear();
    plan->run(in, results);
  }
  EXPECT_EQ(mallocs_so_far(), before);
  EXPECT_EQ(memory_stats().system_calls, calls);
}

TEST_F(PlanTest, ResultsThatAreKeptAreNotWrittenAgain) {
  Training t(5, false), other(5, false);
  const auto plan = frozen(t);
  for (std::uint32_t i = 0; i < 2; ++i) other.step(batch(90 + i), targets(90 + i));
  std::vector<Tensor> losses;
  for (std::uint32_t i = 0; i < 8; ++i) {
    const Tensor in[] = {batch(i), targets(i)};
    std::vector<Tensor> results;
    plan->run(in, results);
    losses.push_back(results[0]);
  }
  for (std::uint32_t i = 0; i < 8; ++i) EXPECT_EQ(bits(losses[i]), bits(other.step(batch(i), targets(i))));
}

// An epoch of batches of 9 rows in an order of its own, by hand or by Batches::replay: losses and what is
// left.
constexpr std::int64_t kRows = 9 * 5;
Bits epoch(bool natively, bool stops, std::uint32_t seed) {
  Training t(5, true, seed);
  const auto plan = frozen(t);
  const Tensor x = numbers({kRows, 6}, seed + 1), y = numbers({kRows, 3}, seed + 2);
  const Tensor order = empty({kRows}, DType::Int64);
  auto* const at = reinterpret_cast<std::int64_t*>(order->data);
  for (std::int64_t i = 0; i < kRows; ++i) at[i] = i * 7 % kRows;
  Batches batches({x, y}, 9, 1);
  batches.reorder(order);
  if (natively) {
    std::int64_t done = 0;
    while (done < 5) {  // a deadline that has passed leaves one at a time
      const auto now = std::chrono::steady_clock::now();
      const std::int64_t n = batches.replay(*plan, done, 5, stops ? now : now + std::chrono::hours(1));
      EXPECT_EQ(n, stops ? 1 : 5);
      done += n;
    }
    return bits(batches.losses()) + t.state();
  }
  const Tensor losses = empty({5}, DType::Float64);
  for (std::int64_t i = 0; i < 5; ++i) {
    const Tensor in[] = {empty({9, 6}, DType::Float32), empty({9, 3}, DType::Float32)};
    for (std::int64_t r = 0; r < 9; ++r)
      for (int k = 0; k < 2; ++k) {
        const std::int64_t bytes = k == 0 ? 24 : 12;
        std::memcpy(in[k]->data + r * bytes, (k == 0 ? x : y)->data + at[i * 9 + r] * bytes,
                    static_cast<std::size_t>(bytes));
      }
    std::vector<Tensor> results;
    plan->run(in, results);
    reinterpret_cast<double*>(losses->data)[i] = *reinterpret_cast<const float*>(results[0]->data);
  }
  return bits(losses) + t.state();
}

TEST_F(PlanTest, AnEpochIsItsSteps) {
  const Bits by_hand = epoch(false, false, 3);
  EXPECT_EQ(epoch(true, false, 3), by_hand);
  EXPECT_EQ(epoch(true, true, 3), by_hand);
}

TEST_F(PlanTest, ThreadsTrainPlansOfTheirOwn) {
  std::vector<Bits> serial, parallel(8);
  for (std::uint32_t k = 0; k < 8; ++k) serial.push_back(epoch(true, false, 10 * k));
  std::vector<std::thread> threads;
  for (std::uint32_t k = 0; k < 8; ++k)
    threads.emplace_back([&, k] { parallel[k] = epoch(true, k % 2 == 0, 10 * k); });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(parallel, serial);
}

TEST_F(PlanTest, AnEpochStopsAtALossThatIsNotFinite) {
  Training t(5, true);
  const auto plan = frozen(t);
  const Tensor x = numbers({kRows, 6}, 1), y = numbers({kRows, 3}, 2);
  reinterpret_cast<float*>(y->data)[9 * 2 * 3] = __builtin_nanf("");
  Batches batches({x, y}, 9, 1);
  const auto later = std::chrono::steady_clock::now() + std::chrono::hours(1);
  EXPECT_EQ(batches.replay(*plan, 0, 5, later), 3);
  EXPECT_TRUE(batches.finite(1));
  EXPECT_FALSE(batches.finite(2));
}

TEST_F(PlanTest, BatchesRefuseWhatHasNoRows) {
  const Tensor x = numbers({4, 2}, 1);
  EXPECT_THROW(Batches({x, numbers({5, 2}, 1)}, 2, 1), Error);
  EXPECT_THROW(Batches({x, numbers({}, 1)}, 2, 1), Error);
  EXPECT_THROW(Batches({x}, 0, 1), Error);
  EXPECT_THROW(Batches({x}, 2, 0), Error);
  EXPECT_THROW(Batches({x}, std::int64_t{1} << 40, std::int64_t{1} << 40), Error);
  EXPECT_THROW(Batches({}, 2, 1), Error);
  Batches batches({x}, 3, 1);
  EXPECT_EQ(batches.count(), 2);
  EXPECT_EQ(batches.batch(1)[0].shape(), (Shape{1, 2}));
  const Tensor order = empty({1}, DType::Int64);
  for (const std::int64_t row : {std::int64_t{-1}, std::int64_t{4}}) {
    *reinterpret_cast<std::int64_t*>(order->data) = row;
    EXPECT_THROW(batches.reorder(order), Error);
    EXPECT_EQ(batches.count(), 2);
  }
  EXPECT_THROW(batches.reorder(x), Error);
  EXPECT_THROW(batches.note(0, std::vector<Tensor>{x}), Error);
}

TEST_F(PlanTest, FitsOnlyWhatWasRecorded) {
  Training t(5, false);
  const auto plan = frozen(t);
  const Tensor x = batch(1), y = targets(1), both = numbers({9, 9}, 3);
  const Tensor other_shape[] = {numbers({8, 6}, 1), y},
               other_strides[] = {transpose(numbers({6, 9}, 1), 0, 1), y}, one[] = {x}, in[] = {x, y};
  const Tensor overlapping[] = {alias(both, {9, 6}, {6, 1}, 0), alias(both, {9, 3}, {3, 1}, 0)};
  EXPECT_TRUE(plan->fits(in));
  EXPECT_FALSE(plan->fits(other_shape));
  EXPECT_FALSE(plan->fits(other_strides));
  EXPECT_FALSE(plan->fits(one));
  EXPECT_FALSE(plan->fits(overlapping));
}

TEST_F(PlanTest, ThreadsReplayPlansOfTheirOwn) {
  constexpr std::uint32_t kThreads = 8;
  std::vector<Bits> expected, seen(kThreads);
  for (std::uint32_t i = 0; i < kThreads; ++i) expected.push_back(trained(40, i % 2, false, 10 * i));
  set_num_threads(3);
  set_parallel_threshold(0);
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < kThreads; ++i)
    threads.emplace_back([&seen, i] { seen[i] = trained(40, i % 2, true, 10 * i); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(seen, expected);
}

TEST_F(PlanTest, ThreadsTakeTurnsWithOnePlan) {
  Training t(5, false), other(5, false);
  const auto plan = frozen(t);
  for (std::uint32_t i = 0; i < 2; ++i) other.step(batch(90 + i), targets(90 + i));
  const Tensor in[] = {batch(1), targets(1)};
  std::vector<std::thread> threads;
  for (int k = 0; k < 4; ++k)
    threads.emplace_back([&] {
      for (int i = 0; i < 25; ++i) {
        const std::lock_guard turn(plan->lock());
        std::vector<Tensor> results;
        plan->run(in, results);
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < 100; ++i) other.step(in[0], in[1]);
  EXPECT_EQ(t.state(), other.state());
}

}  // namespace
}  // namespace unspool
