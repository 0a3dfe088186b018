// The tape against its rules: order, accumulation, un-broadcasting, versions, views, errors in the
// middle, both sweeps, and a million nodes on a small stack. Formulas of ops are tested elsewhere.
#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "unspool/base/alloc.h"
#include "unspool/base/error.h"
#include "unspool/ops/op.h"
#include "unspool/ops/ops.h"
#include "unspool/tape/node.h"
#include "unspool/tape/sweep.h"

namespace unspool {
namespace {

using Values = std::vector<double>;

class Tape : public testing::Test {
 protected:
  static void SetUpTestSuite() { install_tape(); }
  void SetUp() override {
    live_ = memory_stats().live_bytes;
    EXPECT_TRUE(grad_enabled());
  }
  // Whatever a test did, its graphs and tensors are gone, and recording is on again.
  void TearDown() override {
    EXPECT_EQ(memory_stats().live_bytes, live_);
    EXPECT_TRUE(grad_enabled());
  }

 private:
  std::int64_t live_ = 0;
};

Tensor tensor(const Shape& shape, const Values& values) {
  Tensor t = empty(shape, DType::Float64);
  EXPECT_EQ(t.numel(), static_cast<std::int64_t>(values.size()));
  for (std::size_t i = 0; i < values.size(); ++i) reinterpret_cast<double*>(t->data)[i] = values[i];
  return t;
}
Tensor leaf(const Shape& shape, const Values& values) {
  Tensor t = tensor(shape, values);
  t->requires_grad = true;
  return t;
}
Tensor vector(const Values& values) { return tensor({static_cast<std::int64_t>(values.size())}, values); }
Tensor vector_leaf(const Values& values) { return leaf({static_cast<std::int64_t>(values.size())}, values); }

Values values(const Tensor& t) {
  if (!t) return {};
  const GradMode off(false);
  const Tensor dense = contiguous(t);
  const auto* p = reinterpret_cast<const double*>(dense->data);
  return Values(p, p + dense.numel());
}

void run_backward(const Tensor& root, SweepOptions options = {}, const Tensor& g = {}) {
  const Tensor roots[] = {root}, grads[] = {g};
  backward(roots, grads, {}, options);
}

Tensor grad_of(const Tensor& root, const Tensor& input, bool create_graph = false) {
  const Tensor roots[] = {root}, grads[] = {Tensor()}, inputs[] = {input};
  return grad(roots, grads, inputs, {.retain_graph = true, .create_graph = create_graph})[0];
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

// An op of the test's own: the identity, whose derivative fails while `broken` says so.
bool broken = false;
int rule_runs = 0;
const OpDef fragile_op = {
    .schema = "fragile(Tensor input)",
    .grad_name = "FragileBackward0",
    .cls = Class::Fused,
    .shape = [](Call& c) { c.allocate(0, c.in[0].shape(), c.in[0].dtype()); },
    .forward =
        [](Call& c) {
          const GradMode off(false);
          copy_(c.out[0], c.in[0]);
        },
    .derivative = custom(
        [](const Record&, const Tensor* g, Tensor* gx) {
          ++rule_runs;
          if (broken) fail(ErrorKind::Runtime, "fragile: broken on purpose");
          gx[0] = g[0];
        },
        [](const Record&, const Tensor* dx, Tensor* dy) { dy[0] = dx[0]; }),
};
Tensor fragile(const Tensor& x) { return call(fragile_op, {x}); }

// ---- Recording -----------------------------------------------------------------------------------

TEST_F(Tape, OnlyWhatNeedsAGradientIsRecorded) {
  const Tensor x = vector_leaf({1, 2}), constant = vector({3, 4});
  EXPECT_EQ((constant * constant)->node, nullptr);
  const Tensor y = x * constant;
  ASSERT_NE(y->node, nullptr);
  EXPECT_TRUE(y.requires_grad());
  EXPECT_FALSE(y->is_leaf());
  {
    const GradMode off(false);
    EXPECT_EQ((x * constant)->node, nullptr);
    EXPECT_FALSE((x * constant).requires_grad());
  }
  EXPECT_EQ((x < constant)->node, nullptr) << "comparisons have no derivative";
}

TEST_F(Tape, ANodeComesAfterItsInputs) {
  const Tensor x = vector_leaf({1, 2});
  const Tensor a = x * 2.0, b = exp(x), c = a * b, d = a + c;
  EXPECT_LT(a->node->sequence, b->node->sequence);
  EXPECT_LT(b->node->sequence, c->node->sequence);
  EXPECT_LT(c->node->sequence, d->node->sequence);
  EXPECT_EQ(c->node->inputs()[0].edge.node, a->node);
  EXPECT_EQ(c->node->inputs()[1].edge.node, b->node);
  EXPECT_EQ(a->node->inputs()[0].edge.leaf, x.get());
}

// Another thread's counter lags behind; its nodes still come after their inputs.
TEST_F(Tape, SequenceHoldsAcrossThreads) {
  const Tensor x = vector_leaf({1, 2});
  Tensor y = x;
  for (int i = 0; i < 100; ++i) y = y * 1.0;
  Tensor z;
  std::thread([&] { z = exp(y) * y; }).join();
  EXPECT_GT(z->node->sequence, y->node->sequence);
  const Tensor w = z * y;
  EXPECT_GT(w->node->sequence, z->node->sequence);
  run_backward(sum(w));
  for (int i = 0; i < 2; ++i) {  // d(e^x x²) = e^x (x² + 2x)
    const double v = i + 1.0;
    EXPECT_NEAR(values(x->grad)[static_cast<std::size_t>(i)], std::exp(v) * (v * v + 2 * v), 1e-12);
  }
}

TEST_F(Tape, OnlyWhatTheRuleReadsIsSaved) {
  const Tensor x = vector_leaf({1, 2}), c = vector({3, 4});
  const Tensor y = x * c;
  EXPECT_EQ(y->node->inputs()[0].saved, nullptr) << "the gradient of c is not needed";
  EXPECT_EQ(y->node->inputs()[1].saved, c.get());
  const Tensor z = x + c;
  EXPECT_EQ(z->node->inputs()[0].saved, nullptr);
  EXPECT_EQ(z->node->inputs()[1].saved, nullptr);
}

TEST_F(Tape, BackwardFreesWhatWasSaved) {
  const Tensor x = vector_leaf(Values(1000, -1.0));
  const Tensor y = exp(exp(exp(exp(x))));  // each keeps its result
  const Tensor loss = sum(y * y);
  const std::int64_t before = memory_stats().live_bytes;
  run_backward(loss);
  EXPECT_LT(memory_stats().live_bytes, before - 2 * 8000) << "3 results are gone, x->grad is new";
  EXPECT_TRUE(y->node->released);
  EXPECT_EQ(y->node->y, nullptr);
  EXPECT_EQ(loss->node->inputs()[0].edge.node->inputs()[0].saved, nullptr);
}

// ---- Accumulation and un-broadcasting -------------------------------------------------------------

TEST_F(Tape, ContributionsAddUp) {
  const Tensor x = vector_leaf({2, 3});
  const Tensor y = x * x;              // both inputs are x
  run_backward(sum(y + y + x * 5.0));  // a node with two consumers, a leaf with three
  EXPECT_EQ(values(x->grad), (Values{2 * 2 * 2 + 5, 2 * 2 * 3 + 5}));
}

TEST_F(Tape, GradAccumulatesOverCalls) {
  const Tensor x = vector_leaf({2, 3});
  run_backward(sum(x * x));
  const Tensor first = x->grad;
  run_backward(sum(x * x));
  EXPECT_EQ(x->grad.get(), first.get()) << "later gradients are added into the first's memory";
  EXPECT_EQ(values(x->grad), (Values{8, 12}));
}

// The first contribution is kept without a copy only where nobody else holds it.
TEST_F(Tape, AGradientIsNobodyElses) {
  const Tensor x = vector_leaf({2, 3}), z = vector_leaf({1, 1}), g = vector({1, 2});
  run_backward(x + z, {}, g);
  ASSERT_NE(x->grad->storage, g->storage);
  ASSERT_NE(z->grad->storage, g->storage);
  ASSERT_NE(x->grad->storage, z->grad->storage);
  run_backward(x + z, {}, g);
  EXPECT_EQ(values(x->grad), (Values{2, 4}));
  EXPECT_EQ(values(z->grad), (Values{2, 4}));
  EXPECT_EQ(values(g), (Values{1, 2}));
}

TEST_F(Tape, BroadcastsAreSummedDown) {
  const Tensor a = leaf({2, 1, 3}, {1, 2, 3, 4, 5, 6}), b = leaf({4, 1}, {1, 10, 100, 1000});
  const Tensor s = leaf({}, {2});
  run_backward(sum(a * b * s));
  EXPECT_EQ(a->grad.shape(), (Shape{2, 1, 3}));
  EXPECT_EQ(b->grad.shape(), (Shape{4, 1}));
  EXPECT_EQ(s->grad.shape(), Shape{});
  EXPECT_EQ(values(a->grad), Values(6, 2222));
  EXPECT_EQ(values(b->grad), Values(4, 42));
  EXPECT_EQ(values(s->grad), Values{1111 * 21});
}

TEST_F(Tape, AGradientHasItsLeafsDtype) {
  const Tensor x = vector_leaf({1, 2});
  Tensor f = empty({2}, DType::Float32);
  fill_(f, wrapped_number(0.5));
  f->requires_grad = true;
  run_backward(sum(x * f));
  EXPECT_EQ(x->grad.dtype(), DType::Float64);
  EXPECT_EQ(f->grad.dtype(), DType::Float32);
}

TEST_F(Tape, InputsOfBackwardLimitWhereGradientsGo) {
  const Tensor x = vector_leaf({1, 2}), z = vector_leaf({3, 4});
  const Tensor roots[] = {sum(x * z)}, grads[] = {Tensor()}, inputs[] = {x};
  backward(roots, grads, inputs, {});
  EXPECT_EQ(values(x->grad), (Values{3, 4}));
  EXPECT_FALSE(z->grad);
}

TEST_F(Tape, GradStopsAtInnerTensors) {
  broken = false;
  rule_runs = 0;
  const Tensor x = vector_leaf({1, 2});
  const Tensor y = fragile(x * 2.0), loss = sum(y * y);
  EXPECT_EQ(values(grad_of(loss, y)), (Values{4, 8}));
  EXPECT_EQ(rule_runs, 0) << "what lies below the asked-for tensor is not visited";
  EXPECT_EQ(values(grad_of(loss, x)), (Values{8, 16}));
  EXPECT_EQ(rule_runs, 1);
  EXPECT_FALSE(x->grad);
}

TEST_F(Tape, EachNodeIsVisitedOnce) {
  broken = false;
  rule_runs = 0;
  const Tensor x = vector_leaf({1});
  Tensor y = fragile(x);
  for (int i = 0; i < 40; ++i) y = y + y;  // 2^40 paths
  run_backward(sum(y));
  EXPECT_EQ(rule_runs, 1);
  EXPECT_EQ(values(x->grad), Values{std::ldexp(1.0, 40)});
}

// ---- Errors ---------------------------------------------------------------------------------------

TEST_F(Tape, ASecondBackwardIsRefused) {
  const Tensor x = vector_leaf({1, 2});
  const Tensor loss = sum(x * x);
  run_backward(loss);
  const std::string text = message_of([&] { run_backward(loss); });
  EXPECT_NE(text.find("second time"), std::string::npos) << text;
  EXPECT_EQ(values(x->grad), (Values{2, 4})) << "the refused pass added something";
}

TEST_F(Tape, RetainedGraphsRunAgain) {
  const Tensor x = vector_leaf({1, 2});
  const Tensor loss = sum(exp(x) * x);
  run_backward(loss, {.retain_graph = true});
  const Values once = values(x->grad);
  run_backward(loss, {.retain_graph = true});
  run_backward(loss);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_DOUBLE_EQ(values(x->grad)[i], 3 * once[i]);
  EXPECT_NE(message_of([&] { run_backward(loss); }), "");
}

TEST_F(Tape, AnErrorInTheMiddleLeavesNothingPending) {
  const Tensor x = vector_leaf({1, 2});
  const Tensor inner = fragile(x * 2.0), side = x * 3.0, other = exp(side);
  const Tensor product = inner * other, loss = sum(product);
  broken = true;
  const std::int64_t before = memory_stats().live_bytes;
  EXPECT_EQ(message_of([&] { run_backward(loss, {.retain_graph = true}); }), "fragile: broken on purpose");
  EXPECT_TRUE(grad_enabled());
  EXPECT_LE(memory_stats().live_bytes, before + 1024);
  for (const Tensor& t : {inner, side, other, product, loss}) {
    EXPECT_FALSE(t->node->pending()[0]);
    EXPECT_EQ(t->node->sweep, nullptr);
    EXPECT_EQ(t->node->refs.load(), t.get() == loss.get() ? 1u : 2u) << "held by more than its "
                                                                        "result and its consumer";
  }
  broken = false;
  x->grad = Tensor();
  run_backward(loss, {.retain_graph = true});
  const Tensor again = sum(fragile(x * 2.0) * exp(x * 3.0));
  const Values retained = values(x->grad);
  x->grad = Tensor();
  run_backward(again);
  EXPECT_EQ(retained, values(x->grad));
}

TEST_F(Tape, AnErrorWithoutRetainIsNoWrongAnswerLater) {
  const Tensor x = vector_leaf({1, 2});
  const Tensor loss = sum(fragile(x * x) * x);
  broken = true;
  EXPECT_NE(message_of([&] { run_backward(loss); }), "");
  broken = false;
  x->grad = Tensor();
  EXPECT_NE(message_of([&] { run_backward(loss); }).find("second time"), std::string::npos);
}

// A derivative rule that runs a backward pass of its own through the graph in work is refused.
TEST_F(Tape, ABackwardWithinABackwardIsRefused) {
  static Tensor root;
  static const OpDef reentrant_op = {
      .schema = "reentrant(Tensor input)",
      .cls = Class::Fused,
      .shape = [](Call& c) { c.allocate(0, c.in[0].shape(), c.in[0].dtype()); },
      .forward =
          [](Call& c) {
            const GradMode off(false);
            copy_(c.out[0], c.in[0]);
          },
      .derivative = custom(
          [](const Record&, const Tensor* g, Tensor* gx) {
            run_backward(root, {.retain_graph = true});
            gx[0] = g[0];
          },
          [](const Record&, const Tensor* dx, Tensor* dy) { dy[0] = dx[0]; }),
  };
  const Tensor x = vector_leaf({1, 2});
  root = sum(call(reentrant_op, {x * 2.0}));
  EXPECT_NE(message_of([&] { run_backward(root, {.retain_graph = true}); }), "");
  root = Tensor();
}

TEST_F(Tape, RootsAreCheckedBeforeAnythingMoves) {
  const Tensor x = vector_leaf({1, 2}), loss = sum(x * x), constant = vector({1});
  const Tensor roots[] = {loss, constant}, grads[] = {Tensor(), Tensor()};
  EXPECT_NE(message_of([&] { backward(roots, grads, {}, {}); }).find("does not require grad"),
            std::string::npos);
  EXPECT_FALSE(x->grad);
  EXPECT_NE(message_of([&] { run_backward(x * x); }).find("scalar"), std::string::npos);
  EXPECT_NE(message_of([&] { run_backward(x * x, {}, vector({1, 2, 3})); }).find("(3,)"), std::string::npos);
  run_backward(loss);
  EXPECT_EQ(values(x->grad), (Values{2, 4}));
}

// ---- Versions and in-place writes -------------------------------------------------------------------

TEST_F(Tape, AnOverwrittenInputIsNoticed) {
  const Tensor x = vector_leaf({1, 2});
  const Tensor y = exp(x), z = y * y;
  add_(y, vector({1, 1}));
  const std::string text = message_of([&] { run_backward(sum(z)); });
  EXPECT_NE(text.find("modified by an inplace operation"), std::string::npos) << text;
  EXPECT_NE(text.find("mul"), std::string::npos) << text;
  EXPECT_FALSE(x->grad);
}

TEST_F(Tape, AnOverwrittenOutputIsNoticed) {
  const Tensor x = vector_leaf({1, 2});
  const Tensor y = exp(x);  // its derivative reads the result
  add_(y, vector({1, 1}));
  EXPECT_NE(message_of([&] { run_backward(sum(y)); }).find("inplace"), std::string::npos);
}

TEST_F(Tape, AnOverwriteThroughADetachedAliasIsNoticed) {
  const Tensor x = vector_leaf({1, 2});
  const Tensor y = x * 2.0, z = y * y;
  fill_(alias(y), wrapped_number(0.0));
  EXPECT_NE(message_of([&] { run_backward(sum(z)); }).find("inplace"), std::string::npos);
  const Tensor u = x * 2.0, v = u * u;  // .data has a counter of its own
  fill_(alias_with_own_version(u), wrapped_number(0.0));
  EXPECT_EQ(message_of([&] { run_backward(sum(v)); }), "");
}

TEST_F(Tape, WritesInPlaceAreRecorded) {
  const Tensor x = vector_leaf({2, 3});
  const Tensor y = x * 1.0;
  mul_(y, x);       // x²
  add_(y, x, 3.0);  // x² + 3x
  mul_(y, y);       // (x² + 3x)²: the other operand is the target itself
  EXPECT_EQ(values(y), (Values{100, 324}));
  run_backward(sum(y));
  EXPECT_EQ(values(x->grad), (Values{2 * 10 * 7, 2 * 18 * 9}));
}

TEST_F(Tape, ATargetSeenAsAConstantIsItsOldValue) {
  const Tensor x = vector_leaf({2, 3});
  const Tensor y = x * 1.0;
  mul_(y, alias(y));  // y · (a detached y)
  run_backward(sum(y));
  EXPECT_EQ(values(x->grad), (Values{2, 3}));
}

TEST_F(Tape, AWriteCutsOffWhatItReplaces) {
  const Tensor x = vector_leaf({2, 3}), z = vector_leaf({5, 7});
  const Tensor y = x * x;
  copy_(y, z * 2.0);
  run_backward(sum(y));
  EXPECT_EQ(values(z->grad), (Values{2, 2}));
  EXPECT_TRUE(!x->grad || values(x->grad) == (Values{0, 0}));
}

TEST_F(Tape, LeavesAreNotWritten) {
  const Tensor x = vector_leaf({2, 3}), one = vector({1, 1});
  EXPECT_NE(message_of([&] { add_(x, one); }).find("leaf"), std::string::npos);
  EXPECT_NE(message_of([&] { add_(select(x, 0, 0), wrapped_number(1.0)); }).find("leaf"), std::string::npos);
  EXPECT_NE(message_of([&] { add_(expand(leaf({1}, {1}) * 1.0, {2}), one); }), "");
  EXPECT_EQ(values(x), (Values{2, 3}));
  EXPECT_EQ(version_of(x), 0u);
  const GradMode off(false);
  add_(x, one);
  EXPECT_EQ(values(x), (Values{3, 4}));
}

TEST_F(Tape, AWriteThroughAViewReachesItsBase) {
  const Tensor x = vector_leaf({2, 3});
  const Tensor y = x * 2.0;
  fill_(select(y, 0, 0), wrapped_number(0.0));
  run_backward(sum(y));
  EXPECT_EQ(values(x->grad), (Values{0, 2}));
}

// `z.mul_(3)` once lost itself: recording it made the view's history anew, from before the write.
TEST_F(Tape, AViewSeesItsOwnWrite) {
  const Tensor x = vector_leaf({2, 3});
  const Tensor y = x * 1.0, z = view(y, {2, 1});
  mul_(z, wrapped_number(3.0));
  run_backward(sum(z));
  EXPECT_EQ(values(x->grad), (Values{3, 3}));
}

TEST_F(Tape, AViewSeesWritesOfItsBaseAndOfOtherViews) {
  const Tensor x = vector_leaf({2, 3, 5, 7});
  const Tensor y = x * 1.0;
  const Tensor matrix = view(y, {2, 2}), turned = transpose(matrix, 0, 1);
  const Tensor column = select(matrix, 1, 1), row = select(turned, 0, 0);
  mul_(y, wrapped_number(2.0));       // everything · 2
  mul_(column, wrapped_number(3.0));  // elements 1 and 3 · 3
  mul_(row, row);                     // elements 0 and 2 squared: (2x)²
  EXPECT_EQ(values(turned), (Values{16, 100, 18, 42}));
  run_backward(sum(turned * matrix), {.retain_graph = true});
  // Σ t_ij m_ij of [[a, c], [b, d]] and [[a, b], [c, d]] = a² + 2bc + d², with
  // a = 4x0², b = 6x1, c = 4x2², d = 6x3.
  EXPECT_EQ(values(x->grad), (Values{2 * 16 * 16, 2 * 100 * 6, 2 * 18 * 40, 2 * 42 * 6}));
}

TEST_F(Tape, AViewOfAConstantJoinsItsBase) {
  const Tensor x = vector_leaf({2, 3});
  const Tensor y = zeros({3}, DType::Float64), part = slice(y, 0, 1, 3, 1), end = select(y, 0, 2);
  copy_(part, x * x);
  EXPECT_TRUE(needs_grad(y));
  run_backward(end * select(y, 0, 1) + sum(y));  // x1² x0² + x0² + x1²
  EXPECT_EQ(values(x->grad), (Values{2 * 2 * 10, 2 * 3 * 5}));
}

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
