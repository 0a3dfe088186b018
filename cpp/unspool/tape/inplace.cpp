// In-place writes and views.
//
// A view follows the history of its base: `v = y[0]` has the node `select`, made from y's. When
// y is written in place its node changes, and v's is out of date; v->view->seen tells, and
// history() then makes v's node anew, as as_strided of the base.
//
// A write through v is a write to a part of the base: the base's new history is
// as_strided_scatter(old base, new value of v), and v's own is made anew on its next use.
// Thus `y = x * 2; y[0].zero_(); y.sum().backward()` has PyTorch's gradient.
#include "unspool/tape/inplace.h"

#include "unspool/ops/ops.h"
#include "unspool/tape/hooks.h"
#include "unspool/tape/node.h"

namespace unspool {
namespace {

// Ops that only write carry the underscore in their schema.
std::string inplace_name(const OpDef& op) { return name_of(op) + (op.cls == Class::Update ? "" : "_"); }

}  // namespace

Node* history(const Tensor& t) {
  ViewOf* view = t->view;
  if (!view || view->seen == version_of(t)) return t->node;
  if (!view->base.requires_grad()) return t->node;
  GradMode on(true);
  const Tensor fresh = as_strided(view->base, t.shape(), t.strides(), t->offset() - view->base->offset());
  Node* before = t->node;
  t->node = fresh->node;
  if (t->node) retain(t->node);
  t->output = fresh->output;
  if (t->retains_grad) move_retained(t.get(), before, t->node);
  if (before) release(before);
  t->requires_grad = true;
  view->seen = version_of(t);
  return t->node;
}

void note_view(const Tensor& base, const Tensor& view) {
  // Views of views follow the first base, so that one write is seen by all.
  const Tensor& root = base->view ? base->view->base : base;
  view->view = new (allocate(sizeof(ViewOf))) ViewOf{root, version_of(view)};
}

void check_inplace(const Call& c) {
  const Tensor& target = c.in[0];
  auto refuse = [&](const auto&... why) { fail(ErrorKind::Runtime, inplace_name(*c.op), ": ", why...); };
  if (target->storage->readonly)
    refuse("the tensor shares memory with a read-only array; write to a copy of it (.clone())");
  auto refuse_overlap = [&](const Tensor& t) {
    for (int i = 0; i < t.ndim() && t.numel(); ++i)
      if (t.strides()[i] == 0 && t.shape()[i] > 1)
        refuse(
            "unsupported operation: more than one element of the written-to tensor refers to a "
            "single memory location (it was expanded to shape ",
            t.shape(), "). Please clone() the tensor before performing the operation");
  };
  refuse_overlap(target);
  if (!grad_enabled()) return;
  // A view of a plain tensor that was then asked to require grad itself is such a leaf, too.
  if (!history(target) && target.requires_grad())
    refuse(
        "a leaf Variable that requires grad is being used in an in-place operation; do it "
        "under no_grad() or on .data");
  if (!target->view) return;
  const Tensor& base = target->view->base;
  if (c.recording) refuse_overlap(base);
  if (!target->node && base.requires_grad() && !base->is_leaf())
    refuse(
        "a view was created in no_grad mode and is being modified inplace with grad mode enabled. Move "
        "both the view and the write inside the no_grad block, or both outside of it");
  if (base->is_leaf() && base.requires_grad())
    refuse(
        "a view of a leaf Variable that requires grad is being used in an in-place operation; "
        "do it under no_grad() or on .data");
}

// The kernel has run; c.out[0] is the target. The write is counted after the call is recorded: a
// view among the inputs would else count as stale, and its old history be lost.
void record_inplace(Call& c, const Tensor& target) {
  c.inplace = true;
  if (!target->view) {
    recorder.record(c);
    note_write(target, *c.op);
    return;
  }
  // The value of the view after the write, as a tensor of its own on the tape.
  const Tensor base = target->view->base;
  c.out[0] = alias(target);
  recorder.record(c);
  const Tensor value = c.out[0];
  c.out[0] = target;
  note_write(target, *c.op);

  Tensor in[2] = {base, value};
  const Attrs attrs({target->offset() - base->offset()}, {target.shape(), target.strides(), base.strides()});
  Call scatter(as_strided_scatter_op);
  scatter.in = in;
  scatter.attrs = attrs;
  scatter.out[0] = base;  // already holds the result: only the history is new
  recorder.record(scatter);
  history(target);
}

}  // namespace unspool
