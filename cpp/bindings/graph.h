// grad_fn in Python: a recorded call, or AccumulateGrad, where the graph ends in a leaf.
#pragma once

#include "handle.h"
#include "unspool/tape/node.h"

namespace unspool::python {

struct GradFn {
  Node* node = nullptr;
  Tensor leaf;
  explicit GradFn(Node* n) : node(n) { retain(n); }
  explicit GradFn(const Tensor& t) : leaf(t) {}
  GradFn(const GradFn& o) : node(o.node), leaf(o.leaf) {
    if (node) retain(node);
  }
  GradFn& operator=(const GradFn&) = delete;
  ~GradFn() {
    if (node) release(node);
  }
  std::string name() const;
  py::object register_hook(const py::object& hook) const;
  py::object register_prehook(const py::object& hook) const;
};

// Calls that are made of several recorded ones bear the name of the call that the program made: a number for
// each name, and how a result's node gets it.
std::uint32_t number_of_name(const std::string& name);
inline void show_as(const Tensor& result, std::uint32_t name) {
  if (result && result->node) result->node->shown = name;
}
// In a signature: the name depends on the operands, see show_as_product.
inline constexpr std::uint32_t kShownAsProduct = ~std::uint32_t{0};
// The name of a @ b, which PyTorch makes of other calls for each number of dimensions.
void show_as_product(const Tensor& result, const Tensor& a, const Tensor& b);

}  // namespace unspool::python
