// The first pass: while a function runs eagerly, the door tells here what it does. Nothing is kept alive that
// the function lets go of, so a captured call does what any other does.
//
// A storage is known by its address while it lives. One that is met for the first time was there before the
// function began, or, which its `born` tells, was made by it: by a step, of the program's own numbers, or by
// somebody who did not say; what is read of such a buffer cannot be replayed, and is refused.
#include <algorithm>
#include <cstring>

#include "unspool/ops/before_write.h"
#include "unspool/ops/ops.h"
#include "unspool/plan/recording.h"
#include "unspool/tape/node.h"

namespace unspool {

namespace {

UNSPOOL_NEAR thread_local Recording* current = nullptr;
std::atomic<std::uint32_t> last_number{0};

std::uint32_t here() { return sites.here ? sites.here() : 0; }

int add_buffer(Recording& r, const Tensor& t, Buffer::Kind kind) {
  const auto number = static_cast<int>(r.buffers.size());
  r.buffers.push_back({kind, t->storage->bytes, t->storage, {}, {}, here()});
  r.at[t->storage] = number;
  return number;
}

int number_of(Recording& r, const Tensor& t) {
  if (auto it = r.at.find(t->storage); it != r.at.end()) return it->second;
  if (t->storage->born == r.number) return add_buffer(r, t, Buffer::Unknown);
  const int number = add_buffer(r, t, Buffer::External);
  r.buffers.back().held = alias(t);
  return number;
}

// Of a constant when a step first sees it: until then its maker may still fill it.
void take_bits(Buffer& b) {
  b.kind = Buffer::Constant;
  if (!b.bits.empty() || !b.alive()) return;
  b.bits.resize(static_cast<std::size_t>(b.bytes));
  if (b.bytes) std::memcpy(b.bits.data(), b.storage->data, b.bits.size());
}

// What a step reads.
int read(Recording& r, const Tensor& t, const OpDef& op) {
  if (!t) return -1;
  const int place = r.place_of(t);
  Buffer& b = r.buffer_of(place);
  if (b.kind == Buffer::Constant || (b.kind == Buffer::Unknown && t->wrapped_number)) take_bits(b);
  if (b.kind == Buffer::Unknown)
    r.refuse(name_of(op) + at_site(here()) +
             ": reads a tensor that was made of other tensors' values outside of the operations that a plan "
             "can replay, as the places of a mask are; use where(), or compile(fn, fallback=\"eager\")");
  if (b.kind == Buffer::External && !t->node && t->storage->born != r.number) {
    if (r.leaf_seen.insert(t.get()).second) r.leaves.push_back(t);
  }
  return place;
}

// What a step writes, whatever was there.
int written(Recording& r, const Tensor& t) {
  if (!t) return -1;
  const int place = r.place_of(t);
  Buffer& b = r.buffer_of(place);
  if (b.kind == Buffer::Unknown && t.numel() * static_cast<std::int64_t>(item_size(t.dtype())) == b.bytes)
    b.kind = Buffer::Temporary;
  return place;
}

// A write to what was there before the call.
void keep_original(const Tensor& t) {
  if (!current || !t || t->storage->born == current->number) return;
  if (!current->kept.insert(t->storage).second) return;
  const auto* data = static_cast<const char*>(t->storage->data);
  current->originals.emplace_back(alias(t), std::vector<char>(data, data + t->storage->bytes));
}

Step step_of(Recording& r, Call& c) {
  Step s;
  s.op = c.op;
  s.attrs.n = c.attrs.n;
  s.attrs.n_lists = c.attrs.n_lists;
  for (int i = 0; i < c.attrs.n; ++i) s.attrs.v[i] = c.attrs.v[i];
  for (int i = 0; i < c.attrs.n_lists; ++i) s.attrs.lists[i] = c.attrs.lists[i];
  // What is only written need not have been made by a step.
  const bool target_first =
      c.op->cls == Class::Update && c.out[0] && !c.in.empty() && c.in[0].get() == c.out[0].get();
  if (target_first) written(r, c.in[0]);
  if (c.op->cls == Class::Update)  // which write their state, too
    for (const Tensor& t : c.in) keep_original(t);
  for (const Tensor& t : c.in) s.in.push_back(read(r, t, *c.op));
  s.recording = c.recording;
  s.inplace = c.inplace;
  s.site = here();
  return s;
}

void note_results(Recording& r, Step& s, Call& c) {
  s.n_out = c.n_out;
  for (int i = 0; i < c.n_out; ++i) s.out[i] = written(r, c.out[i]);
  if (c.aux) {
    s.aux = written(r, c.aux);
    r.buffer_of(s.aux).auxiliary = true;
  }
  r.steps.push_back(std::move(s));
}

void run(Call& c) {
  Recording& r = *current;
  // A view is a place in its base's buffer: nothing is computed.
  if (c.op->cls == Class::View && c.out[0] && c.in[0] && c.out[0]->storage == c.in[0]->storage) {
    r.place_of(c.in[0]);
    const Pause pause;
    return run_kernel(c);
  }
  Step s = step_of(r, c);
  std::vector<std::uint32_t> versions;
  for (const Tensor& t : c.in) versions.push_back(t ? version_of(t) : 0);
  {
    const Pause pause;
    run_kernel(c);
  }
  for (std::size_t i = 0; i < c.in.size() && i < versions.size(); ++i)
    if (c.in[i] && version_of(c.in[i]) != versions[i]) s.wrote.push_back(s.in[i]);
  if (c.op->cls == Class::View && c.out[0] && c.in[0] && c.out[0]->storage == c.in[0]->storage) return;
  note_results(r, s, c);
}

bool makes_tensors(const OpDef& op) { return std::string_view(op.schema).ends_with("Options)"); }

void composite(Call& c) {
  Recording& r = *current;
  if (c.op->cls == Class::Random && !c.inplace) {
    Step s = step_of(r, c);
    {
      const Pause pause;
      c.op->composite(c);
    }
    s.whole = true;
    return note_results(r, s, c);
  }
  c.op->composite(c);
  if (!makes_tensors(*c.op) || !c.out[0]) return;
  if (r.at.contains(c.out[0]->storage)) return;
  Buffer& b = r.buffer_of(r.place_of(c.out[0]));
  if (std::string_view(c.op->schema).starts_with("empty"))
    b.kind = Buffer::Temporary;  // whatever it holds
  else if (b.kind == Buffer::Unknown)
    b.kind = Buffer::Constant;
}

void copied(const Tensor& target, const Tensor& y) {
  Tensor in[] = {target, y};
  Call c(copy_op);
  c.in = in;
  c.out[0] = target;
  c.inplace = true;
  Step s = step_of(*current, c);
  note_results(*current, s, c);
}

void constant(const Tensor& t) {
  if (t->storage->born != current->number || current->at.contains(t->storage)) return;
  current->buffer_of(current->place_of(t)).kind = Buffer::Constant;
}

void gradient(TensorImpl* leaf, bool reads) {
  Recording& r = *current;
  if (r.slot_of.contains(leaf)) return;
  r.slot_of[leaf] = r.gradients.size();
  GradientSlot slot{.leaf = Tensor::borrow(leaf), .read = reads, .was = leaf->grad};
  if (reads && leaf->grad) slot.before = r.place_of(leaf->grad);
  r.gradients.push_back(std::move(slot));
}

void storage_died(Storage* s) noexcept {
  if (!current || s->born != current->number) return;
  auto it = current->at.find(s);
  if (it == current->at.end()) return;
  current->buffers[static_cast<std::size_t>(it->second)].storage = nullptr;
  current->at.erase(it);
}

}  // namespace

int Recording::add_place(const Place& p) {
  const auto key = static_cast<std::int64_t>(p.buffer) << 32 ^ p.offset;
  const auto [first, last] = numbers.equal_range(key);
  for (auto it = first; it != last; ++it)
    if (places[static_cast<std::size_t>(it->second)] == p) return it->second;
  const auto number = static_cast<int>(places.size());
  places.push_back(p);
  numbers.emplace(key, number);
  return number;
}

bool Recording::is_argument(int buffer) const {
  return std::any_of(inputs.begin(), inputs.end() - static_cast<std::ptrdiff_t>(read_gradients.size()),
                     [&](int p) { return places[static_cast<std::size_t>(p)].buffer == buffer; });
}

int Recording::place_of(const Tensor& t) {
  const int b = number_of(*this, t);
  const std::int64_t origin = buffers[static_cast<std::size_t>(b)].origin;
  return add_place(
      {b, t->data - static_cast<char*>(t->storage->data) - origin, t.dtype(), t.shape(), t.strides()});
}

Recording* current_recording() { return current; }

Capture::Capture(Recording& recording, const std::vector<Tensor>& inputs) {
  recording.number = static_cast<std::uint16_t>(last_number.fetch_add(1) % 65535 + 1);
  for (const Tensor& t : inputs) {
    const std::int64_t start = t->data - static_cast<char*>(t->storage->data);
    if (const auto found = recording.at.find(t->storage); found != recording.at.end()) {
      Buffer& b = recording.buffers[static_cast<std::size_t>(found->second)];
      b.origin = std::min(b.origin, start);
      continue;
    }
    add_buffer(recording, t, Buffer::Input);
    recording.buffers.back().held = alias(t);
    recording.buffers.back().origin = start;
  }
  for (const Tensor& t : inputs) recording.inputs.push_back(recording.place_of(t));
  current = &recording;
  capture_number = recording.number;
  capturing = true;
}

namespace {

void no_more() {
  capturing = false;
  capture_number = 0;
  current = nullptr;
}

}  // namespace

Capture::~Capture() { no_more(); }

void stop_capture(const std::string& why) {
  current->refuse(why);
  no_more();
}

void undo(Recording& r) {
  const Pause pause;
  for (const auto& [t, bytes] : r.originals) {
    if (!bytes.empty()) std::memcpy(t->storage->data, bytes.data(), bytes.size());
    bump_version(t);
  }
  for (const GradientSlot& g : r.gradients) g.leaf->grad = g.was;
}

namespace {

// Gradients that were there lie elsewhere at other calls, as after zero_grad() and a step that makes them
// anew.
void take_gradients_as_inputs(Recording& r) {
  for (std::size_t i = 0; i < r.gradients.size(); ++i) {
    GradientSlot& g = r.gradients[i];
    if (g.before < 0) continue;
    Buffer& b = r.buffer_of(g.before);
    if (!r.is_argument(r.places[static_cast<std::size_t>(g.before)].buffer)) {
      b.kind = Buffer::Input;
      r.inputs.push_back(g.before);
      r.read_gradients.push_back(i);
    }
    const auto at = std::find(r.inputs.rbegin(), r.inputs.rend(), g.before);
    if (at != r.inputs.rend()) g.input = static_cast<int>(r.inputs.rend() - at) - 1;
  }
  std::erase_if(r.leaves, [&](const Tensor& t) { return r.buffer_of(r.place_of(t)).kind == Buffer::Input; });
}

}  // namespace

void finish(Recording& r, const std::vector<Tensor>& outputs,
            const std::unordered_set<const Storage*>* held) {
  std::vector<bool> kept(r.buffers.size());
  auto keep = [&](int place) {
    kept.resize(r.buffers.size());
    kept[static_cast<std::size_t>(r.places[static_cast<std::size_t>(place)].buffer)] = true;
    return place;
  };
  for (const Tensor& t : outputs) {
    r.outputs.push_back(keep(r.place_of(t)));
  }
  for (Buffer& b : r.buffers)
    if (b.kind == Buffer::Constant) take_bits(b);
  r.originals.clear();
  r.kept.clear();
  for (GradientSlot& g : r.gradients) g.was = Tensor();
  // Nobody looks at the gradient of a leaf that only the recording has, or that was made for the call, such
  // as one that a checkpoint cuts off.
  std::erase_if(r.gradients, [&](const GradientSlot& g) {
    const auto returned = [&](const Tensor& t) { return t.get() == g.leaf.get(); };
    if (g.leaf->storage->born == r.number) return std::none_of(outputs.begin(), outputs.end(), returned);
    return g.leaf->refs.load(std::memory_order_relaxed) == 1 && !g.leaf->handle;
  });
  for (GradientSlot& g : r.gradients)
    if (const Tensor& now = g.leaf->grad) g.after = keep(r.place_of(now));
  take_gradients_as_inputs(r);
  for (std::size_t i = 0; i < r.buffers.size(); ++i)
    if (const Buffer& b = r.buffers[i]; b.kind == Buffer::Temporary && b.alive() &&
                                        !(i < kept.size() && kept[i]) && !(held && held->contains(b.storage)))
      r.refuse("a tensor that it makes" + at_site(b.site) +
               " lives on after the call, in an attribute, a list or a graph; return it instead");
  r.at.clear();
  for (Buffer& b : r.buffers)
    if (b.kind == Buffer::Temporary) b.storage = nullptr;
}

void install_capture() {
  tracer = {run, composite, copied, constant, gradient};
  tensor_hooks.storage_died = storage_died;
  before_write = keep_original;
}

}  // namespace unspool
