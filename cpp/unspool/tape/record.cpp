// Recording: a call that the door has run becomes a node; and the end of a node's life.
#include <algorithm>
#include <new>

#include "unspool/ops/ops.h"
#include "unspool/tape/hooks.h"
#include "unspool/tape/inplace.h"
#include "unspool/tape/node.h"

namespace unspool {
namespace {

UNSPOOL_NEAR thread_local std::uint64_t sequence_counter = 0;

bool wants(const OpDef& op, std::span<Tensor> in) {
  if (op.derivative.none) return false;
  bool any = false;  // every one is asked: needs_grad brings a stale view up to date
  for (const Tensor& t : in)
    if (t) any |= needs_grad(t);
  return any;
}

TensorImpl* keep(const Tensor& t) { return Tensor(t).take(); }

void record_result(Call& c) {
  // Calls of autograd.Function may have any number of results.
  Tensor* const out = c.list ? c.list->data() : c.out;
  const int n_out = c.list ? static_cast<int>(c.list->size()) : c.n_out;
  int n_shapes = c.op->first ? out[0].ndim() : 0;  // for split()
  for (const Tensor& t : c.in) n_shapes += t ? t.ndim() : 0;
  const std::size_t bytes = sizeof(Node) + c.in.size() * sizeof(InputSlot) +
                            static_cast<std::size_t>(n_out) * sizeof(Tensor) +
                            static_cast<std::size_t>(c.attrs.n) * sizeof(Attr) +
                            static_cast<std::size_t>(c.attrs.n_lists) * sizeof(Dims) +
                            static_cast<std::size_t>(n_shapes) * sizeof(std::int64_t);
  Node* node = new (allocate(bytes)) Node;
  node->bytes = static_cast<std::uint32_t>(bytes);
  node->op = c.op;
  node->site = sites.here ? sites.here() : 0;
  node->n_in = static_cast<std::uint16_t>(c.in.size());
  node->n_out = static_cast<std::uint8_t>(n_out);
  node->n_attrs = static_cast<std::uint8_t>(c.attrs.n);
  node->n_lists = static_cast<std::uint8_t>(c.attrs.n_lists);
  for (int i = 0; i < n_out; ++i) new (node->pending() + i) Tensor;
  for (int i = 0; i < c.attrs.n; ++i) new (node->attrs() + i) Attr(c.attrs.v[i]);
  for (int i = 0; i < c.attrs.n_lists; ++i) new (node->lists() + i) Dims(c.attrs.lists[i]);

  const std::uint32_t saves = saves_of(*c.op, c.in);
  std::uint64_t last = sequence_counter;
  std::int64_t* shapes = node->shapes();
  for (std::size_t i = 0; i < c.in.size(); ++i) {
    InputSlot* slot = new (node->inputs() + i) InputSlot;
    const Tensor& t = c.in[i];
    if (!t) continue;
    slot->dtype = t.dtype();
    slot->ndim = static_cast<std::int8_t>(t.ndim());
    slot->shape = shapes;
    for (std::int64_t size : t.shape()) *shapes++ = size;
    if (t.requires_grad()) {
      slot->edge = edge_of(t);
      if (slot->edge.node) {
        retain(slot->edge.node);
        last = std::max(last, slot->edge.node->sequence);
      } else {
        slot->edge.leaf = keep(t);
      }
    }
    if (i < 8 && (saves >> i) & 1) {
      slot->was_saved = true;
      slot->version = version_of(t);
      slot->saved = keep(t);
    }
  }
  node->sequence = sequence_counter = last + 1;
  if (c.op->first) {
    node->sequence = ++sequence_counter;  // one is left for split()
    for (std::int64_t size : out[0].shape()) *shapes++ = size;
  }

  if (saves & kSaveOut) {
    node->y = alias(c.out[0]).take();
    node->saves_output = true;
    node->y_version = version_of(c.out[0]) + (c.inplace ? 1 : 0);
  }
  if ((saves & kSaveAux) && c.aux) {
    node->aux = c.aux.take();
    node->saves_aux = true;
  }

  for (int i = 0; i < n_out; ++i) {
    Tensor& y = out[i];
    if (!y) continue;
    if (!is_floating(y.dtype())) continue;
    Node* before = y->node;
    retain(node);
    y->node = node;
    y->output = static_cast<std::uint32_t>(i);
    if (y->retains_grad) move_retained(y.get(), before, node);
    if (before) release(before);
    y->requires_grad = true;
  }
  release(node);
}

// Frees what one node owns. Whatever this lets go of is pushed on the same worklist.
void free_node(Node* n) noexcept {
  for (int i = 0; i < n->n_in; ++i) {
    InputSlot& slot = n->inputs()[i];
    if (slot.edge.node) release(slot.edge.node);
    Tensor::steal(slot.edge.leaf);
    Tensor::steal(slot.saved);
  }
  for (int i = 0; i < n->n_out; ++i) n->pending()[i].~Tensor();
  Tensor::steal(n->y);
  Tensor::steal(n->aux);
  if (n->hooks) {
    if (hook_calls.forget) hook_calls.forget(n);
    clear(n->hooks);
  }
  const std::uint32_t bytes = n->bytes;
  n->~Node();
  deallocate(n, bytes);
}

}  // namespace

void release(Node* n) noexcept {
  if (n->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  UNSPOOL_NEAR thread_local Node* worklist = nullptr;
  UNSPOOL_NEAR thread_local bool draining = false;
  n->link = worklist;
  worklist = n;
  if (draining) return;
  draining = true;
  while (worklist) {
    Node* next = worklist;
    worklist = next->link;
    free_node(next);
  }
  draining = false;
}

bool needs_grad(const Tensor& t) {
  if (t->view) history(t);
  return t->requires_grad;
}

Edge edge_of(const Tensor& t) {
  if (Node* node = history(t)) return {node, nullptr, t->output};
  return {nullptr, t->requires_grad ? t.get() : nullptr, 0};
}

// ---- Unpacking ---------------------------------------------------------------------------------

namespace {

[[noreturn, gnu::cold]] void fail_freed(const Node* node) {
  fail(ErrorKind::Runtime, name_of(*node->op),
       ": Trying to backward through the graph a second time, but what it saved was freed by the "
       "first. Pass retain_graph=True to the first backward to keep it");
}

[[noreturn, gnu::cold]] void fail_overwritten(const Node* node, const Tensor& t, std::uint32_t saved) {
  const std::string reader = name_of(node->op->first ? *node->op->first : *node->op);
  const OpDef* writer = t->version->writer;
  const std::string by = writer ? name_of(*writer) + (writer->cls == Class::Update ? "" : "_") : "a write";
  fail(ErrorKind::Runtime, reader,
       ": one of the variables needed for gradient computation has been modified by an inplace "
       "operation: a tensor of shape ",
       t.shape(), " that ", reader, at_site(node->site), " saved at version ", saved, " is at version ",
       version_of(t), ", last written by ", by, at_site(t->version->site), ". Write to a clone(), or before ",
       reader);
}

}  // namespace

Unpacked::Unpacked(Node* node, bool taped) {
  const int n = node->n_in;
  Tensor* saved = inline_saved_;
  Shape* shapes = inline_shapes_;
  DType* dtypes = inline_dtypes_;
  wanted = inline_wanted_;
  if (n > kInline) {
    const auto size = static_cast<std::size_t>(n);
    many_saved_.resize(size);
    many_shapes_.resize(size);
    many_dtypes_.resize(size);
    many_wanted_.resize(size * sizeof(bool));
    saved = many_saved_.data();
    shapes = many_shapes_.data();
    dtypes = many_dtypes_.data();
    wanted = reinterpret_cast<bool*>(many_wanted_.data());
  }
  for (int i = 0; i < n; ++i) {
    const InputSlot& slot = node->inputs()[i];
    shapes[i] = Shape(slot.shape, slot.ndim);
    dtypes[i] = slot.dtype;
    wanted[i] = slot.connected();
    if (!slot.was_saved) continue;
    if (!slot.saved) fail_freed(node);
    saved[i] = Tensor::borrow(slot.saved);
    if (version_of(saved[i]) != slot.version) fail_overwritten(node, saved[i], slot.version);
  }
  Tensor y;
  if (node->saves_output) {
    if (!node->y) fail_freed(node);
    y = Tensor::borrow(node->y);
    if (version_of(y) != node->y_version) fail_overwritten(node, y, node->y_version);
    if (taped) {  // the rule may differentiate through the output again
      y = alias(y);
      retain(node);
      y->node = node;
      y->requires_grad = true;
    }
  }
  Tensor aux;
  if (node->aux)
    aux = Tensor::borrow(node->aux);
  else if (node->released && node->saves_aux)
    fail_freed(node);
  record = Record{.op = node->op,
                  .attrs = {},
                  .taped = taped,
                  .n_in = n,
                  .saved_in = saved,
                  .y = std::move(y),
                  .aux = std::move(aux),
                  .wanted = wanted,
                  .shapes_in = shapes,
                  .dtypes_in = dtypes,
                  .node = node};
  record.attrs.v = node->attrs();
  record.attrs.lists = node->lists();
  record.attrs.n = node->n_attrs;
  record.attrs.n_lists = node->n_lists;
}

namespace {

void release_hooks(TensorImpl* t) noexcept {
  if (t->suspect) hook_calls.forget(t);
  if (t->retains_grad) move_retained(t, t->node, nullptr);
  if (!t->hooks) return;
  count_leaf_hooks(-1);
  clear(t->hooks);
}

}  // namespace

void install_tape() {
  tensor_hooks.release_node = release;
  tensor_hooks.release_hooks = release_hooks;
  recorder = {wants, record_result, check_inplace, record_inplace, note_view};
}

}  // namespace unspool
