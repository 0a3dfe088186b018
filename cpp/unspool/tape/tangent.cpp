// The tangent sweep: the recorded calls in the order of their making, each pushing the tangents
// of its inputs to its results by the op's jvp.
#include <algorithm>
#include <array>

#include "unspool/ops/ops.h"
#include "unspool/tape/node.h"
#include "unspool/tape/sweep.h"

namespace unspool {
namespace {

using Tangents = std::array<Tensor, kMaxOutputs>;

// Parts of a broadcast sum may come in the shape of one operand.
Tensor in_output_shape(const Node* n, const Record& r, Tensor dy) {
  if (n->op->cls != Class::Map) return dy;
  Shape shape = r.shape(0);
  for (int i = 1; i < r.n_in; ++i) shape = broadcast_shapes("jvp", shape, r.shape(i));
  return dy.shape() == shape ? dy : expand(dy, shape);
}

}  // namespace

Vector<Tensor> jvp(std::span<const Tensor> outputs, std::span<const Tensor> inputs,
                   std::span<const Tensor> tangents) {
  Map<TensorImpl*, Tensor> leaf;
  Map<Node*, Tangents> flow;
  Map<Node*, bool> given;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!(tangents[i].shape() == inputs[i].shape()))
      fail(ErrorKind::Shape, "jvp: tangent ", i, " has shape ", tangents[i].shape(), ", its input has shape ",
           inputs[i].shape());
    const Edge e = edge_of(inputs[i]);
    if (e.node) {
      if (e.output >= kMaxOutputs) fail(ErrorKind::NotImplemented, "jvp: of a result of autograd.Function");
      flow[e.node][e.output] = tangents[i];
      given[e.node] = true;
    } else {
      leaf[inputs[i].get()] = tangents[i];
    }
  }

  Vector<Node*> order, stack;
  Map<Node*, bool> seen;
  for (const Tensor& t : outputs)
    if (Node* n = history(t)) stack.push_back(n);
  while (!stack.empty()) {
    Node* n = stack.back();
    stack.pop_back();
    if (!seen.emplace(n, true).second || given.count(n)) continue;
    order.push_back(n);
    for (int i = 0; i < n->n_in; ++i)
      if (Node* up = n->inputs()[i].edge.node) stack.push_back(up);
  }
  std::sort(order.begin(), order.end(),
            [](const Node* a, const Node* b) { return a->sequence < b->sequence; });

  auto at = [&](const Edge& e) -> Tensor {
    if (e.leaf) {
      auto it = leaf.find(e.leaf);
      return it == leaf.end() ? Tensor() : it->second;
    }
    auto it = e.node ? flow.find(e.node) : flow.end();
    return it == flow.end() ? Tensor() : it->second[e.output];
  };
  for (Node* n : order) {
    Vector<Tensor> dx(n->n_in);
    bool any = false;
    for (int i = 0; i < n->n_in; ++i) {
      dx[i] = at(n->inputs()[i].edge);
      any |= static_cast<bool>(dx[i]);
    }
    if (!any) continue;
    Unpacked unpacked(n, grad_enabled());
    Tangents dy;
    n->op->derivative.jvp(unpacked.record, dx.data(), dy.data());
    for (int i = 0; i < n->n_out; ++i)
      if (dy[i]) dy[i] = in_output_shape(n, unpacked.record, dy[i]);
    flow[n] = dy;
  }

  Vector<Tensor> result;
  for (const Tensor& t : outputs) result.push_back(at(edge_of(t)));
  return result;
}

}  // namespace unspool
