#include "unspool/plan/chain.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "unspool/base/alloc.h"
#include "unspool/base/pool.h"
#include "unspool/plan/plan.h"

namespace unspool {
namespace {

// Elements of a block: some slots of it fit into the first cache, and calling a kernel is little beside it.
constexpr std::int64_t kBlock = 2048;
constexpr std::int64_t kSlotBytes = kBlock * 8;
constexpr std::int64_t kElementsPerNanosecond = 4;  // of a part

const Place& place_at(const Recording& r, int p) { return r.places[static_cast<std::size_t>(p)]; }

bool flat(const Place& p, std::int64_t n) {
  return !is_half(p.dtype) && numel_of(p.shape, "chain") == n && is_contiguous(p.shape, p.strides);
}

// The elements of a step that may be a part of a chain; 0 where it may not.
std::int64_t elements_of(const Recording& r, const Step& s) {
  if (s.op->map < 0 || s.op->forward || s.n_out != 1 || s.out[0] < 0 || s.aux >= 0 || s.whole) return 0;
  if (static_cast<int>(s.in.size()) != map_info(s.op->map).arity) return 0;
  const std::int64_t n = numel_of(place_at(r, s.out[0]).shape, "chain");
  const bool all = std::all_of(s.in.begin(), s.in.end(), [&](int p) {
    return p >= 0 &&
           (flat(place_at(r, p), n) || (place_at(r, p).shape.ndim == 0 && !is_half(place_at(r, p).dtype)));
  });
  return all && flat(place_at(r, s.out[0]), n) ? n : 0;
}

// The steps of a chain that is being found. A buffer that one of them writes is seen by all of them at the
// very same elements: what a block reads there, it has written itself.
class Group {
 public:
  explicit Group(const Recording& r) : r_(r) {}
  bool take(const Step& s, std::int64_t n) {
    if (!steps_.empty() && n != n_) return false;
    for (int p : s.in)
      if (!agrees(p, n, false)) return false;
    if (!agrees(s.out[0], n, true)) return false;
    n_ = n;
    for (int p : s.in) note(p, false);
    note(s.out[0], true);
    steps_.push_back(&s);
    return true;
  }
  std::size_t size() const { return steps_.size(); }
  void clear() {
    steps_.clear();
    seen_.clear();
    places_.clear();
    order_.clear();
  }
  // uses: how many steps of the whole program touch a buffer, what is visible from outside once more.
  Step joined(const std::vector<int>& uses) const {
    Step s;
    s.op = &chain_op;
    s.n_out = 0;
    s.steps = 0;
    s.site = steps_.front()->site;
    for (const Step* part : steps_) {
      s.parts.push_back(*part);
      s.steps += part->steps;
    }
    for (int p : order_) {
      const Seen& seen = seen_.at(place_at(r_, p).buffer);
      const auto buffer = static_cast<std::size_t>(place_at(r_, p).buffer);
      if (r_.buffers[buffer].kind == Buffer::Temporary && seen.steps == uses[buffer]) continue;
      s.in.push_back(p);
      if (seen.written) s.wrote.push_back(p);
    }
    return s;
  }

 private:
  struct Seen {
    int place;
    bool written, elsewhere;  // elsewhere: at other elements, too
    int steps = 0;
    std::size_t last = 0;  // the step, from 1 on, that was counted last
  };
  static bool same(const Place& a, const Place& b) {
    return a.offset == b.offset && a.dtype == b.dtype && (a.shape.ndim == 0) == (b.shape.ndim == 0);
  }
  bool agrees(int p, std::int64_t n, bool writes) const {
    const auto it = seen_.find(place_at(r_, p).buffer);
    if (it == seen_.end()) return true;
    const bool here =
        same(place_at(r_, it->second.place), place_at(r_, p)) && (n == 1 || place_at(r_, p).shape.ndim > 0);
    return writes ? here && !it->second.elsewhere : here || !it->second.written;
  }
  void note(int p, bool writes) {
    const auto [it, fresh] = seen_.try_emplace(place_at(r_, p).buffer, Seen{p, false, false});
    Seen& seen = it->second;
    if (places_.insert(p).second) order_.push_back(p);
    if (!fresh && !same(place_at(r_, seen.place), place_at(r_, p))) seen.elsewhere = true;
    seen.written |= writes;
    if (seen.last == steps_.size() + 1) return;
    seen.last = steps_.size() + 1;
    ++seen.steps;
  }

