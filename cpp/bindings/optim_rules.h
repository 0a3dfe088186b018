// The optimizers whose update is one op a parameter: a group's options, what is kept for a parameter, in the
// order of the update's arguments, and the update.
#pragma once

#include <array>
#include <span>

#include "optim_state.h"
#include "unspool/ops/update.h"

namespace unspool::python {

struct Sgd {
  SgdOptions options;
  std::array<PyObject*, 1> key{names().momentum_buffer};

  explicit Sgd(const Settings& s)
      : options{s.number(names().lr),        s.not_negative(names().momentum),
                s.number(names().dampening), s.not_negative(names().weight_decay),
                s.flag(names().nesterov),    s.flag(names().maximize)} {}
  Kept kept() const { return {{}, {key.data(), options.momentum != 0.0 ? 1u : 0u}}; }
  static std::size_t place(std::size_t i) { return 2 + i; }
  Attrs attrs(bool first) const { return attrs_of(options, first); }
  static void update(std::span<Tensor, 6> in, const Attrs& attrs) { sgd_update(in.first<3>(), attrs); }
};

struct Adam {
  AdamOptions options;
  std::array<PyObject*, 4> key{names().step, names().exp_avg, names().exp_avg_sq, names().max_exp_avg_sq};
  bool amsgrad;

  explicit Adam(const Settings& s) : Adam(s, s.betas()) {}
  Adam(const Settings& s, std::array<double, 2> betas)
      : options{s.number(names().lr),
                betas[0],
                betas[1],
                s.not_negative(names().eps),
                s.not_negative(names().weight_decay),
                s.flag(names().maximize),
                s.flag(names().decoupled)},
        amsgrad(s.flag(names().amsgrad)) {}
  Kept kept() const { return {{key.data(), 1}, {key.data() + 1, amsgrad ? 3u : 2u}}; }
  static std::size_t place(std::size_t i) { return 2 + i; }
  Attrs attrs(bool) const { return attrs_of(options); }
  static void update(std::span<Tensor, 6> in, const Attrs& attrs) { adam_update(in, attrs); }
};

struct Rmsprop {
  RmspropOptions options;
  bool centered;
  std::array<PyObject*, 4> key{names().step, names().square_avg};
  unsigned n = 2;

  explicit Rmsprop(const Settings& s)
      : options{s.number(names().lr),
                s.not_negative(names().alpha),
                s.not_negative(names().eps),
                s.not_negative(names().weight_decay),
                s.not_negative(names().momentum),
                s.flag(names().maximize)},
        centered(s.flag(names().centered)) {
    if (options.momentum > 0) key[n++] = names().momentum_buffer;
    if (centered) key[n++] = names().grad_avg;
  }
  Kept kept() const { return {{key.data(), 1}, {key.data() + 1, n - 1}}; }
  // Where the kept tensor i stands among the update's inputs: grad_avg is the last, also without momentum.
  std::size_t place(std::size_t i) const { return key[1 + i] == names().grad_avg ? 4 : 2 + i; }
  Attrs attrs(bool) const { return attrs_of(options); }
  static void update(std::span<Tensor, 6> in, const Attrs& attrs) { rmsprop_update(in, attrs); }
};

}  // namespace unspool::python
