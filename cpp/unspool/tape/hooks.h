// Hooks: what is to be called when a sweep has the whole gradient of a result or of a leaf. The tape
// knows when; what a callable is, the bindings know (HookCalls).
#pragma once

#include <unordered_set>
#include <vector>

#include "unspool/tape/node.h"

namespace unspool {

struct Hook {
  enum When : std::uint8_t {
    Gradient,     // may replace the gradient of result `output`, or of the leaf
    Retain,       // result `output` keeps its gradient; `target` is its tensor, not owned
    Before,       // may replace the gradients of all results
    After,        // sees (and may replace) the gradients of the inputs
    Accumulated,  // a leaf's .grad has been added to
    Owned,        // nothing is called: what the node's rule needs alive
  };
  When when;
  std::uint32_t output;
  std::uint64_t id;
  void* target;  // the callable, owned
};

// Of one node or leaf, in the order of registration. A handle that removes a hook holds this, too.
struct Hooks {
  std::atomic<std::uint32_t> refs{1};
  std::vector<Hook> all;
};

// The bindings install these. The functions get a borrowed callable; null results keep what was.
struct HookCalls {
  Tensor (*gradient)(void* callable, const Tensor& g) = nullptr;
  void (*accumulated)(void* callable, TensorImpl* leaf) = nullptr;
  void (*before)(void* callable, Tensor* g, int n) = nullptr;
  void (*after)(void* callable, Tensor* gx, int n_in, const Tensor* g, int n_out) = nullptr;
  void (*freed)(void* owned) = nullptr;  // backward has freed what the node saved
  void (*kept)(void* owned, std::unordered_set<const Storage*>& all) = nullptr;  // adds what it keeps
  void (*drop)(void* callable) noexcept = nullptr;
  // A TensorImpl or Node that may be part of a cycle; and the end of one.
  void (*suspect)(void* p, bool is_node) = nullptr;
  void (*forget)(void* p) noexcept = nullptr;
};
extern HookCalls hook_calls;

// Adds a hook to the result that t is, or to the leaf; takes over the callable. Returns its id.
std::uint64_t add_hook(Hooks*& owner, Hook::When when, std::uint32_t output, void* callable);
void remove_hook(Hooks* hooks, std::uint64_t id);
void retain_gradient(const Tensor& t);

// Lets go: the owner's reference drops the callables.
void clear(Hooks* hooks) noexcept;
void drop(Hooks* hooks) noexcept;

// A tensor that keeps its gradient moves to another node, or dies.
void move_retained(TensorImpl* t, Node* from, Node* to);

// The leaves among what the roots reach that have hooks.
bool any_leaf_hooks();
void count_leaf_hooks(int change);

}  // namespace unspool
