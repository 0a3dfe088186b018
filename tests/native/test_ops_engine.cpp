// The op table and the door, and a training step written against the C++ API: it allocates nothing
// in its steady state, and threads that train their own graphs don't meet.
#include <gtest/gtest.h>

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "malloc_count.h"
#include "unspool/base/alloc.h"
#include "unspool/base/error.h"
#include "unspool/ops/op.h"
#include "unspool/ops/ops.h"
#include "unspool/ops/update.h"
#include "unspool/tape/node.h"
#include "unspool/tape/sweep.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNSPOOL_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNSPOOL_TEST_SANITIZED 1
#endif
#endif

// How often this thread asked the C library for memory. operator new ends in malloc.
namespace {
thread_local std::int64_t mallocs = 0;
}

#ifndef UNSPOOL_TEST_SANITIZED
#define COUNTED extern "C" __attribute__((visibility("default")))
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}
COUNTED void* malloc(std::size_t n) noexcept {
  ++mallocs;
  return __libc_malloc(n);
}
COUNTED void* calloc(std::size_t n, std::size_t size) noexcept {
  ++mallocs;
  return __libc_calloc(n, size);
}
COUNTED void* realloc(void* p, std::size_t n) noexcept {
  ++mallocs;
  return __libc_realloc(p, n);
}
COUNTED void* aligned_alloc(std::size_t alignment, std::size_t n) noexcept {
  ++mallocs;
  return __libc_memalign(alignment, n);
}
COUNTED int posix_memalign(void** p, std::size_t alignment, std::size_t n) noexcept {
  ++mallocs;
  void* const block = __libc_memalign(alignment, n);
  if (block) *p = block;
  return block ? 0 : ENOMEM;
}
#undef COUNTED
#endif

namespace unspool {
#ifdef UNSPOOL_TEST_SANITIZED
bool mallocs_are_counted() { return false; }
#else
bool mallocs_are_counted() { return true; }
#endif
std::int64_t mallocs_so_far() { return mallocs; }
}  // namespace unspool

