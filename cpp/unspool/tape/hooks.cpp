#include "unspool/tape/hooks.h"

#include <algorithm>

namespace unspool {

HookCalls hook_calls;

namespace {

std::atomic<std::uint64_t> next_id{1};
std::atomic<int> leaves_with_hooks{0};

bool owns_callable(const Hook& h) { return h.when != Hook::Retain; }

}  // namespace

bool any_leaf_hooks() { return leaves_with_hooks.load(std::memory_order_relaxed) > 0; }
void count_leaf_hooks(int change) { leaves_with_hooks.fetch_add(change, std::memory_order_relaxed); }

std::uint64_t add_hook(Hooks*& owner, Hook::When when, std::uint32_t output, void* callable) {
  if (!owner) owner = new Hooks;
  const std::uint64_t id = next_id.fetch_add(1, std::memory_order_relaxed);
  owner->all.push_back({when, output, id, callable});
  return id;
}

void remove_hook(Hooks* hooks, std::uint64_t id) {
  for (std::size_t i = 0; i < hooks->all.size(); ++i)
    if (hooks->all[i].id == id) {
      const Hook gone = hooks->all[i];
      hooks->all.erase(hooks->all.begin() + static_cast<std::ptrdiff_t>(i));
      if (owns_callable(gone)) hook_calls.drop(gone.target);
      return;
    }
}

void drop(Hooks* hooks) noexcept {
  if (hooks->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete hooks;
}

void clear(Hooks* hooks) noexcept {
  std::vector<Hook> all;
  all.swap(hooks->all);  // a callable that is dropped may reach these hooks again
  for (const Hook& h : all)
    if (owns_callable(h)) hook_calls.drop(h.target);
  drop(hooks);
}

void retain_gradient(const Tensor& t) {
  Node* node = history(t);
  if (!node || t->retains_grad) return;
  add_hook(node->hooks, Hook::Retain, t->output, t.get());
  t->retains_grad = true;
}

void move_retained(TensorImpl* t, Node* from, Node* to) {
  if (from && from->hooks)
    std::erase_if(from->hooks->all, [t](const Hook& h) { return h.when == Hook::Retain && h.target == t; });
  if (to) add_hook(to->hooks, Hook::Retain, t->output, t);
}

}  // namespace unspool
