// Ops of one number that are a plain loop over a function of the C library, or one like it: the function and
// its derivative are one row, UNSPOOL_UNARY, and `unary` makes the op. No vector code here: elementwise.h has
// it.
#pragma once

#include "unspool/kernels/table.h"
#include "unspool/ops/map.h"
#include "unspool/ops/op.h"
#include "unspool/ops/ops.h"

namespace unspool {

inline Tensor number(double x) { return wrapped_number(x); }
inline Tensor square(const Tensor& x) { return x * x; }

// One row a function: f is the value, d the derivative by the one of x and y that it reads, so that the other
// may be overwritten.
#define UNSPOOL_UNARY(Name, value, reads, derivative)        \
  struct Name {                                              \
    static constexpr std::uint32_t kSaves = reads;           \
    template <class T>                                       \
    static T f(T x) {                                        \
      return value;                                          \
    }                                                        \
    static Tensor pulled(const Record& r, const Tensor& g) { \
      const Tensor& v = reads == kSaveOut ? r.y : r.x(0);    \
      return g * (derivative);                               \
    }                                                        \
  };

template <class F>
void unary_forward(Call& c) {
  if (!is_floating(c.in[0].dtype())) return kernels().copy(c.out[0].view(), c.in[0].view());
  visit_floating(c.in[0].dtype(), [&]<class T>() {
    const T* x = reinterpret_cast<const T*>(c.in[0]->data);
    T* y = reinterpret_cast<T*>(c.out[0]->data);
    for (std::int64_t i = 0, n = c.in[0].numel(); i < n; ++i) y[i] = F::f(x[i]);
  });
}

inline void unary_shape(Call& c) {
  if (c.in[0].dtype() == DType::Bool) fail(ErrorKind::DType, name_of(*c.op), ": not implemented for 'bool'");
  flat_shape(c, c.in[0].shape(), c.in[0].dtype());
}

// promote: Floating lifts integers; None leaves them.
template <class F>
constexpr OpDef unary(const char* schema, const char* doc, const char* grad_name,
                      Promote promote = Promote::Floating, Domain domain = Domain::Real) {
  return {.schema = schema,
          .doc = doc,
          .grad_name = grad_name,
          .surface = kBoth | kInplace,
          .cls = Class::Fused,
          .promote = promote,
          .shape = unary_shape,
          .forward = unary_forward<F>,
          .derivative = custom(
              [](const Record& r, const Tensor* g, Tensor* gx) { gx[0] = F::pulled(r, g[0]); },
              [](const Record& r, const Tensor* dx, Tensor* dy) { dy[0] = F::pulled(r, dx[0]); }, F::kSaves),
          .domain = domain};
}

}  // namespace unspool
