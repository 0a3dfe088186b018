// From a recording to a plan: the passes in order, then the plan's own tensors and calls.
#include <algorithm>
#include <cstring>

#include "unspool/ops/ops.h"
#include "unspool/plan/plan.h"

namespace unspool {
namespace {

// The place p in memory that begins where `bytes`, a tensor of bytes, begins.
Tensor shown(const Tensor& bytes, const Place& p) {
  Tensor t = alias(bytes, p.shape, p.strides, p.offset);
  t->dtype = p.dtype;
  return t;
}

Tensor bytes_of(const Tensor& t) {  // its whole storage
  Tensor all = alias(t, {t->storage->bytes}, {1}, 0);
  all->dtype = DType::UInt8;
  return all;
}

Tensor fresh_bytes(std::int64_t n) { return empty({n}, DType::UInt8, "plan"); }

// Indices, labels and masks are other ones at each call: their op looks at them again.
bool reads_places(const Recording& r, const Step& s, bool outside = false) {
  return std::any_of(s.in.begin(), s.in.end(), [&](int p) {
    if (p < 0 || is_floating(r.places[static_cast<std::size_t>(p)].dtype)) return false;
    const Buffer& b = r.buffer_of(p);
    return outside ? b.kind == Buffer::External : b.kind != Buffer::Constant && !b.auxiliary;
  });
}

// Of each step whether nobody reads its first input afterwards, which lies in the arena and is no other of
// its operands.
std::vector<bool> spending(const Recording& r, const Layout& layout) {
  std::vector<std::size_t> last(r.buffers.size());
  std::vector<bool> spends(r.steps.size());
  auto buffer = [&](int p) { return static_cast<std::size_t>(r.places[static_cast<std::size_t>(p)].buffer); };
  for (std::size_t i = 0; i < r.steps.size(); ++i)
    each_place(r.steps[i], [&](int p) { last[buffer(p)] = i; });
  for (std::size_t i = 0; i < r.steps.size(); ++i) {
    const Step& s = r.steps[i];
    if (s.in.empty() || s.in[0] < 0) continue;
    const std::size_t b = buffer(s.in[0]);
    int times = 0;
    each_place(s, [&](int p) { times += buffer(p) == b; });
    spends[i] = layout.offset[b] >= 0 && last[b] == i && times == 1;
  }
  return spends;
}

constexpr std::int64_t kFlopsPerNanosecond = 32, kBytesPerNanosecond = 16;

}  // namespace

bool calls_out(const Step& s) {
  return std::any_of(s.attrs.v, s.attrs.v + s.attrs.n, [](const Attr& a) { return a.kind == Attr::Pointer; });
}

bool draws(const Step& s) {
  return s.op->cls == Class::Random ||
         std::string_view(s.op->schema).find("Generator?") != std::string_view::npos;
}

Tensor Plan::tensor_at(int place) {
  if (place < 0) return {};
  Tensor& t = at_place_[static_cast<std::size_t>(place)];
  if (t) return t;
  const Place& p = r_.places[static_cast<std::size_t>(place)];
  const auto b = static_cast<std::size_t>(p.buffer);
  if (layout_.offset[b] >= 0) {
    Place in_arena = p;
    in_arena.offset += layout_.offset[b];
    t = shown(arena_, in_arena);
  } else {
    t = shown(base_[b], p);
    if (moving_of_[b] >= 0) moving_[static_cast<std::size_t>(moving_of_[b])].tensors.push_back({t, p.offset});
  }
  return t;
}

std::unique_ptr<Instruction> Plan::instruction_of(const Step& s) {
  if (s.op == &linear_update_op) {
    auto both = instruction_of(s.parts[0]);
    both->update = instruction_of(s.parts[1]);
    both->fused = s.steps;
    return both;
  }
  auto made = std::make_unique<Instruction>(*s.op);
  Instruction& i = *made;
  i.attrs = s.attrs;
  for (int p : s.in) i.in.push_back(tensor_at(p));
  i.call.in = i.in;
  i.call.attrs = i.attrs;
  i.call.recording = s.recording;
  i.call.inplace = s.inplace;
  i.call.n_out = s.n_out;
  for (int k = 0; k < s.n_out; ++k) i.call.out[k] = i.out[k] = tensor_at(s.out[k]);
  i.call.aux = i.aux = tensor_at(s.aux);
  if (!s.parts.empty()) i.chain = std::make_unique<Chain>(r_, s, i.in);
  for (const Step& part : s.parts) i.parts.push_back(part.op);
  i.checks = s.op->shape != nullptr && s.op->map < 0 && !i.chain && reads_places(r_, s);
  if (i.checks) i.given = i.in;
  i.whole = s.whole;
  if (s.op->bind && !i.chain && !i.whole) i.bound = s.op->bind(i.call);
  i.alone_always = s.op->cls == Class::Random || calls_out(s) || (i.checks && reads_places(r_, s, true));
  i.alone = i.checks || i.alone_always;
  i.fused = s.steps;
  i.again = s.again;
  i.flops = flops_of(r_, s);
  i.site = s.site;
  return made;
}

Plan::Plan(Recording r, std::size_t given, std::int64_t budget) : own_(given), r_(std::move(r)) {
  before_fusion_ = drawn(r_);
  fuse(r_);
  moving_of_.assign(r_.buffers.size(), -1);
  auto move = [&](int place, bool gradient) {
    const int b = r_.places[static_cast<std::size_t>(place)].buffer;
    Buffer& buffer = r_.buffers[static_cast<std::size_t>(b)];
    if (buffer.kind == Buffer::External || buffer.kind == Buffer::Input) return;
    int& m = moving_of_[static_cast<std::size_t>(b)];
    if (m < 0) {
      m = static_cast<int>(moving_.size());
      moving_.push_back({.buffer = b, .base = {}, .tensors = {}, .bytes = buffer.bytes, .slots = {}});
    }
    moving_[static_cast<std::size_t>(m)].gradient |= gradient;
  };
  for (int place : r_.outputs) move(place, false);
  for (std::size_t i = 0; i < r_.gradients.size(); ++i) {
    if (r_.gradients[i].after < 0) continue;
    move(r_.gradients[i].after, true);
    const auto b =
        static_cast<std::size_t>(r_.places[static_cast<std::size_t>(r_.gradients[i].after)].buffer);
    if (moving_of_[b] >= 0) moving_[static_cast<std::size_t>(moving_of_[b])].slots.push_back(i);
  }
  std::vector<bool> own(r_.buffers.size());
  for (std::size_t b = 0; b < own.size(); ++b) {
    const Buffer::Kind kind = r_.buffers[b].kind;
    own[b] =
        moving_of_[b] >= 0 || kind == Buffer::External || kind == Buffer::Input || kind == Buffer::Constant;
    if (kind != Buffer::Input) continue;
    moving_of_[b] = static_cast<int>(moving_.size());
    moving_.push_back({.buffer = static_cast<int>(b), .base = {}, .tensors = {}, .slots = {}});
  }
  if (budget >= 0) {
    recomputed_ = fit_budget(r_, own, budget);
    own.resize(r_.buffers.size());
    Recording unchained = r_;
    chain_maps(r_);
    if (lay_out(r_, own).bytes > budget) r_ = std::move(unchained);
  } else {
    chain_maps(r_);
  }
  const std::size_t n = r_.buffers.size();
  moving_of_.resize(n, -1);

  std::vector<bool> written(n);
  for (const Step& s : r_.steps) {
    for (int k = 0; k < s.n_out; ++k)
      if (s.out[k] >= 0)
        written[static_cast<std::size_t>(r_.places[static_cast<std::size_t>(s.out[k])].buffer)] = true;
    for (int p : s.wrote)
      written[static_cast<std::size_t>(r_.places[static_cast<std::size_t>(p)].buffer)] = true;
  }
  auto input_of = [&](int buffer) {
    const auto found = std::find_if(r_.inputs.begin(), r_.inputs.end(), [&](int p) {
      return r_.places[static_cast<std::size_t>(p)].buffer == buffer;
    });
    return found == r_.inputs.end() ? -1 : static_cast<int>(found - r_.inputs.begin());
  };
  base_.resize(n);
  for (std::size_t b = 0; b < n; ++b) {
    Buffer& buffer = r_.buffers[b];
    switch (buffer.kind) {
      case Buffer::External:
        base_[b] = bytes_of(buffer.held);
        outside_.push_back(base_[b]->storage);
        if (written[b]) written_.emplace_back(static_cast<int>(b), -1);
        break;
      case Buffer::Input:
        base_[b] = fresh_bytes(0);
        buffer.held = Tensor();
        if (written[b]) written_.emplace_back(static_cast<int>(b), input_of(static_cast<int>(b)));
        break;
      case Buffer::Constant:
        base_[b] = fresh_bytes(buffer.bytes);
        if (buffer.bytes) std::memcpy(base_[b]->data, buffer.bits.data(), buffer.bits.size());
        if (written[b] || moving_of_[b] >= 0) restored_.push_back({static_cast<int>(b), 0});
        break;
      default:
        if (moving_of_[b] >= 0) base_[b] = fresh_bytes(buffer.bytes);
    }
    if (moving_of_[b] >= 0) moving_[static_cast<std::size_t>(moving_of_[b])].base = base_[b];
  }
  std::sort(outside_.begin(), outside_.end());
  std::vector<int> shown;
  for (std::size_t i = own_; i < r_.inputs.size(); ++i)
    shown.push_back(r_.places[static_cast<std::size_t>(r_.inputs[i])].buffer);
  std::sort(shown.begin(), shown.end());
  input_buffers_ = static_cast<std::size_t>(std::unique(shown.begin(), shown.end()) - shown.begin());
  layout_ = lay_out(r_, own);
  arena_ = fresh_bytes(layout_.bytes);

  at_place_.resize(r_.places.size());
  const std::vector<bool> spends = spending(r_, layout_);
  for (const Step& s : r_.steps) {
    Instruction& i = *instructions_.emplace_back(instruction_of(s));
    i.call.spends = spends[instructions_.size() - 1];
    work_ += i.flops / kFlopsPerNanosecond + bytes_of(i) / kBytesPerNanosecond;
  }
  for (int p : r_.inputs) tensor_at(p);
  for (int p : r_.outputs) tensor_at(p);
  for (const GradientSlot& g : r_.gradients) tensor_at(g.after);
  for (std::size_t k = 0; k < r_.outputs.size(); ++k)
    for (std::size_t i = 0; i < r_.gradients.size(); ++i)
      if (r_.gradients[i].after == r_.outputs[k]) returned_gradients_.emplace_back(k, i);
  for (const Tensor& t : r_.leaves) leaves_.push_back({t, t->storage});
  find_undone();
}

Attr& Plan::setting(std::size_t i) {
  const auto& [step, attr] = r_.settings[i];
  Instruction& at = *instructions_[step];
  return (at.update ? *at.update : at).attrs.v[attr];
}

PlanMemory Plan::memory() const {
  PlanMemory m{layout_.bytes, layout_.temporary, 0, 0, 0, recomputed_};
  for (const Moving& x : moving_) (x.gradient ? m.gradients : m.outputs) += x.bytes;
  for (const Buffer& b : r_.buffers)
    if (b.kind == Buffer::Constant) m.constants += b.bytes;
  return m;
}

}  // namespace unspool