namespace unspool {
namespace {

const OpDef& find(const std::string& name) {
  for (const OpDef* op : op_table())
    if (name_of(*op) == name) return *op;
  throw std::runtime_error("no op is named " + name);
}

Tensor filled(const Shape& shape, double seed, double scale = 1.0, DType dtype = DType::Float32) {
  const GradMode off(false);
  Tensor t = empty(shape, DType::Float64);
  for (std::int64_t i = 0; i < t.numel(); ++i)
    reinterpret_cast<double*>(t->data)[i] = scale * std::sin(seed + 12.9898 * static_cast<double>(i));
  return to(t, dtype);
}

double item(const Tensor& t) {
  const GradMode off(false);
  return *reinterpret_cast<double*>(to(t, DType::Float64)->data);
}

std::vector<char> bytes_of(const Tensor& t) {
  return std::vector<char>(t->data, t->data + t.numel() * static_cast<std::int64_t>(item_size(t.dtype())));
}

void run_backward(const Tensor& root, SweepOptions options = {}) {
  const Tensor roots[] = {root}, grads[] = {Tensor()};
  backward(roots, grads, {}, options);
}

class Engine : public testing::Test {
 protected:
  static void SetUpTestSuite() { install_tape(); }
};

// ---- The table --------------------------------------------------------------------------------------

TEST_F(Engine, EveryOpIsComplete) {
  std::set<std::string> schemas;
  EXPECT_GT(op_table().size(), 60u);
  for (const OpDef* op : op_table()) {
    SCOPED_TRACE(op->schema);
    EXPECT_TRUE(schemas.insert(op->schema).second) << "listed twice";
    EXPECT_NE(std::string(op->schema).find('('), std::string::npos);
    if (op->composite) {
      EXPECT_EQ(op->forward, nullptr);
      EXPECT_EQ(op->shape, nullptr);
      continue;
    }
    EXPECT_TRUE(op->forward || op->map >= 0) << "nothing computes it";
    EXPECT_TRUE(op->forward || op->cls == Class::Map);
    EXPECT_TRUE(op->shape || op->cls == Class::Map);
    if (op->derivative.none) {
      EXPECT_EQ(op->derivative.vjp, nullptr);
      EXPECT_NE(std::string(op->derivative.none), "") << "the reason is the text of the error";
    } else {
      EXPECT_NE(op->derivative.vjp, nullptr);
      EXPECT_NE(op->derivative.jvp, nullptr) << "both are required";
    }
    EXPECT_TRUE(op->surface == kInternal || *op->doc) << "public and undocumented";
  }
}

// ---- The door ----------------------------------------------------------------------------------------

TEST_F(Engine, ANumberDoesNotDecideTheDtype) {
  const Tensor x = filled({3}, 1);
  EXPECT_EQ((x * 2.0).dtype(), DType::Float32);
  EXPECT_EQ((x * filled({}, 1, 1, DType::Float64)).dtype(), DType::Float32);
  EXPECT_EQ((x * filled({1}, 1, 1, DType::Float64)).dtype(), DType::Float64);
  EXPECT_EQ((filled({3}, 1, 9, DType::Int64) * wrapped_number(std::int64_t{2})).dtype(), DType::Int64);
  EXPECT_EQ((filled({3}, 1, 9, DType::Int64) / wrapped_number(std::int64_t{2})).dtype(), DType::Float32);
}

TEST_F(Engine, AFailedCallChangesNothing) {
  const Tensor x = filled({2, 3}, 1), y = filled({4}, 2), whole = filled({2, 3}, 3, 9, DType::Int64);
  const std::int64_t live = memory_stats().live_bytes;
  const std::vector<char> before = bytes_of(x), ints = bytes_of(whole);
  auto kind_of = [](auto&& f) {
    try {
      f();
    } catch (const Error& e) {
      return static_cast<int>(e.kind());
    }
    return -1;
  };
  EXPECT_EQ(kind_of([&] { (void)(x + y); }), static_cast<int>(ErrorKind::Shape));
  EXPECT_EQ(kind_of([&] { add_(x, y); }), static_cast<int>(ErrorKind::Shape));
  EXPECT_EQ(kind_of([&] { add_(select(x, 0, 0), x); }), static_cast<int>(ErrorKind::Shape));
  EXPECT_EQ(kind_of([&] { (void)matmul(x, x); }), static_cast<int>(ErrorKind::Shape));
  EXPECT_EQ(kind_of([&] { (void)select(x, 2, 0); }), static_cast<int>(ErrorKind::Index));
  EXPECT_NE(kind_of([&] { mul_(whole, wrapped_number(0.5)); }), -1);
  EXPECT_EQ(bytes_of(x), before);
  EXPECT_EQ(bytes_of(whole), ints);
  EXPECT_EQ(version_of(x), 0u);
  EXPECT_EQ(version_of(whole), version_of(filled({2, 3}, 3, 9, DType::Int64)));
  EXPECT_EQ(memory_stats().live_bytes, live);
}

TEST_F(Engine, OverlappingOperandsAreReadFirst) {
  const Tensor x = to(filled({6}, 1), DType::Float64);
  auto* v = reinterpret_cast<double*>(x->data);
  for (int i = 0; i < 6; ++i) v[i] = i;
  add_(slice(x, 0, 1, 6, 1), slice(x, 0, 0, 5, 1));
  for (int i = 1; i < 6; ++i) EXPECT_EQ(v[i], 2.0 * i - 1.0);
  const Tensor m = to(filled({5, 5}, 2), DType::Float64), copy = clone(m);
  add_(m, transpose(m, 0, 1));
  EXPECT_EQ(bytes_of(m), bytes_of(contiguous(copy + transpose(copy, 0, 1))));
}

// An op writes the same bits into its target as it returns.
TEST_F(Engine, InPlaceIsTheFunctionalOp) {
  for (std::int64_t n : {1, 7, 16, 67}) {
    const Tensor a = filled({n}, 1), b = filled({n}, 2);
    Tensor target = clone(a);
    mul_(target, b);
    EXPECT_EQ(bytes_of(target), bytes_of(a * b));
    target = clone(a);
    add_(target, b, 0.3);
    EXPECT_EQ(bytes_of(target), bytes_of(add(a, b, 0.3)));
    const Tensor wide = filled({n, 3}, 3), column = select(wide, 1, 1), old = clone(column);
    mul_(column, b);
    EXPECT_EQ(bytes_of(contiguous(column)), bytes_of(old * b));
  }
}

// ---- A training step ----------------------------------------------------------------------------------

const OpDef& relu_op() {
  static const OpDef& op = find("relu");
  return op;
}
const OpDef& mse_op() {
  static const OpDef& op = find("mse_loss");
  return op;
}
constexpr int kMean = 1;

// The notes' network, 10-40-40-5, and its optimizer.
struct Network {
  static constexpr int kLayers = 3;
  Tensor weight[kLayers], bias[kLayers], momentum[2 * kLayers], square[2 * kLayers], steps[2 * kLayers];
  int count = 0;

