// What the tests of the tape share: a fixture that counts what is left, tensors of given values, and an op
// whose derivative fails when told to.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "unspool/base/alloc.h"
#include "unspool/base/error.h"
#include "unspool/ops/op.h"
#include "unspool/ops/ops.h"
#include "unspool/tape/node.h"
#include "unspool/tape/sweep.h"

namespace unspool {

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

inline Tensor tensor(const Shape& shape, const Values& values) {
  Tensor t = empty(shape, DType::Float64);
  EXPECT_EQ(t.numel(), static_cast<std::int64_t>(values.size()));
  for (std::size_t i = 0; i < values.size(); ++i) reinterpret_cast<double*>(t->data)[i] = values[i];
  return t;
}
inline Tensor leaf(const Shape& shape, const Values& values) {
  Tensor t = tensor(shape, values);
  t->requires_grad = true;
  return t;
}
inline Tensor vector(const Values& values) {
  return tensor({static_cast<std::int64_t>(values.size())}, values);
}
inline Tensor vector_leaf(const Values& values) {
  return leaf({static_cast<std::int64_t>(values.size())}, values);
}

inline Values values(const Tensor& t) {
  if (!t) return {};
  const GradMode off(false);
  const Tensor dense = contiguous(t);
  const auto* p = reinterpret_cast<const double*>(dense->data);
  return Values(p, p + dense.numel());
}

inline void run_backward(const Tensor& root, SweepOptions options = {}, const Tensor& g = {}) {
  const Tensor roots[] = {root}, grads[] = {g};
  backward(roots, grads, {}, options);
}

inline Tensor grad_of(const Tensor& root, const Tensor& input, bool create_graph = false) {
  const Tensor roots[] = {root}, grads[] = {Tensor()}, inputs[] = {input};
  return grad(roots, grads, inputs, {.retain_graph = true, .create_graph = create_graph})[0];
}

inline std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

// An op of the test's own: the identity, whose derivative fails while `broken` says so.
inline bool broken = false;
inline int rule_runs = 0;
inline const OpDef fragile_op = {
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
inline Tensor fragile(const Tensor& x) { return call(fragile_op, {x}); }

}  // namespace unspool
