// Taking a fused call apart. Programs that walk the graph, or hook a node on it, find the two nodes that
// the two ops would have left; programs that don't (all but a few) have one node less to visit.
#include <new>

#include "unspool/tape/node.h"
#include "unspool/tape/sweep.h"

namespace unspool {

// n stays the node of `second` and keeps the aux buffer. Its inputs, and what was saved of them, move to a
// new node of `first`. record() has left a sequence number for it, and the shape of first's result behind
// the shapes of the inputs.
void split(Node* n) {
  if (!n->op->first || sweeping()) return;  // a sweep has its own lists of nodes
  const int n_in = n->n_in;
  const std::int64_t* const shapes = n->shapes();
  std::int64_t n_shapes = 0;
  for (int i = 0; i < n_in; ++i) n_shapes += n->inputs()[i].ndim;
  const Shape between(shapes + n_shapes, n->inputs()[0].ndim);
  const DType dtype = n->inputs()[0].dtype;

  const std::size_t bytes = sizeof(Node) + static_cast<std::size_t>(n_in) * sizeof(InputSlot) +
                            sizeof(Tensor) + static_cast<std::size_t>(n_shapes) * sizeof(std::int64_t);
  Node* first = new (allocate(bytes)) Node;
  first->bytes = static_cast<std::uint32_t>(bytes);
  first->op = n->op->first;
  first->site = n->site;
  first->sequence = n->sequence - 1;
  first->n_in = n->n_in;
  first->released = n->released;
  new (first->pending()) Tensor;
  std::int64_t* to = first->shapes();
  for (int i = 0; i < n_in; ++i) {
    InputSlot* slot = new (first->inputs() + i) InputSlot(n->inputs()[i]);
    if (slot->shape) slot->shape = to + (slot->shape - shapes);
  }
  for (std::int64_t i = 0; i < n_shapes; ++i) to[i] = shapes[i];

  // What follows n's head is laid out anew; with one input it is shorter than before.
  n->pending()[0].~Tensor();
  n->op = n->op->second;
  n->n_in = 1;
  InputSlot* slot = new (n->inputs()) InputSlot;
  new (n->pending()) Tensor;
  slot->edge.node = first;  // takes over the reference
  slot->dtype = dtype;
  slot->ndim = static_cast<std::int8_t>(between.ndim);
  slot->shape = n->shapes();
  for (int d = 0; d < between.ndim; ++d) n->shapes()[d] = between[d];
}

}  // namespace unspool
