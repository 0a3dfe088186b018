#include "unspool/ops/random_state.h"

#include <cstring>

#include "unspool/base/pool.h"
#include "unspool/ops/op.h"

namespace unspool {
namespace {

template <class F>
void with_generator(const Attr& a, F&& f) {
  Generator& generator = a.given() ? *static_cast<Generator*>(a.p) : default_generator();
  const Undivided whole;
  const std::lock_guard lock(generator.mutex());
  f(generator);
}

constexpr OpDef state_op = {
    .schema = "get_state(*, Generator? generator=None)",
    .cls = Class::Random,
    .shape =
        [](Call& c) { c.allocate(0, {static_cast<std::int64_t>(Generator::kStateBytes)}, DType::UInt8); },
    .forward =
        [](Call& c) {
          with_generator(c.attrs[0], [&](const Generator& g) {
            const Generator::State state = g.get_state();
            std::memcpy(c.out[0]->data, state.data(), state.size());
          });
        },
    .derivative = none("a stream of random numbers has none"),
};
constexpr OpDef set_state_op = {
    .schema = "set_state(Tensor state, *, Generator? generator=None)",
    .cls = Class::Random,
    .shape = [](Call& c) { c.n_out = 0; },
    .forward =
        [](Call& c) {
          with_generator(c.attrs[0], [&](Generator& g) {
            g.set_state(c.in[0]->data, static_cast<std::size_t>(c.in[0].numel()));
          });
        },
    .derivative = none("a stream of random numbers has none"),
    .refuses = true,
};

Attr attr_of(Generator* g) { return g ? Attr(static_cast<void*>(g)) : Attr(); }

}  // namespace

Tensor generator_state(Generator* g) { return call(state_op, {}, Attrs{attr_of(g)}); }

void set_generator_state(Generator* g, const Tensor& state) {
  call(set_state_op, {state}, Attrs{attr_of(g)});
}

}  // namespace unspool
