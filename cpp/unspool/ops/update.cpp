// Optimizer updates: one op a parameter, written in place, PyTorch's arithmetic. They are called
// without recording; what they write is counted, so that backward through an old graph says so.
// Subnormal numbers are flushed to 0 here, and here alone: see FlushSubnormals.
#include "unspool/ops/update.h"

#include "unspool/base/cpu.h"
#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"

namespace unspool {
namespace {

void check(Call& c) {
  const Tensor& param = c.in[0];
  for (std::size_t i = 1; i < c.in.size(); ++i) {
    const Tensor& t = c.in[i];
    if (!t) continue;
    if (!(t.shape() == param.shape()) || t.dtype() != param.dtype())
      fail(ErrorKind::Runtime, name_of(*c.op), ": parameter of shape ", param.shape(), " and dtype ",
           name(param.dtype()), " does not match its gradient or state of shape ", t.shape(), " and dtype ",
           name(t.dtype()));
  }
  if (!is_floating(param.dtype()))
    fail(ErrorKind::DType, name_of(*c.op), ": parameters must be floating, got ", name(param.dtype()));
}

// The kernels walk dense arrays of float32 or float64; another tensor is updated beside and copied back.
class Dense {
 public:
  // Of a tensor that outlives it: a step of small parameters would spend a tenth of its time on counting
  // references.
  explicit Dense(const Tensor& t) : original_(t) {
    if (t && is_half(t.dtype()))
      copy_ = contiguous(to(t, DType::Float32));
    else if (t && !t.contiguous())
      copy_ = contiguous(t);
  }
  ~Dense() {
    if (copy_ && written_) kernels().copy(original_.view(), copy_.view());
  }
  Dense(const Dense&) = delete;
  Dense& operator=(const Dense&) = delete;
  DType dtype() const { return dense().dtype(); }
  const void* read() const { return dense() ? dense()->data : nullptr; }
  void* write() {
    written_ = true;
    if (original_) bump_version(original_);
    return dense() ? dense()->data : nullptr;
  }

 private:
  const Tensor& dense() const { return copy_ ? copy_ : original_; }

  const Tensor& original_;
  Tensor copy_;
  bool written_ = false;
};

constexpr OpDef sgd_op = {
    .schema =
        "sgd_update(Tensor param, Tensor grad, Tensor? momentum_buffer, float lr, float "
        "momentum, float dampening, float weight_decay, bool nesterov, bool maximize, bool "
        "first)",
    .cls = Class::Update,
    .shape = check,
    .forward =
        [](Call& c) {
          Dense param(c.in[0]), grad(c.in[1]), buffer(c.in[2]);
          const FlushSubnormals flush;
          kernels().sgd({.dtype = param.dtype(),
                         .n = c.in[0].numel(),
                         .param = param.write(),
                         .grad = grad.read(),
                         .momentum_buffer = c.in[2] ? buffer.write() : nullptr,
                         .lr = c.attrs.f(0),
                         .momentum = c.attrs.f(1),
                         .dampening = c.attrs.f(2),
                         .weight_decay = c.attrs.f(3),
                         .nesterov = c.attrs.i(4) != 0,
                         .maximize = c.attrs.i(5) != 0,
                         .first = c.attrs.i(6) != 0});
        },
};

constexpr OpDef adam_op = {
    .schema =
        "adam_update(Tensor param, Tensor grad, Tensor exp_avg, Tensor exp_avg_sq, Tensor? "
        "max_exp_avg_sq, float lr, float beta1, float beta2, float eps, float weight_decay, "
        "bool maximize, bool decoupled, float step)",
    .cls = Class::Update,
    .shape = check,
    .forward =
        [](Call& c) {
          Dense param(c.in[0]), grad(c.in[1]), mean(c.in[2]), square(c.in[3]), largest(c.in[4]);
          const FlushSubnormals flush;
          kernels().adam({.dtype = param.dtype(),
                          .n = c.in[0].numel(),
                          .param = param.write(),
                          .grad = grad.read(),
                          .exp_avg = mean.write(),
                          .exp_avg_sq = square.write(),
                          .max_exp_avg_sq = c.in[4] ? largest.write() : nullptr,
                          .lr = c.attrs.f(0),
                          .beta1 = c.attrs.f(1),
                          .beta2 = c.attrs.f(2),
                          .eps = c.attrs.f(3),
                          .weight_decay = c.attrs.f(4),
                          .maximize = c.attrs.i(5) != 0,
                          .decoupled = c.attrs.i(6) != 0,
                          .step = c.attrs.f(7)});
        },
};

constexpr OpDef rmsprop_op = {
    .schema =
        "rmsprop_update(Tensor param, Tensor grad, Tensor square_avg, Tensor? momentum_buffer, Tensor? grad_avg, "
        "float lr, float alpha, float eps, float weight_decay, float momentum, bool maximize)",
    .cls = Class::Update,
    .shape = check,
    .forward =
        [](Call& c) {
          Dense param(c.in[0]), grad(c.in[1]), square(c.in[2]), buffer(c.in[3]), mean(c.in[4]);
          const FlushSubnormals flush;
          kernels().rmsprop({.dtype = param.dtype(),
                             .n = c.in[0].numel(),
                             .param = param.write(),
                             .grad = grad.read(),
                             .square_avg = square.write(),
                             .momentum_buffer = c.in[3] ? buffer.write() : nullptr,
                             .grad_avg = c.in[4] ? mean.write() : nullptr,
                             .lr = c.attrs.f(0),
                             .alpha = c.attrs.f(1),
                             .eps = c.attrs.f(2),
                             .weight_decay = c.attrs.f(3),
                             .momentum = c.attrs.f(4),
                             .maximize = c.attrs.i(5) != 0});
        },
};

}  // namespace

void sgd_update(std::span<Tensor, 3> in, const SgdOptions& o, bool first) {
  call(sgd_op, in, Attrs{o.lr, o.momentum, o.dampening, o.weight_decay, o.nesterov, o.maximize, first});
}

void adam_update(std::span<Tensor, 5> in, const AdamOptions& o, double step) {
  call(adam_op, in, Attrs{o.lr, o.beta1, o.beta2, o.eps, o.weight_decay, o.maximize, o.decoupled, step});
}

void rmsprop_update(std::span<Tensor, 5> in, const RmspropOptions& o) {
  call(rmsprop_op, in, Attrs{o.lr, o.alpha, o.eps, o.weight_decay, o.momentum, o.maximize});
}

std::span<const OpDef* const> update_ops() {
  static const OpDef* const ops[] = {&sgd_op, &adam_op, &rmsprop_op};
  return ops;
}

}  // namespace unspool
