// The reverse sweep. A heap holds the nodes that have a gradient, the latest first: a node's
// sequence number is above all its inputs', so when it is taken every consumer has contributed.
// The rules of the engine stand here and in no op: un-broadcasting, dtype, accumulation.
#include <algorithm>
#include <unordered_map>
#include <utility>

#include "unspool/base/pool.h"
#include "unspool/ops/ops.h"
#include "unspool/tape/node.h"
#include "unspool/tape/sweep.h"

namespace unspool {
namespace {

bool earlier(const Node* a, const Node* b) { return a->sequence < b->sequence; }

bool sole_owner(const Tensor& g) {
  return g->refs.load(std::memory_order_relaxed) == 1 &&
         g->storage->refs.load(std::memory_order_relaxed) == 1 && g.contiguous() && !g->storage->release &&
         !g->handle;
}

// What autograd.grad(inputs=) asks for: which nodes lie between the roots and the inputs.
class Targets {
 public:
  Targets(std::span<const Tensor> roots, std::span<const Tensor> inputs) {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const Edge e = edge_of(inputs[i]);
      if (e.node)
        nodes_[e.node] = true;
      else
        leaves_[inputs[i].get()] = true;
    }
    std::vector<Node*> order, stack;
    for (const Tensor& t : roots)
      if (Node* n = history(t)) stack.push_back(n);
    std::unordered_map<Node*, bool> seen;
    while (!stack.empty()) {
      Node* n = stack.back();
      stack.pop_back();
      if (!seen.emplace(n, true).second) continue;
      order.push_back(n);
      for (int i = 0; i < n->n_in; ++i)
        if (Node* up = n->inputs()[i].edge.node) stack.push_back(up);
    }
    std::sort(order.begin(), order.end(), earlier);
    for (Node* n : order) {
      bool on_path = false;
      for (int i = 0; i < n->n_in; ++i) on_path |= wants(n->inputs()[i].edge);
      if (on_path) inner_[n] = true;
    }
  }
  bool wants(const Edge& e) const {
    if (e.leaf) return leaves_.count(e.leaf) != 0;
    return e.node && (nodes_.count(e.node) != 0 || inner_.count(e.node) != 0);
  }
  bool asked(Node* n) const { return nodes_.count(n) != 0; }
  bool inner(Node* n) const { return inner_.count(n) != 0; }

 private:
  std::unordered_map<Node*, bool> nodes_, inner_;
  std::unordered_map<TensorImpl*, bool> leaves_;
};

class Sweep {
 public:
  Sweep(const SweepOptions& options, const Targets* targets) : options_(options), targets_(targets) {
    heap_.swap(spare());
  }
  ~Sweep() {  // also after an exception: no node keeps a half-made gradient
    if (current_) drop(current_);
    for (Node* n : heap_) drop(n);
    heap_.clear();
    heap_.swap(spare());
  }
  Sweep(const Sweep&) = delete;
  Sweep& operator=(const Sweep&) = delete;

  void start(const Tensor& root, const Tensor& g) { send(edge_of(root), g); }

  void run() {
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), earlier);
      current_ = heap_.back();
      heap_.pop_back();
      visit(current_);
      drop(std::exchange(current_, nullptr));
    }
  }

  std::unordered_map<TensorImpl*, Tensor> leaf_grads;
  std::unordered_map<Node*, std::vector<Tensor>> node_grads;

 private:
  // A heap vector is kept per thread, so that backward allocates nothing in the steady state.
  static std::vector<Node*>& spare() {
    thread_local std::vector<Node*> v;
    return v;
  }

  static void drop(Node* n) {
    for (int i = 0; i < n->n_out; ++i) n->pending()[i] = Tensor();
    n->sweep = nullptr;
    release(n);
  }

  bool wants(const Edge& e) const { return (e.node || e.leaf) && (!targets_ || targets_->wants(e)); }

  void visit(Node* n) {
    if (targets_) {
      if (targets_->asked(n)) {
        auto& grads = node_grads[n];
        for (int i = 0; i < n->n_out; ++i) grads.push_back(n->pending()[i]);
      }
      if (!targets_->inner(n)) return;
    }
    constexpr int kInline = 4;
    Tensor inline_grads[kInline];
    Vector<Tensor> heap_grads;
    Tensor* gx = inline_grads;
    if (n->n_in > kInline) {
      heap_grads.resize(n->n_in);
      gx = heap_grads.data();
    }
    {
      Unpacked unpacked(n, options_.create_graph);
      if (targets_) {
        for (int i = 0; i < n->n_in; ++i) unpacked.wanted[i] = wants(n->inputs()[i].edge);
      }
      n->op->derivative.vjp(unpacked.record, n->pending(), gx);
    }
    for (int i = 0; i < n->n_out; ++i) n->pending()[i] = Tensor();
    for (int i = 0; i < n->n_in; ++i) {
      if (!gx[i]) continue;
      const InputSlot& slot = n->inputs()[i];
      if (!wants(slot.edge)) continue;
      Tensor g = std::move(gx[i]);
      if (g.ndim() != slot.ndim || !std::equal(slot.shape, slot.shape + slot.ndim, g.shape().v))
        g = sum_to(g, Shape(slot.shape, slot.ndim));
      if (g.dtype() != slot.dtype) g = to(g, slot.dtype);
      send(slot.edge, std::move(g));
    }
    if (!options_.retain_graph) free_saved(n);
  }

  static void free_saved(Node* n) {
    for (int i = 0; i < n->n_in; ++i) Tensor::steal(std::exchange(n->inputs()[i].saved, nullptr));
    Tensor::steal(std::exchange(n->y, nullptr));
    Tensor::steal(std::exchange(n->aux, nullptr));
    n->released = true;
  }

  void send(const Edge& e, Tensor g) {
    if (e.leaf) {
      to_leaf(e.leaf, std::move(g));
    } else if (e.node) {
      if (!e.node->sweep) {
        retain(e.node);
        e.node->sweep = this;
        heap_.push_back(e.node);
        std::push_heap(heap_.begin(), heap_.end(), earlier);
      } else if (e.node->sweep != this) {
        fail(ErrorKind::Runtime, "backward: another backward pass is running through this graph");
      }
      accumulate(e.node->pending()[e.output], std::move(g));
    }
  }

  // The first contribution is kept, later ones are added.
  void accumulate(Tensor& sum, Tensor g) const {
    if (!sum)
      sum = std::move(g);
    else if (!options_.create_graph && sole_owner(sum))
      add_(sum, g);
    else
      sum = sum + g;
  }

  // Undivided: several threads may add to one leaf.
  void to_leaf(TensorImpl* leaf, Tensor g) {
    const Undivided whole;
    if (targets_ && !collect_into_grad) {
      accumulate(leaf_grads[leaf], std::move(g));
    } else if (!leaf->grad) {
      if (options_.create_graph)
        leaf->grad = std::move(g);
      else
        leaf->grad = sole_owner(g) ? std::move(g) : clone(g);
    } else if (options_.create_graph) {
      leaf->grad = leaf->grad + g;
    } else {
      add_(leaf->grad, g);
    }
  }

 public:
  bool collect_into_grad = false;  // backward(inputs=): targets, but into .grad

 private:
  SweepOptions options_;
  const Targets* targets_;
  std::vector<Node*> heap_;
  Node* current_ = nullptr;
};