  const Recording& r_;
  std::int64_t n_ = 0;
  std::vector<const Step*> steps_;
  std::unordered_map<int, Seen> seen_;  // by buffer
  std::unordered_set<int> places_;
  std::vector<int> order_;  // places, as they were met
};

}  // namespace

const OpDef chain_op = {
    .schema = "elementwise(Tensor[] tensors)",
    .cls = Class::Fused,
    .shape = [](Call&) {},
    .derivative = none("it is a part of a plan"),
};

void chain_maps(Recording& r) {
  const std::vector<int> uses = touches(r);
  std::vector<Step> joined(r.steps.size());
  std::vector<bool> gone(r.steps.size());
  Group group(r);
  auto close = [&](std::size_t end) {
    if (group.size() > 1) {
      joined[end - 1] = group.joined(uses);
      for (std::size_t i = end - group.size(); i + 1 < end; ++i) gone[i] = true;
    }
    group.clear();
  };
  for (std::size_t i = 0; i < r.steps.size(); ++i) {
    const std::int64_t n = elements_of(r, r.steps[i]);
    if (n > 0 && group.take(r.steps[i], n)) continue;
    close(i);
    if (n > 0) group.take(r.steps[i], n);
  }
  close(r.steps.size());
  for (std::size_t i = 0; i < r.steps.size(); ++i)
    if (joined[i].op) r.steps[i] = std::move(joined[i]);
  erase(r, gone);
}

Chain::Chain(const Recording& r, const Step& step, const std::vector<Tensor>& tensors)
    : n_(numel_of(place_at(r, step.parts[0].out[0]).shape, "chain")) {
  // Of a place: its operand. Places of another shape at the same elements are one.
  std::map<std::tuple<int, std::int64_t, DType, bool>, int> number;
  auto key = [&](int p) {
    const Place& place = place_at(r, p);
    return std::tuple(place.buffer, place.offset, place.dtype, place.shape.ndim == 0);
  };
  std::map<std::tuple<int, std::int64_t, DType, bool>, const Tensor*> given;
  for (std::size_t i = 0; i < step.in.size(); ++i) given.try_emplace(key(step.in[i]), &tensors[i]);
  auto operand = [&](int p) {
    const auto [it, fresh] = number.try_emplace(key(p), static_cast<int>(operands_.size()));
    if (fresh) {
      const auto at = given.find(key(p));
      operands_.push_back({at == given.end() ? Tensor() : *at->second, -1, place_at(r, p).dtype,
                           place_at(r, p).shape.ndim == 0});
    }
    return it->second;
  };
  for (const Step& s : step.parts) {
    Part& part = parts_.emplace_back();
    part.run = map_info(s.op->map).run;
    part.arity = static_cast<int>(s.in.size());
    for (int k = 0; k < part.arity; ++k) part.in[k] = operand(s.in[static_cast<std::size_t>(k)]);
    part.out = operand(s.out[0]);
    for (int k = 0; k < s.attrs.n; ++k) part.params[k] = s.attrs.v[k].number();
  }
  // Slots are taken at the first part that writes one, and free after the last that reads it.
  std::vector<std::size_t> last(operands_.size());
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    for (int k = 0; k < parts_[i].arity; ++k) last[static_cast<std::size_t>(parts_[i].in[k])] = i;
    last[static_cast<std::size_t>(parts_[i].out)] = i;
  }
  std::vector<int> free;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    Operand& out = operands_[static_cast<std::size_t>(parts_[i].out)];
    if (!out.tensor && out.slot < 0) {
      if (free.empty()) free.push_back(slots_++);
      out.slot = free.back();
      free.pop_back();
    }
    auto release = [&](int number_of) {
      Operand& o = operands_[static_cast<std::size_t>(number_of)];
      if (o.slot >= 0 && last[static_cast<std::size_t>(number_of)] == i &&
          std::find(free.begin(), free.end(), o.slot) == free.end())
        free.push_back(o.slot);
    };
    for (int k = 0; k < parts_[i].arity; ++k) release(parts_[i].in[k]);
    release(parts_[i].out);
  }
}

void Chain::run_block(std::int64_t block, char* slots) const {
  const std::int64_t first = block * kBlock, count = std::min(kBlock, n_ - first);
  auto show = [&](View& v, int number) {
    const Operand& o = operands_[static_cast<std::size_t>(number)];
    v.dtype = o.dtype;
    v.shape.ndim = v.strides.ndim = 1;
    v.shape[0] = count;
    v.strides[0] = o.single ? 0 : 1;
    v.data = o.slot >= 0
                 ? slots + o.slot * kSlotBytes
                 : o.tensor->data + (o.single ? 0 : first * static_cast<std::int64_t>(item_size(o.dtype)));
  };
  for (const Part& p : parts_) {
    View out, in[kMaxMapInputs];
    show(out, p.out);
    for (int k = 0; k < p.arity; ++k) show(in[k], p.in[k]);
    p.run(out, in, p.params);
  }
}

void Chain::run() const {
  const std::int64_t blocks = (n_ + kBlock - 1) / kBlock;
  const std::int64_t work = n_ * static_cast<std::int64_t>(parts_.size()) / kElementsPerNanosecond;
  const auto bytes = static_cast<std::size_t>(slots_ * kSlotBytes);
  if (work < __atomic_load_n(&parallel_threshold, __ATOMIC_RELAXED)) {
    const Workspace slots(bytes);
    for (std::int64_t b = 0; b < blocks; ++b) run_block(b, static_cast<char*>(slots.data()));
    return;
  }
  run_chunks(
      blocks, work,
      [](const void* chain, std::int64_t b) {
        const auto& own = *static_cast<const Chain*>(chain);
        const Workspace slots(static_cast<std::size_t>(own.slots_ * kSlotBytes));
        own.run_block(b, static_cast<char*>(slots.data()));
      },
      this);
}

}  // namespace unspool
