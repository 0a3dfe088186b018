// The tape and writes in place: versions that tell of an overwritten value, and views that share memory.
#include <gtest/gtest.h>

#include <string>

#include "tape_fixture.h"

namespace unspool {
namespace {

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

}  // namespace
}  // namespace unspool
