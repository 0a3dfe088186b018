// The replay: bind what moves, run the instructions, hand over results and gradients.
#include <algorithm>
#include <cstring>
#include <optional>

#include "unspool/base/pool.h"
#include "unspool/base/profile.h"
#include "unspool/kernels/table.h"
#include "unspool/ops/fusions.h"
#include "unspool/plan/plan.h"

namespace unspool {
namespace {

// A kernel that made a result of its own instead of writing into the plan's.
void bring_back(Tensor& made, const Tensor& own) {
  if (made.get() == own.get()) [[likely]]
    return;
  if (!(made.shape() == own.shape()) || made.dtype() != own.dtype())
    fail(ErrorKind::Plan, "plan: a result has shape ", made.shape(), " in this call, and ", own.shape(),
         " when it was recorded");
  kernels().copy(own.view(), made.view());
  made = own;
}

void run_whole(Instruction& i) {
  Call c(*i.call.op);
  std::vector<Tensor> in = i.in;
  c.in = in;
  c.attrs = i.attrs;
  c.op->composite(c);
  for (int k = 0; k < kMaxOutputs; ++k) bring_back(c.out[k], i.out[k]);
}

void run_one(Instruction& i) {
  if (i.bound && !i.update && !i.checks) return i.bound->run(nullptr);
  if (i.chain) return i.chain->run();
  if (i.whole) return run_whole(i);
  Call& c = i.call;
  const Undivided whole(i.checks);
  if (i.checks) {
    i.in = i.given;  // shape may put others in their place
    c.op->shape(c);
  }
  if (i.update) {
    const UpdateParts update(i.update->call);
    i.bound->run(&update);
  } else {
    run_kernel(c);
  }
  for (int k = 0; k < kMaxOutputs; ++k) bring_back(c.out[k], i.out[k]);
  bring_back(c.aux, i.aux);
}

// Apart from run_one, which would clear the event's memory for each instruction.
[[gnu::noinline]] void run_profiled(Instruction& i) {
  const ProfileScope event(label_of(i), i.out[0] ? i.out[0].shape() : Shape());
  run_one(i);
}

}  // namespace

void Plan::bind(const Moving& m, Storage* storage) const {
  for (const auto& [t, offset] : m.tensors) {
    t->storage = storage;
    t->version = &storage->version;
    t->data = static_cast<char*>(storage->data) + offset;
  }
}

bool Plan::is_free(const Moving& m) const {
  auto expected = static_cast<std::uint32_t>(1 + m.tensors.size());
  for (const std::size_t slot : m.slots) {
    if (m.undone) break;
    const Tensor& now = r_.gradients[slot].leaf->grad;
    if (now && now->storage == m.base->storage && now->refs.load(std::memory_order_relaxed) == 1 &&
        !now->handle)
      ++expected;
  }
  return m.base->storage->refs.load(std::memory_order_acquire) == expected;
}

// Fresh memory where somebody holds what the last call gave away.
void Plan::renew(Moving& m) {
  if (is_free(m)) return;
  const Tensor fresh = empty({m.bytes}, DType::UInt8, "plan");
  for (const auto& [t, offset] : m.tensors) {
    const Tensor moved = alias(fresh, t.shape(), t.strides(), 0);
    moved->dtype = t.dtype();
    moved->data += offset;
    std::swap(t->storage, moved->storage);
    std::swap(t->version, moved->version);
    std::swap(t->data, moved->data);
  }
  m.base = base_[static_cast<std::size_t>(m.buffer)] = fresh;
}

// Those that shared memory do so still, at the same distances, and no others do.
bool Plan::aliases_as_recorded(std::span<const Tensor> inputs) {
  shown_.clear();
  for (std::size_t i = own_; i < inputs.size(); ++i) {
    const Place& p = r_.places[static_cast<std::size_t>(r_.inputs[i])];
    if (std::binary_search(outside_.begin(), outside_.end(), inputs[i]->storage)) return false;
    shown_.push_back({inputs[i]->storage, p.buffer, inputs[i]->data - p.offset});
  }
  std::sort(shown_.begin(), shown_.end());
  std::size_t storages = shown_.empty() ? 0 : 1;
  for (std::size_t i = 1; i < shown_.size(); ++i) {
    const bool one = std::get<0>(shown_[i]) == std::get<0>(shown_[i - 1]);
    if (one && shown_[i] != shown_[i - 1]) return false;
    storages += !one;
  }
  return storages == input_buffers_;
}

bool Plan::fits(std::span<const Tensor> inputs) {
  if (inputs.size() != r_.inputs.size()) return false;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& t = inputs[i];
    const Place& p = r_.places[static_cast<std::size_t>(r_.inputs[i])];
    if (t.dtype() != p.dtype || !(t.shape() == p.shape) || !(t.strides() == p.strides)) return false;
  }
  if (!aliases_as_recorded(inputs)) return false;
  for (const auto& [leaf, storage] : leaves_)
    if (leaf->storage != storage) return false;
  return std::all_of(r_.gradients.begin(), r_.gradients.end(), [&](const GradientSlot& g) {
    const Tensor& now = g.leaf->grad;
    if (!g.read || g.before < 0) return !g.read || !now;
    if (!now || g.input < 0) return false;
    const Tensor& given = inputs[static_cast<std::size_t>(g.input)];
    return now->storage == given->storage && now->data == given->data && now.dtype() == given.dtype() &&
           now.shape() == given.shape() && now.strides() == given.strides();
  });
}

