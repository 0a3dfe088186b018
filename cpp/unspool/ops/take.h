// Elements at given places: the two ops that indexing, gather, scatter, flip, sort … are made of.
// Places are flat positions in a tensor of some shape, as an int64 tensor that the functions here make and
// check.
#pragma once

#include "unspool/ops/op.h"

namespace unspool {

// y[i] = x.flat[places[i]], in the shape of `places`.
Tensor take_flat(const Tensor& x, const Tensor& places);
// target.flat[places[i]] = values[i], in order; or, with `accumulate`, +=. In place; `values` has
// the target's dtype and broadcasts to the shape of `places`.
void put_flat_(const Tensor& target, const Tensor& places, const Tensor& values, bool accumulate);
// The same on a copy.
Tensor put_flat(const Tensor& x, const Tensor& places, const Tensor& values, bool accumulate);

// The places of x[…, i, …, j, …]: index tensors (int64, null where the whole dim is taken), one a
// dim of `shape`. Their broadcast shape stands where the first of them does if they are neighbours,
// and in front otherwise: NumPy's and PyTorch's rule. Throws IndexError naming op, index and size.
// negative: whether indices may count from the end.
Tensor indexed_places(const char* op, const Shape& shape, std::span<const Tensor> indices,
                      bool negative = true);
// That result, y, in PyTorch's order of strides, which the tensor's and the indices' decide.
Tensor laid_out_as_indexed(const Tensor& y, const Tensor& x, std::span<const Tensor> indices);
// Element (…, i, …) of `index` stands at (…, index[…, i, …], …) of `shape`.
// A negative index counts from the end where `negative` allows it, and is a RuntimeError otherwise.
Tensor gathered_places(const char* op, const Shape& shape, int dim, const Tensor& index,
                       bool negative = false);
// Where the new size of dim d is tables[d].size() and its i-th slice is the old tables[d][i]-th.
Tensor separable_places(const char* op, const Shape& shape, std::span<const Vector<std::int64_t>> tables);

// Index tensors of bools become those of the places of true: one a dim of the mask.
Vector<Tensor> nonzero_columns(const Tensor& mask);

// An index tensor as int64; bools and floating numbers are refused.
Tensor index_as_int64(const char* op, const Tensor& index);  // contiguous
Tensor strided_index_as_int64(const char* op, const Tensor& index);

}  // namespace unspool
