// The reverse sweep. A heap holds the nodes that have a gradient, the latest first: a node's
// sequence number is above all its inputs', so when it is taken every consumer has contributed.
// The rules of the engine stand here and in no op: un-broadcasting, dtype, accumulation.
#include <algorithm>
#include <map>
#include <utility>

#include "unspool/base/pool.h"
#include "unspool/ops/ops.h"
#include "unspool/tape/hooks.h"
#include "unspool/tape/node.h"
#include "unspool/tape/sweep.h"

namespace unspool {
namespace {

std::atomic<int> running{0};

bool earlier(const Node* a, const Node* b) { return a->sequence < b->sequence; }

bool sole_owner(const Tensor& g) {
  return g->refs.load(std::memory_order_relaxed) == 1 &&
         g->storage->refs.load(std::memory_order_relaxed) == 1 && g.contiguous() && !g->storage->release &&
         !g->handle;
}

// A gradient nobody else holds, with the strides of its leaf where that is dense, else in row-major order.
Tensor in_layout_of(const TensorImpl& leaf, Tensor g) {
  if (leaf.contiguous && sole_owner(g)) return g;
  const bool dense = is_dense(leaf.shape, leaf.strides);
  const Strides strides = dense ? leaf.strides : contiguous_strides(leaf.shape);
  return same_places(leaf.shape, g.strides(), strides) ? clone(g) : laid_out(g, strides);
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
    Vector<Node*> order, stack;
    for (const Tensor& t : roots)
      if (Node* n = history(t)) stack.push_back(n);
    Map<Node*, bool> seen;
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
  Map<Node*, bool> nodes_, inner_;
  Map<TensorImpl*, bool> leaves_;
};

// What arrives at some edges, in the order of its arrival.
class Arrivals {
 public:
  explicit Arrivals(std::span<const Tensor> inputs) : all(inputs.size()) {
    for (std::size_t i = 0; i < inputs.size(); ++i) number_.emplace(key(edge_of(inputs[i])), i);
  }
  // Whether the edge is one of them, and g has been taken.
  bool take(const Edge& e, Tensor& g) {
    const auto found = number_.find(key(e));
    if (found == number_.end()) return false;
    all[found->second].push_back(std::move(g));
    return true;
  }
  std::vector<std::vector<Tensor>> all;

 private:
  static std::pair<const void*, std::uint32_t> key(const Edge& e) {
    return e.leaf ? std::pair<const void*, std::uint32_t>(e.leaf, 0)
                  : std::pair<const void*, std::uint32_t>(e.node, e.output);
  }
  std::map<std::pair<const void*, std::uint32_t>, std::size_t> number_;
};

class Sweep {
 public:
  Sweep(const SweepOptions& options, const Targets* targets) : options_(options), targets_(targets) {
    heap_.swap(spare());
    running.fetch_add(1, std::memory_order_relaxed);
  }
  ~Sweep() {  // also after an exception: no node keeps a half-made gradient
    running.fetch_sub(1, std::memory_order_relaxed);
    if (current_) drop(current_);
    for (Node* n : heap_) drop(n);
    heap_.clear();
    heap_.swap(spare());
  }
  Sweep(const Sweep&) = delete;
  Sweep& operator=(const Sweep&) = delete;

  // A leaf with hooks waits for all its contributions: how many are to come is counted first.
  void expect(std::span<const Tensor> roots) {
    Vector<Node*> stack;
    Map<Node*, bool> seen;
    auto reach = [&](const Edge& e) {
      if (e.node) stack.push_back(e.node);
      if (e.leaf && e.leaf->hooks) ++waiting_for(e.leaf).left;
    };
    for (const Tensor& t : roots) reach(edge_of(t));
    while (!stack.empty()) {
      Node* n = stack.back();
      stack.pop_back();
      if (!seen.emplace(n, true).second) continue;
      for (int i = 0; i < n->n_in; ++i) reach(n->inputs()[i].edge);
    }
  }