bool Plan::take_gradients(std::vector<Tensor>& inputs) const {
  for (const std::size_t slot : r_.read_gradients)
    if (!inputs.emplace_back(r_.gradients[slot].leaf->grad)) return false;
  return true;
}

bool Plan::repeats() const {
  return std::all_of(r_.gradients.begin(), r_.gradients.end(),
                     [](const GradientSlot& g) { return !g.read || g.before == g.after; });
}

bool Plan::alone() const {
  return std::any_of(instructions_.begin(), instructions_.end(),
                     [](const auto& i) { return i->alone_always; });
}

void Plan::run(std::span<const Tensor> inputs, std::vector<Tensor>& results) {
  const GradMode off(false);
  const std::size_t first = results.size();
  std::optional<ProfileScope> event;
  if (__atomic_load_n(&profiling, __ATOMIC_RELAXED)) [[unlikely]]
    event.emplace("replay", Shape(), true);
  for (Moving& m : moving_)
    if (r_.buffers[static_cast<std::size_t>(m.buffer)].kind != Buffer::Input) renew(m);
  struct Bound {
    Plan& plan;
    ~Bound() {
      for (const Moving& m : plan.moving_)
        if (plan.r_.buffers[static_cast<std::size_t>(m.buffer)].kind == Buffer::Input)
          plan.bind(m, m.base->storage);
    }
  };
  {
    const Bound bound{*this};
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const Place& p = r_.places[static_cast<std::size_t>(r_.inputs[i])];
      const Moving& m = moving_[static_cast<std::size_t>(moving_of_[static_cast<std::size_t>(p.buffer)])];
      const std::int64_t start = inputs[i]->data - static_cast<char*>(inputs[i]->storage->data) - p.offset;
      for (const auto& [t, offset] : m.tensors) {
        t->storage = inputs[i]->storage;
        t->version = inputs[i]->version;
        t->data = static_cast<char*>(inputs[i]->storage->data) + start + offset;
      }
    }
    for (const auto& [b, place] : restored_) {
      const Buffer& buffer = r_.buffers[static_cast<std::size_t>(b)];
      const int m = moving_of_[static_cast<std::size_t>(b)];
      const Tensor& base =
          m >= 0 ? moving_[static_cast<std::size_t>(m)].base : base_[static_cast<std::size_t>(b)];
      if (buffer.bytes) std::memcpy(base->data, buffer.bits.data(), buffer.bits.size());
    }
    if (raises_last_) keep_undone();
    try {
      std::optional<LongWork> others_run;
      for (const auto& i : instructions_) {
        if (i->alone)
          others_run.reset();
        else if (!others_run)
          others_run.emplace(work_);
        // Of others run_kernel tells.
        if (__atomic_load_n(&profiling, __ATOMIC_RELAXED) &&
            (i->chain || (i->bound && (i->update || !i->checks)))) [[unlikely]]
          run_profiled(*i);
        else
          run_one(*i);
      }
    } catch (...) {
      put_back_undone();
      throw;
    }
    for (std::size_t k = 0; k < r_.outputs.size(); ++k) {
      const Tensor& t = at_place_[static_cast<std::size_t>(r_.outputs[k])];
      results.push_back(r_.buffer_of(r_.outputs[k]).kind == Buffer::Input ? Tensor() : alias(t));
      if (results.back()) continue;
      for (std::size_t i = 0; i < inputs.size(); ++i)
        if (r_.inputs[i] == r_.outputs[k]) results.back() = inputs[i];
      if (!results.back()) {
        const Place& p = r_.places[static_cast<std::size_t>(r_.outputs[k])];
        for (std::size_t i = 0; i < inputs.size() && !results.back(); ++i)
          if (r_.places[static_cast<std::size_t>(r_.inputs[i])].buffer == p.buffer)
            results.back() = alias(inputs[i], p.shape, p.strides, t->offset());
      }
    }
    for (const GradientSlot& g : r_.gradients) {
      Tensor& now = g.leaf->grad;
      if (g.after < 0) {
        now = Tensor();
        continue;
      }
      const Tensor& t = at_place_[static_cast<std::size_t>(g.after)];
      if (!now || now->storage != t->storage) now = alias(t);
    }
  }
  for (const auto& [b, input] : written_)
    bump_version(input < 0 ? base_[static_cast<std::size_t>(b)] : inputs[static_cast<std::size_t>(input)]);
  for (const auto& [k, i] : returned_gradients_) results[first + k] = r_.gradients[i].leaf->grad;
}

}  // namespace unspool
