// Cycles of tensors and recorded calls that nothing else reaches: a leaf whose grad was made with a graph, a
// hook that captures the tensor it hangs on. Reference counts never free them, and Python's collector does
// not see inside the graph. Whatever can close such a cycle is noted as a suspect; now and then the
// references among all that the suspects reach are counted (trial deletion, Bacon and Rajan 2001), and what
// only itself refers to is taken apart.
#include <unordered_map>
#include <vector>

#include "handle.h"
#include "unspool/tape/hooks.h"

namespace unspool::python {
namespace {

enum class Kind : std::uint8_t { Tensor, Node, Python };

std::unordered_map<void*, Kind> suspects;
std::size_t next_collection = 256;
bool collecting = false;

struct Vertex {
  void* p;
  Kind kind;
  long inner = 0;  // references from vertices
  bool live = false;
};

// Of Python's objects only those are followed that closures are made of; others count as being outside.
bool followed(PyObject* o) {
  return is_tensor(o) || PyFunction_Check(o) || PyCell_Check(o) || PyTuple_CheckExact(o) ||
         PyList_CheckExact(o);
}

template <class Visit>
void references(const Vertex& v, Visit&& visit) {
  auto python = [&](void* o) {
    if (o && followed(static_cast<PyObject*>(o))) visit(o, Kind::Python);
  };
  auto tensor = [&](TensorImpl* t) {
    if (t) visit(t, Kind::Tensor);
  };
  auto hooks = [&](const Hooks* h) {
    if (!h) return;
    for (const Hook& hook : h->all)
      if (hook.when != Hook::Retain) python(hook.target);
  };
  if (v.kind == Kind::Tensor) {
    auto* t = static_cast<TensorImpl*>(v.p);
    if (t->node) visit(t->node, Kind::Node);
    tensor(t->grad.get());
    if (t->view) tensor(t->view->base.get());
    hooks(t->hooks);
  } else if (v.kind == Kind::Node) {
    auto* n = static_cast<Node*>(v.p);
    for (int i = 0; i < n->n_in; ++i) {
      const InputSlot& slot = n->inputs()[i];
      if (slot.edge.node) visit(slot.edge.node, Kind::Node);
      tensor(slot.edge.leaf);
      tensor(slot.saved);
    }
    tensor(n->y);
    tensor(n->aux);
    for (int i = 0; i < n->n_out; ++i) tensor(n->pending()[i].get());
    hooks(n->hooks);
  } else {
    auto* o = static_cast<PyObject*>(v.p);
    if (is_tensor(o)) {
      tensor(impl_of(o));
    } else if (PyFunction_Check(o)) {
      python(PyFunction_GET_CLOSURE(o));
      python(PyFunction_GET_DEFAULTS(o));
    } else if (PyCell_Check(o)) {
      python(PyCell_GET(o));
    } else {
      const Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
      for (Py_ssize_t i = 0; i < n; ++i) python(PySequence_Fast_GET_ITEM(o, i));
    }
  }
}

long count_of(const Vertex& v) {
  if (v.kind == Kind::Tensor) return static_cast<TensorImpl*>(v.p)->refs.load();
  if (v.kind == Kind::Node) return static_cast<Node*>(v.p)->refs.load();
  return static_cast<long>(Py_REFCNT(static_cast<PyObject*>(v.p)));
}

void collect() {
  std::vector<Vertex> all;
  std::unordered_map<void*, std::size_t> place;
  auto reach = [&](void* p, Kind kind) -> Vertex& {
    auto [it, fresh] = place.emplace(p, all.size());
    if (fresh) all.push_back({p, kind});
    return all[it->second];
  };
  // NOLINTNEXTLINE(bugprone-nondeterministic-pointer-iteration-order): the result is the same in any order
  for (const auto& [p, kind] : suspects) reach(p, kind);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Vertex v = all[i];  // `all` grows
    references(v, [&](void* p, Kind kind) { ++reach(p, kind).inner; });
  }
  std::vector<std::size_t> stack;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (count_of(all[i]) > all[i].inner) {
      all[i].live = true;
      stack.push_back(i);
    }
  while (!stack.empty()) {
    const Vertex v = all[stack.back()];
    stack.pop_back();
    references(v, [&](void* p, Kind) {
      const std::size_t i = place.at(p);
      if (!all[i].live) {
        all[i].live = true;
        stack.push_back(i);
      }
    });
  }
  // Taken apart at the grads and hooks, which is where every such cycle passes.
  std::vector<Tensor> grads;
  std::vector<Hooks*> hooks;
  for (const Vertex& v : all) {
    if (v.live || v.kind == Kind::Python) continue;
    if (v.kind == Kind::Tensor) {
      auto* t = static_cast<TensorImpl*>(v.p);
      grads.push_back(std::move(t->grad));
      if (t->hooks) {
        count_leaf_hooks(-1);
        hooks.push_back(std::exchange(t->hooks, nullptr));
      }
    } else if (auto* n = static_cast<Node*>(v.p); n->hooks) {
      hooks.push_back(std::exchange(n->hooks, nullptr));
    }
    suspects.erase(v.p);
  }
  for (Hooks* h : hooks) clear(h);
}

void suspect(void* p, bool is_node) {
  suspects.emplace(p, is_node ? Kind::Node : Kind::Tensor);
  if (!is_node) static_cast<TensorImpl*>(p)->suspect = true;
  if (collecting || suspects.size() < next_collection) return;
  collecting = true;
  collect();
  next_collection = std::max<std::size_t>(256, 2 * suspects.size());
  collecting = false;
}

void forget(void* p) noexcept { suspects.erase(p); }

}  // namespace

void install_cycles() {
  hook_calls.suspect = suspect;
  hook_calls.forget = forget;
}

}  // namespace unspool::python
