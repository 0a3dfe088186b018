// The door: every operation passes call() or call_inplace(). They bring the inputs to one dtype,
// have the op check and infer the shape, allocate, run the kernel, and hand the call to the tape.
#include <algorithm>
#include <utility>

#include "unspool/base/pool.h"
#include "unspool/base/profile.h"
#include "unspool/ops/before_write.h"
#include "unspool/ops/halves.h"
#include "unspool/ops/map.h"
#include "unspool/ops/op.h"
#include "unspool/ops/ops.h"

namespace unspool {

Recorder recorder;
Sites sites;
Tracer tracer;
UNSPOOL_NEAR constinit thread_local bool capturing = false;
void (*before_write)(const Tensor&) = nullptr;

namespace {

UNSPOOL_NEAR thread_local bool grad_mode = true;

// A Python number takes the dtype of the call at once, without a cast on the tape. It becomes a
// tensor like others, so that a rule that reads it again does not fall back to the default dtype.
Tensor number_as(const Tensor& x, DType dtype) {
  Tensor y = empty({}, dtype);
  kernels().copy(y.view(), x.view());
  return made_of_numbers(y);
}

bool is_bool(const Tensor& t) { return t.dtype() == DType::Bool; }

void bring_to_one_dtype(const OpDef& op, std::span<Tensor> in) {
  if (op.promote == Promote::None) return;
  DType common = in[0].dtype();
  bool same = !in[0]->wrapped_number;
  for (const Tensor& t : in.subspan(1)) same &= t.dtype() == common && !t->wrapped_number;
  if (!same) {
    ResultType type;
    for (const Tensor& t : in) type.add(t);
    common = type.get();
  }
  if (op.promote == Promote::Floating && !is_floating(common)) common = default_dtype();
  const bool refused = op.promote == Promote::Arithmetic   ? common == DType::Bool
                       : op.promote == Promote::Difference ? std::ranges::any_of(in, is_bool)
                                                           : false;
  if (refused)
    fail(ErrorKind::DType, name_of(op),
         ": bool tensors are not supported; use ~, ^ or | for "
         "logic, or convert one to a number first");
  for (Tensor& t : in) {
    if (t->wrapped_number)
      t = number_as(t, common);
    else if (t.dtype() != common)
      t = to(t, common);
  }
}

// Indices, labels and masks are checked first and used later; no other thread may write them between.
bool reads_places(std::span<const Tensor> in) {
  for (const Tensor& t : in)
    if (t && !is_floating(t.dtype()) && !t->wrapped_number) return true;
  return false;
}

}  // namespace

namespace {

// A composite's error comes from the op that it called; its own name goes in front.
void run_composite(Call& c) {
  try {
    if (capturing) [[unlikely]]
      tracer.composite(c);
    else
      c.op->composite(c);
  } catch (const Error& e) {
    const std::string name = name_of(*c.op), text = e.what();
    if (c.op->surface == kInternal || text.compare(0, name.size(), name) == 0) throw;
    throw Error(e.kind(), name + ": " + text);
  }
}

bool in_floats(const OpDef& op, std::span<Tensor> in, const AttrsView& attrs) {
  if (!__builtin_expect(halves_in_use.load(std::memory_order_relaxed), 0)) return false;
  convert_for_autocast(op, in);
  return needs_floats(op, in, attrs);
}

}  // namespace

namespace {

void compute(Call& c) {
  if (c.op->forward)
    c.op->forward(c);
  else
    run_map(c);
}

}  // namespace

void run_kernel(Call& c) {
  if (!__atomic_load_n(&profiling, __ATOMIC_RELAXED)) [[likely]]
    return compute(c);
  const ProfileScope event(name_of(*c.op), c.out[0] ? c.out[0].shape() : Shape());
  compute(c);
}

namespace {

void run(Call& c) {
  if (capturing) [[unlikely]]
    tracer.run(c);
  else
    run_kernel(c);
}

}  // namespace

bool grad_enabled() { return grad_mode; }
bool set_grad_enabled(bool on) { return std::exchange(grad_mode, on); }

std::string name_of(const OpDef& op) {
  const std::string_view schema = op.schema;
  return std::string(schema.substr(0, schema.find('(')));
}

void Call::allocate(int i, const Shape& shape, DType dtype) {
  if (!out[i]) out[i] = empty(shape, dtype, op->schema);
}
void Call::allocate(int i, const Shape& shape, const Strides& strides, DType dtype) {
  if (!out[i]) out[i] = empty(shape, strides, dtype, op->schema);
}
void Call::allocate_alike(int i, const Shape& shape, DType dtype) {
  bool dense = true;
  for (const Tensor& t : in) dense = dense && (!t || t.contiguous());
  if (dense) return allocate(i, shape, dtype);
  allocate(i, shape, strides_alike(in, shape), dtype);
}

void call(Call& c, std::span<Tensor> inputs, AttrsView attrs) {
  const OpDef& op = *c.op;
  const Undivided whole(reads_places(inputs));
  if (in_floats(op, inputs, attrs)) return call_in_floats(c, inputs, attrs);
  bring_to_one_dtype(op, inputs);
  c.in = inputs;
  c.attrs = attrs;
  if (op.composite) return run_composite(c);
  c.recording = grad_mode && recorder.wants(op, inputs);
  if (op.shape)
    op.shape(c);
  else
    map_shape(c);
  run(c);
  if (c.recording) recorder.record(c);
}

Tensor call(const OpDef& op, std::span<Tensor> inputs, AttrsView attrs) {
  Call c(op);
  call(c, inputs, attrs);
  return std::move(c.out[0]);
}

Tensor call(const OpDef& op, std::initializer_list<Tensor> inputs, const Attrs& attrs) {
  Tensor in[4];
  std::size_t n = 0;
  for (const Tensor& t : inputs) in[n++] = t;
  return call(op, {in, n}, attrs);
}

void linear_jvp(const Record& r, const Tensor* dx, Tensor* dy) {
  Tensor in[] = {dx[0]};
  dy[0] = call(*r.op, in, r.attrs);
}

namespace {

// Whether writing the target while reading t could read what was just written.
bool overlaps(const Tensor& target, const Tensor& t) {
  if (t->storage != target->storage) return false;
  return !(t->data == target->data && t.shape() == target.shape() && t.strides() == target.strides());
}

// The result of a functional op, into the target.
void write_result(Call& c, const Tensor& target) {
  // Where the result is of another dtype, or the shape function must still judge, it is computed
  // beside the target and copied; where all fits it is written straight.
  const OpDef& op = *c.op;
  const bool direct = c.in[0].dtype() == target.dtype() && op.cls == Class::Map && !op.shape;
  if (direct) {
    for (const Tensor& t : c.in.subspan(1))
      if (!(broadcast_shapes(op.schema, target.shape(), t.shape()) == target.shape()))
        fail(ErrorKind::Shape, name_of(op), "_: output with shape ", target.shape(),
             " doesn't match the broadcast shape; other has shape ", t.shape());
    c.out[0] = target;
    map_shape(c);
    run(c);
  } else {
    op.shape ? op.shape(c) : map_shape(c);
    const Tensor& y = c.out[0];
    if (!(y.shape() == target.shape()))
      fail(ErrorKind::Shape, name_of(op), "_: output with shape ", target.shape(),
           " doesn't match the broadcast shape ", y.shape());
    if (info(y.dtype()).category > info(target.dtype()).category)
      fail(ErrorKind::DType, name_of(op), "_: result type ", name(y.dtype()),
           " can't be cast to the desired output type ", name(target.dtype()));
    run(c);
    kernels().copy(target.view(), y.view());
    if (capturing) [[unlikely]]
      tracer.copied(target, y);
    c.out[0] = target;
  }
}

// An op made of others either writes into its first input itself, or its result is copied there.
void write_by_copy(Call& c, const Tensor& target) {
  c.inplace = true;
  if (c.op->composite) {
    bring_to_one_dtype(*c.op, c.in);
    run_composite(c);
  } else {
    call_in_floats(c, c.in, c.attrs);
  }
  const Tensor& y = c.out[0];
  if (y.get() == target.get()) return;
  if (!(y.shape() == target.shape()))
    fail(ErrorKind::Shape, name_of(*c.op), "_: output with shape ", target.shape(),
         " doesn't match the broadcast shape ", y.shape());
  if (info(y.dtype()).category > info(target.dtype()).category)
    fail(ErrorKind::DType, name_of(*c.op), "_: result type ", name(y.dtype()),
         " can't be cast to the desired output type ", name(target.dtype()));
  copy_(target, y);
}

}  // namespace

void call_inplace(const OpDef& op, std::span<Tensor> inputs, AttrsView attrs) {
  Call c(op);
  const Undivided whole(reads_places(inputs));
  const Tensor target = inputs[0];
  c.in = inputs;
  c.attrs = attrs;
  c.recording = grad_mode && recorder.wants(op, inputs);
  recorder.check_inplace(c);
  if (before_write) before_write(target);
  if (op.composite || in_floats(op, inputs, attrs)) return write_by_copy(c, target);

  // An input on the target's own memory is copied first where the write would disturb its reading,
  // or where backward needs its value from before the write.
  const std::uint32_t saves = c.recording ? saves_of(op, inputs) : 0;
  for (std::size_t i = 1; i < inputs.size(); ++i) {
    Tensor& t = inputs[i];
    const bool saved = i < 8 && ((saves >> i) & 1) && t && t->storage == target->storage;
    if (t && (saved || overlaps(target, t))) t = clone(t);
  }
  bring_to_one_dtype(op, inputs);
  // What backward needs of the target is its value before the write.
  if (c.recording && (saves_of(op, inputs) & kSaveIn0)) {
    const Tensor before = inputs[0];
    inputs[0] = clone(before);
  }

  if (op.cls == Class::Update) {
    op.shape(c);
    c.out[0] = target;
    run(c);
  } else {
    write_result(c, target);
  }
  if (c.recording)
    recorder.record_inplace(c, target);
  else
    note_write(target, op);
}

}  // namespace unspool
