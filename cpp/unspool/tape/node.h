// A node: one recorded call. Reference-counted; it lives while a tensor or a later node reaches
// it. A fixed head of 96 bytes, then what the call needs: input slots, pending gradients,
// attributes. Made in record.cpp, read by backward.cpp and tangent.cpp, freed by release().
#pragma once

#include "unspool/ops/op.h"

namespace unspool {

// Where a gradient goes: result `output` of `node`, or the slot of the leaf `leaf`, or nowhere.
struct Edge {
  Node* node = nullptr;
  TensorImpl* leaf = nullptr;
  std::uint32_t output = 0;
};

struct InputSlot {
  Edge edge;
  std::uint32_t version = 0;  // of `saved`, when it was saved
  DType dtype = DType::Float32;
  std::int8_t ndim = 0;
  bool was_saved = false;               // stays true when backward has freed it
  TensorImpl* saved = nullptr;          // owned
  const std::int64_t* shape = nullptr;  // behind the node

  bool connected() const { return edge.node || edge.leaf; }
};

struct Hooks;  // hooks.h

struct Node {
  std::atomic<std::uint32_t> refs{1};
  std::uint16_t n_in = 0;
  std::uint8_t n_out = 1;
  std::uint8_t n_attrs = 0;
  std::uint8_t n_lists = 0;
  bool released = false;  // backward has freed what was saved
  bool saves_output = false;
  bool saves_aux = false;
  std::uint32_t shown =
      0;  // the name of the call that the program made, where this is a part of it; see graph.h
  const OpDef* op = nullptr;
  std::uint64_t sequence = 0;  // greater than that of every input's node
  std::uint32_t bytes = 0;     // of head and tail together
  std::uint32_t y_version = 0;
  void* sweep = nullptr;    // the running sweep that has a gradient for this node
  Node* link = nullptr;     // worklist of release()
  TensorImpl* y = nullptr;  // result 0, detached (a node must not own its own result)
  TensorImpl* aux = nullptr;
  Hooks* hooks = nullptr;  // owned
  std::uint32_t site = 0;  // where the program made the call

  InputSlot* inputs() { return reinterpret_cast<InputSlot*>(this + 1); }
  Tensor* pending() { return reinterpret_cast<Tensor*>(inputs() + n_in); }
  Attr* attrs() { return reinterpret_cast<Attr*>(pending() + n_out); }
  Dims* lists() { return reinterpret_cast<Dims*>(attrs() + n_attrs); }
  std::int64_t* shapes() { return reinterpret_cast<std::int64_t*>(lists() + n_lists); }
};

inline void retain(Node* n) noexcept { n->refs.fetch_add(1, std::memory_order_relaxed); }
// Frees the node, and all that only it reaches, without recursion.
void release(Node* n) noexcept;

// Makes a fused call's node two, before anyone looks at its inputs (split.cpp).
void split(Node* n);

// The node whose result t is: for a view whose base was written since, made anew (inplace.cpp).
Node* history(const Tensor& t);
Edge edge_of(const Tensor& t);
bool needs_grad(const Tensor& t);  // requires_grad, a stale view brought up to date first

// Turns saved slots back into tensors for a derivative rule. Throws RuntimeError where the graph
// was freed or a saved tensor was overwritten.
struct Unpacked {
  Unpacked(Node* node, bool taped);
  Record record;
  bool* wanted;  // what record.wanted points to: a sweep may narrow it

 private:
  static constexpr int kInline = 4;
  Tensor inline_saved_[kInline];
  Shape inline_shapes_[kInline];
  DType inline_dtypes_[kInline];
  bool inline_wanted_[kInline];
  // For calls of many inputs: cat, stack.
  Vector<Tensor> many_saved_;
  Vector<Shape> many_shapes_;
  Vector<DType> many_dtypes_;
  Vector<std::uint8_t> many_wanted_;
};

void install_tape();  // sets the hooks of tensor/ and ops/

}  // namespace unspool
