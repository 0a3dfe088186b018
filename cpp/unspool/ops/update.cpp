// Optimizer updates: one op a parameter, written in place, PyTorch's arithmetic. They are called
// without recording; what they write is counted, so that backward through an old graph says so.
// Subnormal numbers are flushed to 0 here, and here alone: see FlushSubnormals.
#include "unspool/ops/update.h"

#include "unspool/base/cpu.h"
#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"

namespace unspool {
namespace {

void check_all(Call& c, std::size_t n) {
  const Tensor& param = c.in[0];
  for (std::size_t i = 1; i < n; ++i) {
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

void check(Call& c) { check_all(c, c.in.size()); }
// The last input counts the parameter's steps.
void check_counted(Call& c) { check_all(c, c.in.size() - 1); }

// In the tensor's own dtype: a count of float32 stays at 2^24.
template <class T>
double counted_up(const Tensor& step) {
  T& count = *reinterpret_cast<T*>(step->data);
  return static_cast<double>(count += T{1});
}
double count_step(const Tensor& step) {
  bump_version(step);
  return step.dtype() == DType::Float64 ? counted_up<double>(step) : counted_up<float>(step);
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
        "max_exp_avg_sq, Tensor step, float lr, float beta1, float beta2, float eps, float weight_decay, "
        "bool maximize, bool decoupled)",
    .cls = Class::Update,
    .shape = check_counted,
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
                          .step = count_step(c.in[5])});
        },
};

constexpr OpDef rmsprop_op = {
    .schema =
        "rmsprop_update(Tensor param, Tensor grad, Tensor square_avg, Tensor? momentum_buffer, Tensor? grad_avg, "
        "Tensor step, float lr, float alpha, float eps, float weight_decay, float momentum, bool maximize)",
    .cls = Class::Update,
    .shape = check_counted,
    .forward =
        [](Call& c) {
          Dense param(c.in[0]), grad(c.in[1]), square(c.in[2]), buffer(c.in[3]), mean(c.in[4]);
          count_step(c.in[5]);
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

Attrs attrs_of(const SgdOptions& o, bool first) {
  return {o.lr, o.momentum, o.dampening, o.weight_decay, o.nesterov, o.maximize, first};
}
Attrs attrs_of(const AdamOptions& o) {
  return {o.lr, o.beta1, o.beta2, o.eps, o.weight_decay, o.maximize, o.decoupled};
}
Attrs attrs_of(const RmspropOptions& o) {
  return {o.lr, o.alpha, o.eps, o.weight_decay, o.momentum, o.maximize};
}

void sgd_update(std::span<Tensor, 3> in, const Attrs& attrs) { call(sgd_op, in, attrs); }
void adam_update(std::span<Tensor, 6> in, const Attrs& attrs) { call(adam_op, in, attrs); }
void rmsprop_update(std::span<Tensor, 6> in, const Attrs& attrs) { call(rmsprop_op, in, attrs); }

std::span<const OpDef* const> update_ops() {
  static const OpDef* const ops[] = {&sgd_op, &adam_op, &rmsprop_op};
  return ops;
}

}  // namespace unspool