  void start(const Tensor& root, const Tensor& g) {
    const Edge e = edge_of(root);
    send(e, g);
    if (e.leaf) arrived(e.leaf);
  }

  void run() {
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), earlier);
      current_ = heap_.back();
      heap_.pop_back();
      visit(current_);
      if (!waiting_.empty())
        for (int i = 0; i < current_->n_in; ++i)
          if (TensorImpl* leaf = current_->inputs()[i].edge.leaf) arrived(leaf);
      drop(std::exchange(current_, nullptr));
    }
    // Where no gradient flowed along some edge, the last contribution never came.
    for (std::size_t i = 0; i < waiting_.size(); ++i) deliver_waiting(i);
  }

  Map<TensorImpl*, Tensor> leaf_grads;
  Map<Node*, Vector<Tensor>> node_grads;

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
    if (targets_ && targets_->asked(n)) {
      auto& grads = node_grads[n];
      for (int i = 0; i < n->n_out; ++i) grads.push_back(n->pending()[i]);
    }
    if (n->hooks) call_hooks_before(n);
    if (targets_ && !targets_->inner(n)) return;
    if (n->hooks) call_node_hooks(n, Hook::Before, nullptr);
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
    if (anomaly_mode()) refuse_nan(n, gx);
    if (n->hooks) call_node_hooks(n, Hook::After, gx);
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

  static void refuse_nan(const Node* n, const Tensor* gx) {
    for (int i = 0; i < n->n_in; ++i) {
      if (!gx[i] || !is_floating(gx[i].dtype())) continue;
      const Tensor g = alias(gx[i]);
      const Tensor dense = contiguous(is_half(g.dtype()) ? to(g, DType::Float32) : g);
      visit_floating(dense.dtype(), [&]<class T>() {
        const T* x = reinterpret_cast<const T*>(dense->data);
        for (std::int64_t k = 0; k < dense.numel(); ++k)
          if (x[k] != x[k])
            fail(ErrorKind::Runtime, "backward: Function '", n->op->grad_name,
                 "' returned nan values in its ", i, "th output; ", name_of(*n->op), " was called",
                 at_site(n->site));
      });
    }
  }

  static void free_saved(Node* n) {
    for (int i = 0; i < n->n_in; ++i) Tensor::steal(std::exchange(n->inputs()[i].saved, nullptr));
    Tensor::steal(std::exchange(n->y, nullptr));
    Tensor::steal(std::exchange(n->aux, nullptr));
    n->released = true;
    if (n->hooks)
      for (const Hook& h : n->hooks->all)
        if (h.when == Hook::Owned) hook_calls.freed(h.target);
  }

  void send(const Edge& e, Tensor g) {
    if (arrivals && arrivals->take(e, g)) return;
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

  struct Waiting {
    Tensor leaf;
    int left = 0;
    Tensor sum;
    bool done = false;
  };
  Waiting& waiting_for(TensorImpl* leaf) {
    auto [it, fresh] = place_.emplace(leaf, waiting_.size());
    if (fresh) waiting_.push_back({Tensor::borrow(leaf), 0, {}, false});
    return waiting_[it->second];
  }
  void arrived(TensorImpl* leaf) {
    if (auto it = place_.find(leaf); it != place_.end() && --waiting_[it->second].left == 0)
      deliver_waiting(it->second);
  }
  void deliver_waiting(std::size_t i) {
    Waiting& w = waiting_[i];
    if (std::exchange(w.done, true) || !w.sum) return;
    Tensor g = std::move(w.sum);
    TensorImpl* leaf = w.leaf.get();
    const std::vector<Hook> all =
        leaf->hooks ? leaf->hooks->all : std::vector<Hook>();  // one may remove itself
    for (const Hook& h : all)
      if (h.when == Hook::Gradient)
        if (Tensor other = hook_calls.gradient(h.target, g)) g = std::move(other);
    keep(leaf, std::move(g));
    if (targets_ && !collect_into_grad) return;
    for (const Hook& h : all)
      if (h.when == Hook::Accumulated) hook_calls.accumulated(h.target, leaf);
  }

  // Hooks on single results, then what retains gradients.
  static void call_hooks_before(Node* n) {
    const std::vector<Hook> all = n->hooks->all;
    for (const Hook& h : all) {
      if (h.when != Hook::Gradient) continue;
      Tensor& g = n->pending()[h.output];
      if (!g) continue;
      if (Tensor other = hook_calls.gradient(h.target, g)) g = std::move(other);
    }
    for (const Hook& h : n->hooks->all) {
      if (h.when != Hook::Retain) continue;
      const Tensor& g = n->pending()[h.output];
      auto* t = static_cast<TensorImpl*>(h.target);
      if (g) t->grad = t->grad ? t->grad + g : g;
    }
  }
  static void call_node_hooks(Node* n, Hook::When when, Tensor* gx) {
    const std::vector<Hook> all = n->hooks->all;
    for (const Hook& h : all) {
      if (h.when != when) continue;
      if (when == Hook::Before)
        hook_calls.before(h.target, n->pending(), n->n_out);
      else
        hook_calls.after(h.target, gx, n->n_in, n->pending(), n->n_out);
    }
  }

  void to_leaf(TensorImpl* leaf, Tensor g) {
    if (!waiting_.empty())
      if (auto it = place_.find(leaf); it != place_.end()) {
        accumulate(waiting_[it->second].sum, std::move(g));
        return;
      }
    keep(leaf, std::move(g));
  }

  // Undivided: several threads may add to one leaf.
  void keep(TensorImpl* leaf, Tensor g) {
    const Undivided whole;
    if (!targets_ || collect_into_grad) note_gradient(leaf, true);
    if (targets_ && !collect_into_grad) {
      accumulate(leaf_grads[leaf], std::move(g));
    } else if (!leaf->grad) {
      if (options_.create_graph && !leaf->handle && hook_calls.suspect) hook_calls.suspect(leaf, false);
      if (options_.create_graph)
        leaf->grad = std::move(g);
      else
        leaf->grad = in_layout_of(*leaf, std::move(g));
    } else if (options_.create_graph) {
      leaf->grad = leaf->grad + g;
    } else {
      add_(leaf->grad, g);
    }
  }

 public:
  bool collect_into_grad = false;  // backward(inputs=): targets, but into .grad
  Arrivals* arrivals = nullptr;

 private:
  SweepOptions options_;
  const Targets* targets_;
  Vector<Waiting> waiting_;
  Map<TensorImpl*, std::size_t> place_;
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
  if (any_leaf_hooks()) sweep.expect(roots);
  for (std::size_t i = 0; i < roots.size(); ++i)
    sweep.start(roots[i], grads[i] ? to(grads[i], roots[i].dtype()) : ones_like(roots[i]));
}

}  // namespace

namespace {
std::atomic<bool> anomaly{false};
}
bool sweeping() { return running.load(std::memory_order_relaxed) > 0; }
bool anomaly_mode() { return anomaly.load(std::memory_order_relaxed); }
bool set_anomaly_mode(bool on) { return anomaly.exchange(on); }

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

Vector<Tensor> grad(std::span<const Tensor> roots, std::span<const Tensor> grads,
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
  Vector<Tensor> result;
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

std::vector<std::vector<Tensor>> contributions(std::span<const Tensor> roots, std::span<const Tensor> grads,
                                               std::span<const Tensor> inputs, const SweepOptions& options) {
  GradMode mode(options.create_graph);
  const Targets targets(roots, inputs);
  Arrivals arrivals(inputs);
  Sweep sweep(options, &targets);
  sweep.arrivals = &arrivals;
  start_all(sweep, roots, grads);
  sweep.run();
  return std::move(arrivals.all);
}

}  // namespace unspool