  explicit Network(double seed) {
    const std::int64_t sizes[] = {10, 40, 40, 5};
    for (int k = 0; k < kLayers; ++k) {
      weight[k] = filled({sizes[k + 1], sizes[k]}, seed + k, std::sqrt(6.0 / static_cast<double>(sizes[k])));
      bias[k] = zeros({sizes[k + 1]}, DType::Float32);
      weight[k]->requires_grad = bias[k]->requires_grad = true;
      for (int i = 0; i < 2; ++i) {
        const Tensor& p = i ? bias[k] : weight[k];
        momentum[2 * k + i] = zeros_like(p);
        square[2 * k + i] = zeros_like(p);
      }
    }
  }
  const Tensor& parameter(int i) const { return i % 2 ? bias[i / 2] : weight[i / 2]; }

  Tensor forward(const Tensor& x) const {
    Tensor h = linear(x, weight[0], bias[0]);
    for (int k = 1; k < kLayers; ++k) h = linear(call(relu_op(), {h}), weight[k], bias[k]);
    return h;
  }
  Tensor loss(const Tensor& x, const Tensor& y) const { return call(mse_op(), {forward(x), y}, {kMean}); }
  void zero_grad() {
    for (int i = 0; i < 2 * kLayers; ++i) parameter(i)->grad = Tensor();
  }
  void momentum_step() {
    const GradMode off(false);
    const SgdOptions options{.lr = 0.05,
                             .momentum = 0.9,
                             .dampening = 0.0,
                             .weight_decay = 0.0,
                             .nesterov = false,
                             .maximize = false};
    for (int i = 0; i < 2 * kLayers; ++i) {
      Tensor in[] = {parameter(i), parameter(i)->grad, momentum[i]};
      sgd_update(in, attrs_of(options, count == 0));
    }
    ++count;
  }
  void adam_step() {
    const GradMode off(false);
    const AdamOptions options{.lr = 1e-3,
                              .beta1 = 0.9,
                              .beta2 = 0.999,
                              .eps = 1e-8,
                              .weight_decay = 0.0,
                              .maximize = false,
                              .decoupled = false};
    ++count;
    for (int i = 0; i < 2 * kLayers; ++i) {
      if (!steps[i]) steps[i] = zeros({}, DType::Float32);
      Tensor in[] = {parameter(i), parameter(i)->grad, momentum[i], square[i], Tensor(), steps[i]};
      adam_update(in, attrs_of(options));
    }
  }
  double step(const Tensor& x, const Tensor& y, bool adam) {
    zero_grad();
    const Tensor l = loss(x, y);
    run_backward(l);
    adam ? adam_step() : momentum_step();
    return *reinterpret_cast<float*>(l->data);
  }
  std::vector<char> bits() const {
    std::vector<char> all;
    for (int i = 0; i < 2 * kLayers; ++i) {
      const std::vector<char> b = bytes_of(parameter(i));
      all.insert(all.end(), b.begin(), b.end());
    }
    return all;
  }
};

TEST_F(Engine, TrainingLearns) {
  for (bool adam : {false, true}) {
    Network network(1);
    const Tensor x = filled({10, 10}, 5), y = filled({10, 5}, 6);
    const double first = network.step(x, y, adam);
    double last = 0.0;
    for (int i = 0; i < 500; ++i) last = network.step(x, y, adam);
    EXPECT_LT(last, first / 20) << first;
  }
}

#ifdef UNSPOOL_TEST_SANITIZED
#define NEEDS_COUNTS() GTEST_SKIP() << "a sanitizer owns malloc"
#else
#define NEEDS_COUNTS() (void)0
#endif

TEST_F(Engine, TheHookCounts) {
  NEEDS_COUNTS();
  deallocate(allocate(64), 64);  // the first use of the engine's memory makes its lists
  std::int64_t before = mallocs;
  void* volatile plain = std::malloc(1000);  // volatile: Clang leaves out what nobody looks at
  EXPECT_EQ(mallocs - before, 1);
  std::free(plain);
  before = mallocs;
  void* block = allocate(100 << 20);
  EXPECT_EQ(mallocs - before, 1);
  deallocate(block, 100 << 20);
  empty_cache();
}

// How many times `work` asks for memory, from the engine or around it, once it is warm.
template <class F>
std::int64_t mallocs_in_steady_state(F&& work) {
  for (int i = 0; i < 300; ++i) work();
  const std::int64_t before = mallocs, calls = memory_stats().system_calls;
  for (int i = 0; i < 1000; ++i) work();
  EXPECT_EQ(memory_stats().system_calls, calls);
  return mallocs - before;
}

TEST_F(Engine, ATrainingStepAllocatesNothing) {
  NEEDS_COUNTS();
  const Tensor x = filled({10, 10}, 5), y = filled({10, 5}, 6);
  for (bool adam : {false, true}) {
    Network network(1);
    EXPECT_EQ(mallocs_in_steady_state([&] { network.step(x, y, adam); }), 0) << "adam: " << adam;
  }
}

TEST_F(Engine, AccumulatedGradientsAllocateNothing) {
  NEEDS_COUNTS();
  Network network(1);
  const Tensor x = filled({10, 10}, 5), y = filled({10, 5}, 6);
  EXPECT_EQ(mallocs_in_steady_state([&] {
              run_backward(network.loss(x, y));  // .grad is kept: the second pass adds
              run_backward(network.loss(x, y) + network.loss(x, y));
              for (int i = 0; i < 6; ++i) fill_(network.parameter(i)->grad, wrapped_number(0.0));
            }),
            0);
}

TEST_F(Engine, GradAllocatesNothing) {
  NEEDS_COUNTS();
  Network network(1);
  const Tensor x = filled({10, 10}, 5), y = filled({10, 5}, 6);
  const Tensor inputs[] = {network.parameter(0), network.parameter(3)};
  const Tensor none[1];
  EXPECT_EQ(mallocs_in_steady_state([&] {
              const Tensor roots[] = {network.loss(x, y)};
              grad(roots, none, inputs, {});
            }),
            0);
}

TEST_F(Engine, LinearReluIsLinearThenRelu) {
  for (bool bias : {true, false}) {
    Tensor x = filled({5, 70}, 1), w = filled({67, 70}, 2), b = bias ? filled({67}, 3) : Tensor();
    x->requires_grad = w->requires_grad = true;
    if (b) b->requires_grad = true;
    const Tensor fused = linear_relu(x, w, b), apart = relu(linear(x, w, b));
    EXPECT_EQ(bytes_of(fused), bytes_of(apart));
    const Tensor weights = filled({5, 67}, 4);
    std::vector<Tensor> inputs = {x, w};
    if (b) inputs.push_back(b);
    const Tensor none[1];
    const Tensor roots[] = {sum(fused * weights)}, others[] = {sum(apart * weights)};
    const auto got = grad(roots, none, inputs, {}), expected = grad(others, none, inputs, {});
    for (std::size_t i = 0; i < inputs.size(); ++i) EXPECT_EQ(bytes_of(got[i]), bytes_of(expected[i])) << i;
  }
}

TEST_F(Engine, OpsOfEachKindAllocateNothing) {
  NEEDS_COUNTS();
  Tensor x = filled({8, 9}, 1), b = filled({9}, 2);
  x->requires_grad = b->requires_grad = true;
  struct Case {
    const char* name;
    Tensor (*f)(const Tensor& x, const Tensor& b);
  };
  const Case cases[] = {
      {"map", [](const Tensor& x, const Tensor&) { return exp(x) * 2.0 + x; }},
      {"broadcast", [](const Tensor& x, const Tensor& b) { return x * b - b; }},
      {"reduction", [](const Tensor& x, const Tensor&) { return sum(x, {0}, true) + sum(x); }},
      {"product", [](const Tensor& x, const Tensor&) { return matmul(transpose(x, 0, 1), x); }},
      {"softmax", [](const Tensor& x, const Tensor&) { return log_softmax(x, 1) * softmax(x, 0); }},
      {"views",
       [](const Tensor& x, const Tensor&) { return view(slice(select(x, 0, 1), 0, 2, 8, 2), {3, 1}) * 2.0; }},
      {"copies",
       [](const Tensor& x, const Tensor&) {
         return contiguous(transpose(x, 0, 1)) * sum(to(to(x, DType::Float64), DType::Float32));
       }},
      {"in place",
       [](const Tensor& x, const Tensor& b) {
         const Tensor y = x * 1.0;
         mul_(y, b);
         add_(y, x, 0.5);
         return y;
       }},
      {"in place through a view",
       [](const Tensor& x, const Tensor& b) {
         const Tensor y = x * 1.0;
         mul_(select(y, 0, 3), b);
         fill_(slice(y, 0, 0, 2, 1), wrapped_number(0.0));
         return y;
       }},
  };
  for (const Case& c : cases)
    EXPECT_EQ(mallocs_in_steady_state([&] {
                x->grad = b->grad = Tensor();
                run_backward(sum(c.f(x, b)));
              }),
              0)
        << c.name;
}

// ---- The fused backward and the rule in elementary ops ----------------------------------------------

TEST_F(Engine, TapedAndFusedRulesAgree) {
  for (DType dtype : {DType::Float32, DType::Float64}) {
    Tensor x = filled({7, 10}, 1, 1, dtype), w = filled({4, 10}, 2, 1, dtype), b = filled({4}, 3, 1, dtype);
    const Tensor y = filled({7, 4}, 4, 1, dtype);
    x->requires_grad = w->requires_grad = b->requires_grad = true;
    const Tensor h = call(relu_op(), {linear(x, w, b)});
    const Tensor p = log_softmax(h, 1) * softmax(h, 1);
    const Tensor loss = call(mse_op(), {h, y}, {kMean}) + sum(p);
    const Tensor roots[] = {loss}, none[] = {Tensor()}, inputs[] = {x, w, b};
    const auto fused = grad(roots, none, inputs, {.retain_graph = true, .create_graph = false});
    const auto taped = grad(roots, none, inputs, {.retain_graph = true, .create_graph = true});
    for (int i = 0; i < 3; ++i) {
      EXPECT_FALSE(fused[i].requires_grad());
      EXPECT_TRUE(taped[i].requires_grad());
      const GradMode off(false);
      const double scale = item(sum(abs(fused[i]))), gap = item(sum(abs(fused[i] - taped[i])));
      EXPECT_GT(scale, 0.0);
      EXPECT_LE(gap, scale * (dtype == DType::Float32 ? 1e-6 : 1e-14)) << "input " << i;
    }
  }
}

// ---- Threads -------------------------------------------------------------------------------------------

TEST_F(Engine, FourThreadsTrainTheirOwnGraphs) {
  constexpr int kThreads = 4, kSteps = 400;
  const Tensor x = filled({10, 10}, 5), y = filled({10, 5}, 6);  // shared, and only read
  auto train = [&](int i, std::vector<char>& bits) {
    Network network(i);
    for (int step = 0; step < kSteps; ++step) network.step(x, y, i % 2);
    bits = network.bits();
  };
  std::vector<std::vector<char>> alone(kThreads), together(kThreads);
  const std::int64_t live = memory_stats().live_bytes;
  for (int i = 0; i < kThreads; ++i) train(i, alone[i]);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(train, i, std::ref(together[i]));
  for (std::thread& t : threads) t.join();
  for (int i = 0; i < kThreads; ++i) EXPECT_EQ(alone[i], together[i]) << "thread " << i;
  EXPECT_NE(alone[0], alone[2]);
  EXPECT_EQ(memory_stats().live_bytes, live);
}

// Independent graphs that share leaves which need no gradient, made and dropped across threads.
TEST_F(Engine, GraphsOfOneThreadAreDroppedByAnother) {
  const Tensor x = filled({10, 10}, 5), y = filled({10, 5}, 6);
  Network network(1);
  const std::int64_t live = memory_stats().live_bytes;
  for (int round = 0; round < 50; ++round) {
    std::vector<Tensor> losses;
    for (int i = 0; i < 40; ++i) losses.push_back(network.loss(x, y));
    std::thread([&] { losses.clear(); }).join();
  }
  EXPECT_EQ(memory_stats().live_bytes, live);
}

}  // namespace
}  // namespace unspool
