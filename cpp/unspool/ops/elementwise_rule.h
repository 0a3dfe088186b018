// The derivative of every elementwise op that has d0, d1 in elementwise.h: one rule for all.
#pragma once

#include "unspool/ops/blocks.h"
#include "unspool/ops/elementwise.h"
#include "unspool/ops/map.h"

namespace unspool {
namespace {

using namespace elementwise;

template <class F>
F formula(const AttrsView& attrs) {
  double params[kMaxAttrs] = {};
  for (int i = 0; i < attrs.n; ++i) params[i] = attrs.f(i);
  return F(params);
}

template <class F, int I>
constexpr OpDef backward_op = {.schema = "elementwise_backward(Tensor grad, Tensor saved)",
                               .map = map_id<Backward<F, I>>};

// g times the partial derivative by input I, in recorded ops. Serves tangents as well.
template <class F, int I>
Tensor times_partial(const Record& r, const Tensor& g) {
  return pulled<I>(formula<F>(r.attrs), g, r.x(0), F::kArity == 2 ? r.x(1) : Tensor(), r.y);
}

template <class F, int I>
void pull(const Record& r, const Tensor& g, Tensor& gx) {
  if (!r.needs(I)) return;
  if constexpr (map_id<Backward<F, I>> >= 0) {
    if (!r.taped) {
      constexpr std::uint32_t uses = Backward<F, I>::kUses;
      Tensor in[3] = {g};
      int n = 1;
      if (uses & kSaveIn0) in[n++] = r.x(0);
      if (uses & kSaveIn1) in[n++] = r.x(1);
      if (uses & kSaveOut) in[n++] = r.y;
      gx = call(backward_op<F, I>, std::span<Tensor>(in, static_cast<std::size_t>(n)), r.attrs);
      return;
    }
  }
  gx = times_partial<F, I>(r, g);
}

template <class F>
void elementwise_vjp(const Record& r, const Tensor* g, Tensor* gx) {
  pull<F, 0>(r, g[0], gx[0]);
  if constexpr (F::kArity == 2) pull<F, 1>(r, g[0], gx[1]);
}

template <class F>
void elementwise_jvp(const Record& r, const Tensor* dx, Tensor* dy) {
  if (dx[0]) dy[0] = times_partial<F, 0>(r, dx[0]);
  if constexpr (F::kArity == 2) {
    if (!dx[1]) return;
    const Tensor part = times_partial<F, 1>(r, dx[1]);
    dy[0] = dy[0] ? dy[0] + part : part;
  }
}

template <class F>
constexpr Derivative elementwise() {
  return {elementwise_vjp<F>, elementwise_jvp<F>, {F::kUses0, F::kUses1, 0}, nullptr};
}

// The attribute list of a call with its numbers replaced.
[[maybe_unused]] void run_with(Call& c, const Attrs& attrs) {
  const AttrsView given = c.attrs;
  c.attrs = attrs;
  run_map(c);
  c.attrs = given;
}

constexpr Derivative kLogic = none("its result is not a differentiable function of its input");

}  // namespace
}  // namespace unspool