void start_all(Sweep& sweep, std::span<const Tensor> roots, std::span<const Tensor> grads) {
  // Everything is checked before the first gradient moves.
  for (std::size_t i = 0; i < roots.size(); ++i) {
    const Tensor& root = roots[i];
    if (!needs_grad(root))
      fail(ErrorKind::Runtime, "backward: element ", i,
           " of tensors does not require grad and does not have a grad_fn");
    if (!grads[i]) {
      if (root.numel() != 1)
        fail(ErrorKind::Runtime,
             "backward: grad can be implicitly created only for scalar "
             "outputs; this one has shape ",
             root.shape(), ", so pass gradient= of that shape");
    } else if (!(grads[i].shape() == root.shape())) {
      fail(ErrorKind::Shape, "backward: Mismatch in shape: gradient has shape ", grads[i].shape(),
           ", the output has shape ", root.shape());
    } else if (!is_floating(grads[i].dtype())) {
      fail(ErrorKind::DType, "backward: gradient must be floating, got ", name(grads[i].dtype()));
    }
  }
  for (std::size_t i = 0; i < roots.size(); ++i)
    sweep.start(roots[i], grads[i] ? to(grads[i], roots[i].dtype()) : ones_like(roots[i]));
}

}  // namespace

void backward(std::span<const Tensor> roots, std::span<const Tensor> grads, std::span<const Tensor> inputs,
              const SweepOptions& options) {
  GradMode mode(options.create_graph);
  if (inputs.empty()) {
    Sweep sweep(options, nullptr);
    start_all(sweep, roots, grads);
    sweep.run();
    return;
  }
  for (const Tensor& t : inputs)
    if (!t->is_leaf() || !needs_grad(t))
      fail(ErrorKind::Runtime,
           "backward: every one of inputs must be a leaf that requires grad; "
           "got one of shape ",
           t.shape());
  const Targets targets(roots, inputs);
  Sweep sweep(options, &targets);
  sweep.collect_into_grad = true;
  start_all(sweep, roots, grads);
  sweep.run();
}

std::vector<Tensor> grad(std::span<const Tensor> roots, std::span<const Tensor> grads,
                         std::span<const Tensor> inputs, const SweepOptions& options) {
  GradMode mode(options.create_graph);
  for (const Tensor& t : inputs)
    if (!needs_grad(t))
      fail(ErrorKind::Runtime,
           "grad: One of the differentiated Tensors does not require grad; "
           "it has shape ",
           t.shape());
  const Targets targets(roots, inputs);
  Sweep sweep(options, &targets);
  start_all(sweep, roots, grads);
  sweep.run();
  std::vector<Tensor> result;
  for (const Tensor& t : inputs) {
    const Edge e = edge_of(t);
    Tensor g;
    if (e.leaf) {
      if (auto it = sweep.leaf_grads.find(e.leaf); it != sweep.leaf_grads.end()) g = it->second;
    } else if (auto it = sweep.node_grads.find(e.node); it != sweep.node_grads.end()) {
      g = it->second[e.output];
    }
    result.push_back(std::move(g));
  }
  return result;
}

}  // namespace unspool
