#include "unspool/plan/phases.h"

#include <algorithm>
#include <unordered_map>

#include "unspool/ops/ops.h"
#include "unspool/tape/hooks.h"
#include "unspool/tape/node.h"
#include "unspool/tape/sweep.h"

namespace unspool {
namespace {

// The leaves that nodes reach and the storages that they saved; what lies behind `ends` is the caller's own.
class Reached {
 public:
  explicit Reached(const std::vector<Tensor>& ends) {
    for (const Tensor& t : ends)
      if (t->node) seen_.insert(t->node);
  }
  void follow(Node* from) {
    std::vector<Node*> todo{from};
    while (!todo.empty()) {
      Node* n = todo.back();
      todo.pop_back();
      if (!n || !seen_.insert(n).second) continue;
      hold(n->y);
      hold(n->aux);
      if (n->hooks)
        for (const Hook& h : n->hooks->all)
          if (h.when == Hook::Owned) hook_calls.kept(h.target, held);
      for (int i = 0; i < n->n_in; ++i) {
        InputSlot& slot = n->inputs()[i];
        hold(slot.saved);
        if (slot.edge.leaf && seen_.insert(slot.edge.leaf).second)
          leaves.push_back(Tensor::borrow(slot.edge.leaf));
        todo.push_back(slot.edge.node);
      }
    }
  }
  std::vector<Tensor> leaves;
  std::unordered_set<const Storage*> held;

 private:
  void hold(const TensorImpl* t) {
    if (t) held.insert(t->storage);
  }
  std::unordered_set<const void*> seen_;
};

Place whole(const Recording& r, int buffer) {
  const std::int64_t bytes = r.buffers[static_cast<std::size_t>(buffer)].bytes;
  return {buffer, 0, DType::UInt8, {bytes}, {1}};
}

// Which buffers some steps touch, and write.
struct Touched {
  std::vector<bool> any, written;
  Touched(const Recording& r, std::size_t from, std::size_t to)
      : any(r.buffers.size()), written(r.buffers.size()) {
    auto of = [&](int p) { return static_cast<std::size_t>(r.places[static_cast<std::size_t>(p)].buffer); };
    for (std::size_t i = from; i < to; ++i) {
      const Step& s = r.steps[i];
      for (int p : s.in)
        if (p >= 0) any[of(p)] = true;
      for (int k = 0; k < s.n_out; ++k)
        if (s.out[k] >= 0) any[of(s.out[k])] = written[of(s.out[k])] = true;
      if (s.aux >= 0) any[of(s.aux)] = written[of(s.aux)] = true;
      for (int p : s.wrote) written[of(p)] = true;
    }
  }
};

}  // namespace

Backward record_backward(Recording& r, const std::vector<Tensor>& inputs,
                         const std::vector<Tensor>& outputs) {
  Backward b;
  std::vector<Tensor> roots, cotangents;
  Reached reached(inputs), spent(inputs);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& t = outputs[i];
    if (t->node && t->node->released) spent.follow(t->node);  // its contexts may keep something still
    if (!t->node || t->node->released || !needs_grad(t)) continue;
    b.roots.push_back(i);
    roots.push_back(t);
    reached.follow(history(t));
  }
  b.held = std::move(spent.held);
  if (roots.empty()) return b;
  b.there = true;
  if (!r.gradients.empty()) {
    r.refuse(
        "it returns a tensor that backward may still be called on, and reads or sets gradients, too; return "
        ".detach(), or leave the rest of the step outside");
    return b;
  }
  for (const Tensor& leaf : reached.leaves) {
    const bool argument =
        std::any_of(inputs.begin(), inputs.end(), [&](const Tensor& t) { return t.get() == leaf.get(); });
    if (!argument) b.leaves.push_back(leaf);
  }
  const std::size_t outside = b.leaves.size();
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].requires_grad()) {
      b.inputs.push_back(i);
      b.leaves.push_back(inputs[i]);
    }
  b.held.merge(reached.held);
  b.boundary = r.steps.size();
  for (const Tensor& t : roots) {
    const Tensor g = full(t.shape(), 1.0, t.dtype());
    r.buffer_of(r.place_of(g)).kind = Buffer::Input;
    b.cotangents.push_back(r.place_of(g));
    cotangents.push_back(g);
  }
  // As many times as something is sent to it is a leaf an input of the call that replays are recorded as:
  // sums with what comes from elsewhere, or was in .grad, are rounded in the eager order.
  const auto sent = contributions(roots, cotangents, b.leaves, {.retain_graph = true, .create_graph = false});
  const std::vector<Tensor> leaves = std::exchange(b.leaves, {});
  for (std::size_t i = 0; i < outside; ++i)
    if (leaves[i]->storage->born == r.number)
      r.refuse("it makes a leaf that requires a gradient; make it outside");
  const std::vector<std::size_t> arguments = std::exchange(b.inputs, {});
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    const std::size_t times = std::max<std::size_t>(sent[i].size(), 1);
    b.leaves.insert(b.leaves.end(), times, leaves[i]);
    if (i >= outside) b.inputs.insert(b.inputs.end(), times, arguments[i - outside]);
    if (sent[i].empty()) b.grads.push_back(-1);
    for (const Tensor& g : sent[i]) b.grads.push_back(r.place_of(g));
  }
  return b;
}

Phases split_phases(Recording r, const Backward& b) {
  Phases p;
  const Touched before(r, 0, b.boundary), after(r, b.boundary, r.steps.size());
  p.backward = r;
  p.forward = std::move(r);
  p.forward.steps.resize(b.boundary);
  p.backward.steps.erase(p.backward.steps.begin(),
                         p.backward.steps.begin() + static_cast<std::ptrdiff_t>(b.boundary));
  p.backward.inputs.clear();
  p.backward.outputs.clear();
  for (std::size_t i = 0; i < p.forward.buffers.size(); ++i) {
    Buffer& buffer = p.backward.buffers[i];
    const bool made =
        buffer.kind == Buffer::Temporary || (buffer.kind == Buffer::Constant && before.written[i]);
    if (!made || !before.any[i] || !after.any[i]) continue;
    if (after.written[i]) p.forward.refuse("backward writes into a tensor that forward saved");
    const Place place = whole(p.forward, static_cast<int>(i));
    p.forward.outputs.push_back(p.forward.add_place(place));
    p.backward.inputs.push_back(p.backward.add_place(place));
    buffer.kind = Buffer::Input;
    ++p.saved;
  }
  std::unordered_map<const Storage*, std::size_t> external;
  for (std::size_t i = 0; i < p.forward.buffers.size(); ++i)
    if (const Buffer& buffer = p.forward.buffers[i]; buffer.kind == Buffer::External)
      external[buffer.held->storage] = i;
  std::erase_if(p.backward.leaves, [&](const Tensor& t) {
    const auto it = external.find(t->storage);
    return it == external.end() || !after.any[it->second];
  });
  p.backward.inputs.insert(p.backward.inputs.end(), p.forward.inputs.begin(), p.forward.inputs.end());
  p.backward.inputs.insert(p.backward.inputs.end(), b.cotangents.begin(), b.cotangents.end());
  for (int g : b.grads)
    if (g >= 0) p.backward.outputs.push_back(g);
  return p;
}

}  // namespace unspool
