// How the door runs elementwise ops: which kernel, on which views. The formulas stand in
// elementwise.h.
#pragma once

#include "unspool/kernels/table.h"
#include "unspool/ops/op.h"

namespace unspool {

inline constexpr int kMaxMapInputs = 5;

struct MapInfo {
  void (*run)(const View& out, const View* in, const double* params);
  int arity;
  bool to_bool;         // the result is bool
  std::uint32_t types;  // bit d: compiled for DType d
};
const MapInfo& map_info(int id);  // of the chosen instruction set

void map_shape(Call& c);  // broadcasts the inputs, sets result 0
void run_map(Call& c);

// The strides of an elementwise result of these inputs.
Strides strides_alike(std::span<const Tensor> in, const Shape& shape);
// For ops that are one loop over memory: sets result 0, and brings the inputs into its shape and layout.
void flat_shape(Call& c, const Shape& shape, DType dtype);

// Views of the inputs broadcast to `shape` by strides of 0; flat where everything is dense.
void broadcast_views(const Shape& shape, const Tensor& out, std::span<const Tensor> in, View* out_view,
                     View* in_views);

}  // namespace unspool
