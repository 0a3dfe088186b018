// Optimizer updates: one op a parameter, written in place, PyTorch's arithmetic. They are called
// without recording; what they write is counted, so that backward through an old graph says so.
// Subnormal numbers are flushed to 0 here, and here alone: see FlushSubnormals.
#include "unspool/ops/update.h"

#include <algorithm>
#include <type_traits>
#include <utility>

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

// Of a call on dense arrays of float32 or float64: where input k lies. All but the gradient are written.
auto memory_of(const Call& c) {
  return [&c](std::size_t k) -> void* {
    if (!c.in[k]) return nullptr;
    if (k != 1) bump_version(c.in[k]);
    return c.in[k]->data;
  };
}

// The kernels' calls, of what the op's call says and of memory: in[i] as memory(i), null where there is none.
template <class F>
SgdCall sgd_call(const Call& c, DType dtype, const F& memory) {
  return {.dtype = dtype,
          .n = c.in[0].numel(),
          .param = memory(0),
          .grad = memory(1),
          .momentum_buffer = memory(2),
          .lr = c.attrs.f(0),
          .momentum = c.attrs.f(1),
          .dampening = c.attrs.f(2),
          .weight_decay = c.attrs.f(3),
          .nesterov = c.attrs.i(4) != 0,
          .maximize = c.attrs.i(5) != 0,
          .first = c.attrs.i(6) != 0};
}
template <class F>
AdamCall adam_call(const Call& c, DType dtype, const F& memory) {
  return {.dtype = dtype,
          .n = c.in[0].numel(),
          .param = memory(0),
          .grad = memory(1),
          .exp_avg = memory(2),
          .exp_avg_sq = memory(3),
          .max_exp_avg_sq = memory(4),
          .lr = c.attrs.f(0),
          .beta1 = c.attrs.f(1),
          .beta2 = c.attrs.f(2),
          .eps = c.attrs.f(3),
          .weight_decay = c.attrs.f(4),
          .maximize = c.attrs.i(5) != 0,
          .decoupled = c.attrs.i(6) != 0,
          .step = count_step(c.in[5])};
}
template <class F>
RmspropCall rmsprop_call(const Call& c, DType dtype, const F& memory) {
  count_step(c.in[5]);
  return {.dtype = dtype,
          .n = c.in[0].numel(),
          .param = memory(0),
          .grad = memory(1),
          .square_avg = memory(2),
          .momentum_buffer = memory(3),
          .grad_avg = memory(4),
          .lr = c.attrs.f(0),
          .alpha = c.attrs.f(1),
          .eps = c.attrs.f(2),
          .weight_decay = c.attrs.f(3),
          .momentum = c.attrs.f(4),
          .maximize = c.attrs.i(5) != 0};
}

// f(dtype, memory) with the first n inputs, dense: all but the gradient are written.
template <std::size_t n, class F>
void on_dense(Call& c, const F& f) {
  const DType dtype = c.in[0].dtype();
  const auto as_it_is = [](const Tensor& t) { return !t || (t.contiguous() && !is_half(t.dtype())); };
  if (std::all_of(c.in.begin(), c.in.begin() + n, as_it_is)) return f(dtype, memory_of(c));
  const auto run = [&]<std::size_t... i>(std::index_sequence<i...>) {
    Dense dense[] = {Dense(c.in[i])...};
    f(dense[0].dtype(), [&](std::size_t k) -> void* {
      if (!c.in[k]) return nullptr;
      return k == 1 ? const_cast<void*>(dense[k].read()) : dense[k].write();
    });
  };
  run(std::make_index_sequence<n>{});
}

constexpr OpDef sgd_op = {
    .schema =
        "sgd_update(Tensor param, Tensor grad, Tensor? momentum_buffer, float lr, float "
        "momentum, float dampening, float weight_decay, bool nesterov, bool maximize, bool "
        "first)",
    .cls = Class::Update,
    .shape = check,
    .forward =
        [](Call& c) {
          on_dense<3>(c, [&](DType dtype, const auto& memory) {
            const FlushSubnormals flush;
            kernels().sgd(sgd_call(c, dtype, memory));
          });
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
          on_dense<5>(c, [&](DType dtype, const auto& memory) {
            const FlushSubnormals flush;
            kernels().adam(adam_call(c, dtype, memory));
          });
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
          on_dense<5>(c, [&](DType dtype, const auto& memory) {
            const FlushSubnormals flush;
            kernels().rmsprop(rmsprop_call(c, dtype, memory));
          });
        },
};

void run(const SgdCall& c) { kernels().sgd(c); }
void run(const AdamCall& c) { kernels().adam(c); }
void run(const RmspropCall& c) { kernels().rmsprop(c); }

}  // namespace

bool updates_in_parts(const OpDef& op) { return &op == &sgd_op || &op == &adam_op || &op == &rmsprop_op; }

UpdateParts::UpdateParts(const Call& c) {
  const DType dtype = c.in[0].dtype();
  const auto memory = memory_of(c);
  if (c.op == &sgd_op)
    call_ = sgd_call(c, dtype, memory);
  else if (c.op == &adam_op)
    call_ = adam_call(c, dtype, memory);
  else
    call_ = rmsprop_call(c, dtype, memory);
}

void UpdateParts::operator()(std::int64_t first, std::int64_t count, std::int64_t rows,
                             std::int64_t apart) const {
  const FlushSubnormals flush;
  std::visit(
      [&](const auto& whole) {
        if (rows == 1 && count == whole.n) return run(whole);
        auto part = whole;  // threads have parts at the same time
        part.begin = first;
        part.n = count;
        part.rows = rows;
        part.apart = apart;
        run(part);
      },
      call_);
}

std::array<const void*, 2> UpdateParts::reads() const {
  return std::visit(
      [](const auto& c) -> std::array<const void*, 2> {
        using C = std::decay_t<decltype(c)>;
        if constexpr (std::is_same_v<C, SgdCall>)
          return {c.param, c.momentum_buffer};
        else if constexpr (std::is_same_v<C, AdamCall>)
          return {c.exp_avg, c.exp_avg_sq};
        else
          return {c.param, c.square_avg};
      },
      call_);
}

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
