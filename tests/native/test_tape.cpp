// The tape against its rules: order, what is saved, accumulation, un-broadcasting, errors in the middle.
// Formulas of ops are tested elsewhere.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <thread>

#include "tape_fixture.h"

namespace unspool {
namespace {

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

}  // namespace
}  // namespace unspool
