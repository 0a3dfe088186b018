#include "unspool/ops/halves.h"

#include <algorithm>
#include <utility>

#include "unspool/ops/ops.h"

namespace unspool {
namespace {

bool has_half_dtype(const AttrsView& attrs) {
  for (int i = 0; i < attrs.n; ++i)
    if (attrs[i].kind == Attr::DTypeKind && is_half(attrs[i].dtype())) return true;
  return false;
}

// What the door would bring the inputs to; of an op that looks after itself, what its floating inputs have in
// common.
DType common_dtype(const OpDef& op, std::span<const Tensor> in) {
  ResultType type;
  bool any = false;
  for (const Tensor& t : in) {
    if (!t || (op.promote == Promote::None && !is_floating(t.dtype()))) continue;
    type.add(t);
    any = true;
  }
  const DType common = any ? type.get() : DType::Float32;
  return op.promote == Promote::Floating && !is_floating(common) ? default_dtype() : common;
}

Tensor widened(const Tensor& t, DType common) {
  if (!t || t->wrapped_number) return t;
  return is_half(common) ? to(to(t, common), DType::Float32) : to(t, common);
}

thread_local Autocast autocast_state;

// What autocast asked for is done once: the float32 call inside is no product to be converted again.
struct Paused {
  const bool was = std::exchange(autocast_state.on, false);
  ~Paused() { autocast_state.on = was; }
};

// What autocast on the CPU runs in float32, of the engine's ops; the Python layer looks after its own.
bool in_float32(const OpDef& op) {
  static constexpr std::string_view kNames[] = {"mse_loss", "cross_entropy", "prod"};
  const std::string name = name_of(op);
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

}  // namespace

Autocast autocast() { return autocast_state; }
void set_autocast(const Autocast& state) {
  autocast_state = state;
  if (state.on) halves_in_use.store(true, std::memory_order_relaxed);
}

void convert_for_autocast(const OpDef& op, std::span<Tensor> in) {
  if (!autocast_state.on) return;
  if (op.cls == Class::Contraction && !op.composite) {
    for (Tensor& t : in)
      if (t && t.dtype() == DType::Float32) t = to(t, autocast_state.to);
  } else if (in_float32(op)) {
    for (Tensor& t : in)
      if (t && is_half(t.dtype())) t = to(t, DType::Float32);
  }
}

Tensor readable(const Tensor& x) { return is_half(x.dtype()) ? to(x, DType::Float32) : x; }

bool needs_floats(const OpDef& op, std::span<const Tensor> in, const AttrsView& attrs) {
  if (op.takes_halves || (op.composite && !op.wide) || op.cls == Class::View || op.cls == Class::Update)
    return false;
  for (const Tensor& t : in)
    if (t && is_half(t.dtype())) return true;
  if (has_half_dtype(attrs)) return true;
  if (op.promote == Promote::None || !is_half(default_dtype())) return false;
  return is_half(common_dtype(op, in));  // integers and Python numbers become the default dtype
}

void call_in_floats(Call& c, std::span<Tensor> in, const AttrsView& attrs) {
  const OpDef& op = *c.op;
  const Paused once;
  DType common = common_dtype(op, in);
  Vector<Tensor> wide;
  wide.reserve(in.size());
  for (const Tensor& t : in) {
    const bool promoted = op.promote != Promote::None && is_floating(common);
    wide.push_back(t && (promoted || is_half(t.dtype())) ? widened(t, promoted ? common : t.dtype()) : t);
  }
  // Where the call names the dtype of its result, that decides.
  Attrs asked;
  asked.n = attrs.n;
  asked.n_lists = attrs.n_lists;
  for (int i = 0; i < attrs.n; ++i) {
    asked.v[i] = attrs[i];
    if (attrs[i].kind != Attr::DTypeKind) continue;
    common = attrs[i].dtype();
    if (is_half(common)) asked.v[i] = Attr(DType::Float32);
  }
  for (int i = 0; i < attrs.n_lists; ++i) asked.lists[i] = attrs.list(i);

  Call inner(op);
  inner.n_out = c.n_out;
  call(inner, std::span<Tensor>(wide), asked);
  c.n_out = inner.n_out;
  for (int i = 0; i < kMaxOutputs; ++i) {
    const Tensor& y = inner.out[i];
    c.out[i] = y && is_half(common) && y.dtype() == DType::Float32 ? to(y, common) : y;
  }
}

}  // namespace unspool
