// Reading and writing at index tensors: index_select, gather, scatter, masks, embedding. All are made of
// take_flat and put_flat_ (take.h); the indexing of Python's brackets is in bindings/indexing.cpp.
#include <utility>

#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"
#include "unspool/ops/take.h"

namespace unspool {
namespace {

// What an op writes into: its first input, or a copy of it.
Tensor target_of(const Call& c) { return c.inplace ? c.in[0] : row_major_copy(c.in[0]); }

Tensor index_of(const Call& c, int i) {
  const std::string op = name_of(*c.op);
  return index_as_int64(op.c_str(), c.in[i]);
}

Shape at_least_1d(const Shape& s) { return s.ndim ? s : Shape{1}; }

// ---- A list of slices along one dim ------------------------------------------------------------------

// The places of the slices of `shape` that a vector of indices names.
Tensor slice_places(const std::string& op, const Shape& shape, int dim, const Tensor& index) {
  if (index.ndim() > 1)
    fail(ErrorKind::Shape, op, ": the index must be a vector or a 0-d tensor, got shape ", index.shape());
  Vector<Tensor> indices(static_cast<std::size_t>(dim) + 1);
  indices[static_cast<std::size_t>(dim)] = reshape(index, {index.numel()});
  return indexed_places(op.c_str(), at_least_1d(shape), indices, false);
}

constexpr OpDef index_select_op = {
    .schema = "index_select(Tensor input, int dim, Tensor index)",
    .doc =
        "The slices of input along dim that a vector of indices (int64 or int32) names, in its order. Equal "
        "indices add up in the gradient.",
    .grad_name = "IndexSelectBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const Tensor& x = c.in[0];
          const int dim = wrap_dim("index_select", c.attrs.i(0), x.ndim());
          const Tensor y = take_flat(x, slice_places("index_select", x.shape(), dim, index_of(c, 1)));
          c.out[0] = x.ndim() ? y : reshape(y, {});
        },
    .doctest =
        ">>> unspool.index_select(unspool.tensor([10, 20, 30]), 0, unspool.tensor([2, 0]))\n"
        "tensor([30, 10])",
};

// The index of an op that writes slices, checked against the source.
Tensor written_places(const Call& c, const Tensor& source) {
  const std::string op = name_of(*c.op);
  const Shape shape = at_least_1d(c.in[0].shape());
  const int dim = wrap_dim(op.c_str(), c.attrs.i(0), shape.ndim);
  const Tensor index = index_of(c, 1);
  if (source) {
    if (source.dtype() != c.in[0].dtype())
      fail(ErrorKind::DType, op, ": input and source must have the same dtype, got ", name(c.in[0].dtype()),
           " and ", name(source.dtype()));
    Shape expected = shape;
    expected[dim] = index.numel();
    if (!(at_least_1d(source.shape()) == expected))
      fail(ErrorKind::Shape, op, ": source has shape ", source.shape(), "; input of shape ", c.in[0].shape(),
           " and ", index.numel(), " indices along dim ", dim, " need ", expected);
  }
  return slice_places(op, c.in[0].shape(), dim, index);
}

constexpr OpDef index_add_op = {
    .schema = "index_add(Tensor input, int dim, Tensor index, Tensor source, *, Scalar alpha=1)",
    .doc =
        "input with alpha times the slices of source added at the indices along dim; equal indices add up.",
    .grad_name = "IndexAddBackward0",
    .surface = kBoth | kInplace,
    .composite =
        [](Call& c) {
          const Tensor places = written_places(c, c.in[2]);
          Tensor source = reshape(c.in[2], places.shape());
          if (c.attrs.f(1) != 1.0)
            source = to(source * (c.attrs[1].kind == Attr::Float ? wrapped_number(c.attrs.f(1))
                                                                 : wrapped_number(c.attrs.i(1))),
                        source.dtype());
          c.out[0] = target_of(c);
          put_flat_(c.out[0], places, source, true);
        },
};

constexpr OpDef index_copy_op = {
    .schema = "index_copy(Tensor input, int dim, Tensor index, Tensor source)",
    .doc = "input with the slices of source written at the indices along dim.",
    .grad_name = "IndexCopyBackward0",
    .surface = kBoth | kInplace,
    .composite =
        [](Call& c) {
          const Tensor places = written_places(c, c.in[2]);
          c.out[0] = target_of(c);
          put_flat_(c.out[0], places, reshape(c.in[2], places.shape()), false);
        },
};

// A 0-d value in the dtype of what it goes into.
Tensor value_for(const Call& c, const Tensor& value) {
  const std::string op = name_of(*c.op);
  if (value.ndim())
    fail(ErrorKind::Shape, op, ": value must be a number or a 0-d tensor, got shape ", value.shape());
  if (is_floating(value.dtype()) && !is_floating(c.in[0].dtype()))
    fail(ErrorKind::DType, op, ": a value of dtype ", name(value.dtype()), " can't be cast to the input's ",
         name(c.in[0].dtype()));
  return to(value, c.in[0].dtype());
}

constexpr OpDef index_fill_op = {
    .schema = "index_fill(Tensor input, int dim, Tensor index, Operand value)",
    .doc = "input with one number written into the slices at the indices along dim.",
    .surface = kBoth | kInplace,
    .composite =
        [](Call& c) {
          const Tensor places = written_places(c, {});
          const Tensor value = value_for(c, c.in[2]);
          // Through a mask, so that a slice named twice counts once in the value's gradient.
          Tensor mask = zeros(c.in[0].shape(), DType::Bool);
          put_flat_(mask, places, full({}, 1.0, DType::Bool), false);
          c.out[0] = laid_out_like(where(mask, value, c.in[0]), c.in[0]);
        },
};

// ---- gather and scatter ------------------------------------------------------------------------------

// `index` may be smaller than `shape`, but not in more dims; along `dim` any size will do.
void check_index_shape(const std::string& op, const Shape& index, const Shape& shape, int dim,
                       const char* what) {
  bool fits = index.ndim == shape.ndim;
  for (int d = 0; fits && d < shape.ndim; ++d) fits = d == dim || index[d] <= shape[d];
  if (!fits)
    fail(ErrorKind::Shape, op, ": index of shape ", index, " must not be larger than ", what, " of shape ",
         shape, dim >= 0 ? " apart from dimension " : "", dim >= 0 ? std::to_string(dim) : "");
}

constexpr OpDef gather_op = {
    .schema = "gather(Tensor input, int dim, Tensor index, *, bool sparse_grad=False)",
    .doc =
        "y[i, j] = input[index[i, j], j] for dim 0, and so on: one element for each of the int64 index. Equal "
        "places add up in the gradient.",
    .grad_name = "GatherBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const Tensor& x = c.in[0];
          const int dim = wrap_dim("gather", c.attrs.i(0), x.ndim());
          const Tensor index = index_as_int64("gather", c.in[1]);
          if (index.numel())
            check_index_shape("gather", at_least_1d(index.shape()), at_least_1d(x.shape()), dim, "input");
          c.out[0] = take_flat(x, gathered_places("gather", x.shape(), dim, index));
        },
    .doctest =
        ">>> unspool.gather(unspool.tensor([[1, 2], [3, 4]]), 1, unspool.tensor([[1], [0]]))\n"
        "tensor([[2],\n        [3]])",
};

Tensor scattered_places(const Call& c, const Tensor& index) {
  const std::string op = name_of(*c.op);
  const Tensor& x = c.in[0];
  const int dim = wrap_dim(op.c_str(), c.attrs.i(0), x.ndim());
  check_index_shape(op, at_least_1d(index.shape()), at_least_1d(x.shape()), dim, "input");
  return gathered_places(op.c_str(), x.shape(), dim, index);
}

void scatter_source(Call& c, bool add, bool multiply) {
  const std::string op = name_of(*c.op);
  const Tensor index = index_as_int64(op.c_str(), c.in[1]);
  Tensor source = c.in[2];
  if (source.dtype() != c.in[0].dtype())
    fail(ErrorKind::DType, op, ": Expected self.dtype to be equal to src.dtype, got ", name(c.in[0].dtype()),
         " and ", name(source.dtype()));
  if (index.numel() == 0) {
    c.out[0] = target_of(c);
    return;
  }
  check_index_shape(op, at_least_1d(index.shape()), at_least_1d(source.shape()), -1, "src");
  const Tensor places = scattered_places(c, index);
  for (int d = 0; d < index.ndim() && source.ndim(); ++d) source = narrow(source, d, 0, index.shape()[d]);
  source = reshape(source, places.shape());
  c.out[0] = target_of(c);
  if (multiply) source = source * take_flat(c.out[0], places);
  put_flat_(c.out[0], places, source, add);
}

constexpr OpDef scatter_op = {
    .schema = "scatter(Tensor input, int dim, Tensor index, Tensor src, *, {add,multiply}? reduce=None)",
    .doc =
        "input with y[index[i, j], j] = src[i, j] for dim 0, and so on. With reduce='add' the elements are added; "
        "with 'multiply' they are multiplied, where no place is named twice.",
    .grad_name = "ScatterBackward0",
    .surface = kBoth | kInplace,
    .composite =
        [](Call& c) {
          const bool reduces = c.attrs.given(1);
          scatter_source(c, reduces && c.attrs.i(1) == 0, reduces && c.attrs.i(1) == 1);
        },
};

constexpr OpDef scatter_value_op = {
    .schema = "scatter(Tensor input, int dim, Tensor index, Scalar value, *, {add,multiply}? reduce=None)",
    .doc = "input with one number written at the places that index names.",
    .grad_name = "ScatterBackward1",
    .surface = kBoth | kInplace,
    .composite =
        [](Call& c) {
          const Tensor index = index_as_int64("scatter", c.in[1]);
          const Tensor number =
              c.attrs[1].kind == Attr::Float ? wrapped_number(c.attrs.f(1)) : wrapped_number(c.attrs.i(1));
          GradMode mode(grad_enabled());
          const Tensor places = index.numel() ? scattered_places(c, index) : index;
          c.out[0] = target_of(c);
          if (!index.numel()) return;
          Tensor value = expand(to(number, c.in[0].dtype()), places.shape());
          if (c.attrs.given(2) && c.attrs.i(2) == 1) value = value * take_flat(c.out[0], places);
          put_flat_(c.out[0], places, value, c.attrs.given(2) && c.attrs.i(2) == 0);
        },
};

constexpr OpDef scatter_add_op = {
    .schema = "scatter_add(Tensor input, int dim, Tensor index, Tensor src)",
    .doc = "input with src[i, j] added to y[index[i, j], j] for dim 0, and so on; in the order of index.",
    .grad_name = "ScatterAddBackward0",
    .surface = kBoth | kInplace,
    .composite = [](Call& c) { scatter_source(c, true, false); },
};

constexpr OpDef take_op = {
    .schema = "take(Tensor input, Tensor index)",
    .doc = "The elements of the flattened input at the int64 indices, in the shape of index.",
    .grad_name = "TakeBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const Tensor index = index_as_int64("take", c.in[1]);
          const Tensor flat = reshape(c.in[0], {c.in[0].numel()});
          const Tensor indices[] = {index};
          c.out[0] = take_flat(flat, indexed_places("take", flat.shape(), indices));
        },
};

constexpr OpDef take_along_dim_op = {
    .schema = "take_along_dim(Tensor input, Tensor indices, int? dim=None)",
    .doc = "gather with the sizes other than dim's broadcast; in the flattened input where dim is None.",
    .grad_name = "GatherBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          Tensor x = c.in[0], index = index_as_int64("take_along_dim", c.in[1]);
          if (!c.attrs.given(0)) {
            x = reshape(x, {x.numel()});
            index = reshape(index, {index.numel()});
          }
          if (x.ndim() != index.ndim())
            fail(ErrorKind::Runtime,
                 "take_along_dim: input and indices should have the same number of dimensions, ", "got ",
                 x.ndim(), " and ", index.ndim());
          const int dim = c.attrs.given(0) ? wrap_dim("take_along_dim", c.attrs.i(0), x.ndim()) : 0;
          Shape a = x.shape(), b = index.shape();
          if (x.ndim()) a[dim] = b[dim] = 1;
          Shape wide = broadcast_shapes("take_along_dim", a, b), tall = wide;
          if (x.ndim()) {
            wide[dim] = x.shape()[dim];
            tall[dim] = index.shape()[dim];
          }
          const Tensor places =
              gathered_places("take_along_dim", wide, dim, contiguous(expand(index, tall)), true);
          c.out[0] = take_flat(expand(x, wide), places);
        },
};

// ---- Masks -------------------------------------------------------------------------------------------

void check_mask(const char* op, const Tensor& mask) {
  if (mask.dtype() != DType::Bool)
    fail(ErrorKind::DType, op, ": only supports boolean masks, but got mask with dtype ", name(mask.dtype()));
}

constexpr OpDef masked_fill_op = {
    .schema = "masked_fill(Tensor input, Tensor mask, Operand value)",
    .doc = "value where the bool mask holds, input elsewhere; broadcast, in the input's dtype.",
    .grad_name = "MaskedFillBackward0",
    .surface = kBoth | kInplace,
    .composite =
        [](Call& c) {
          check_mask("masked_fill", c.in[1]);
          c.out[0] = contiguous(where(c.in[1], value_for(c, c.in[2]), c.in[0]));
        },
};

// The flat places of true in a mask of that very shape.
Tensor true_places(const Tensor& mask) {
  const Vector<Tensor> column = nonzero_columns(reshape(mask, {mask.numel()}));
  return column[0];
}

constexpr OpDef masked_select_op = {
    .schema = "masked_select(Tensor input, Tensor mask)",
    .doc = "The elements for which the bool mask holds, as a vector; input and mask broadcast.",
    .grad_name = "MaskedSelectBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          check_mask("masked_select", c.in[1]);
          const Shape shape = broadcast_shapes("masked_select", c.in[0].shape(), c.in[1].shape());
          c.out[0] = take_flat(expand(c.in[0], shape), true_places(expand(c.in[1], shape)));
        },
};

constexpr OpDef masked_scatter_op = {
    .schema = "masked_scatter(Tensor input, Tensor mask, Tensor source)",
    .doc = "input with the first elements of source written, in order, where the bool mask holds.",
    .grad_name = "MaskedScatterBackward0",
    .surface = kBoth | kInplace,
    .composite =
        [](Call& c) {
          check_mask("masked_scatter", c.in[1]);
          if (c.in[2].dtype() != c.in[0].dtype())
            fail(ErrorKind::DType, "masked_scatter: expected self and source to have same dtypes but got ",
                 name(c.in[0].dtype()), " and ", name(c.in[2].dtype()));
          const Shape shape = c.inplace
                                  ? c.in[0].shape()
                                  : broadcast_shapes("masked_scatter", c.in[0].shape(), c.in[1].shape());
          const Tensor places = true_places(expand(c.in[1], shape));
          if (c.in[2].numel() < places.numel())
            fail(ErrorKind::Runtime, "masked_scatter: source has ", c.in[2].numel(),
                 " elements, the mask holds for ", places.numel());
          const Tensor source = narrow(reshape(c.in[2], {c.in[2].numel()}), 0, 0, places.numel());
          c.out[0] = c.inplace ? c.in[0] : row_major_copy(expand(c.in[0], shape));
          put_flat_(c.out[0], places, source, false);
        },
};

void nonzero_matrix(Call& c) {
  const Vector<Tensor> columns = nonzero_columns(c.in[0]);
  const std::int64_t n = columns.empty() ? 0 : columns[0].numel();
  if (columns.empty()) {
    c.out[0] = empty({to(c.in[0], DType::Bool)->data[0] ? 1 : 0, 0}, DType::Int64);
    return;
  }
  Vector<Tensor> parts;
  for (const Tensor& column : columns) parts.push_back(reshape(column, {n, 1}));
  c.out[0] = laid_out(cat(parts, 1), {1, n});  // PyTorch fills it by columns
}

void nonzero_tuple(Call& c) {
  const Tensor x = c.in[0].ndim() ? c.in[0] : reshape(c.in[0], {1});
  *c.list = nonzero_columns(x);
}

constexpr OpDef nonzero_op = {
    .schema = "nonzero(Tensor input)",
    .doc = "The indices of the elements that are not 0: one row each.",
    .surface = kBoth,
    .composite = nonzero_matrix,
};
constexpr OpDef nonzero_tuple_op = {
    .schema = "nonzero(Tensor input, *, bool as_tuple) -> Tensor[]",
    .doc = "With as_tuple=True one vector of indices a dim, as for indexing.",
    .surface = kBoth,
    .composite = [](Call& c) { c.attrs.i(0) ? nonzero_tuple(c) : nonzero_matrix(c); },
};
constexpr OpDef argwhere_op = {
    .schema = "argwhere(Tensor input)",
    .doc = "The indices of the elements that are not 0: one row each.",
    .surface = kBoth,
    .composite = nonzero_matrix,
};
constexpr OpDef where_true_op = {
    .schema = "where(Tensor condition) -> Tensor[]",
    .doc = "nonzero(condition, as_tuple=True).",
    .surface = kFunction,
    .composite = nonzero_tuple,
};

// ---- Categories --------------------------------------------------------------------------------------

constexpr OpDef embedding_op = {
    .schema = "embedding(Tensor weight, Tensor indices, int padding_idx=-1)",
    .doc =
        "The rows of weight (n, d) at the indices (…), as (…, d). The row padding_idx, where it is not negative, "
        "gets no gradient.",
    .grad_name = "EmbeddingBackward0",
    .surface = kFunction,
    .composite =
        [](Call& c) {
          const Tensor& weight = c.in[0];
          if (weight.ndim() != 2)
            fail(ErrorKind::Shape, "embedding: 'weight' must be 2-D, got shape ", weight.shape());
          const Tensor index = index_as_int64("embedding", c.in[1]);
          const Tensor flat = reshape(index, {index.numel()});
          Tensor y = take_flat(weight, slice_places("embedding", weight.shape(), 0, flat));
          if (c.attrs.i(0) >= 0 && y.requires_grad()) {
            const Tensor padded = unsqueeze(flat == wrapped_number(c.attrs.i(0)), 1);
            y = where(padded, alias(y), y);
          }
          Shape shape = index.shape();
          shape.push(weight.shape()[1]);
          c.out[0] = reshape(y, shape);
        },
};

constexpr OpDef one_hot_op = {
    .schema = "one_hot(Tensor tensor, int num_classes=-1)",
    .doc =
        "Classes (int64, not negative) as rows of zeros with a one, int64: a new last dim of num_classes, or of "
        "one more than the largest.",
    .surface = kFunction,
    .composite =
        [](Call& c) {
          if (c.in[0].dtype() != DType::Int64)
            fail(ErrorKind::DType, "one_hot: is only applicable to index tensor of type LongTensor, got ",
                 name(c.in[0].dtype()));
          std::int64_t classes = c.attrs.i(0), largest = -1;
          const Tensor index = contiguous(c.in[0]);
          const auto* at = reinterpret_cast<const std::int64_t*>(index->data);
          for (std::int64_t i = 0; i < index.numel(); ++i) {
            if (at[i] < 0)
              fail(ErrorKind::Runtime, "one_hot: Class values must be non-negative, got ", at[i]);
            largest = at[i] > largest ? at[i] : largest;
          }
          if (index.numel() == 0 && classes <= 0)
            fail(ErrorKind::Runtime, "one_hot: Can not infer total number of classes from empty tensor");
          if (classes == -1) classes = largest + 1;
          if (classes < 1 || largest >= classes)
            fail(ErrorKind::Runtime, "one_hot: Class values must be smaller than num_classes, got ", largest,
                 " and ", classes);
          Shape shape = index.shape();
          shape.push(classes);
          numel_of(shape, "one_hot");
          if (c.attrs.i(0) > 0) {  // in operations, which a plan runs again
            const std::int64_t n = index.numel();
            c.out[0] = zeros(shape, DType::Int64);
            put_flat_(reshape(c.out[0], {n, classes}),
                      gathered_places("one_hot", {n, classes}, 1, reshape(index, {n, 1})),
                      full({}, 1.0, DType::Int64), false);
            return;
          }
          Tensor y = empty(shape, DType::Int64);  // not of zeros(): the numbers are the index's
          kernels().fill(y.view(), 0.0, 0);
          auto* out = reinterpret_cast<std::int64_t*>(y->data);
          for (std::int64_t i = 0; i < index.numel(); ++i) out[i * classes + at[i]] = 1;
          c.out[0] = std::move(y);
        },
};

}  // namespace

Tensor gather(const Tensor& x, std::int64_t dim, const Tensor& index) {
  return call(gather_op, {x, index}, {dim, false});
}
Tensor index_select(const Tensor& x, std::int64_t dim, const Tensor& index) {
  return call(index_select_op, {x, index}, {dim});
}

std::span<const OpDef* const> gather_ops() {
  static const OpDef* const ops[] = {
      &index_select_op, &index_add_op,     &index_copy_op,     &index_fill_op, &gather_op,
      &scatter_op,      &scatter_value_op, &scatter_add_op,    &take_op,       &take_along_dim_op,
      &masked_fill_op,  &masked_select_op, &masked_scatter_op, &nonzero_op,    &nonzero_tuple_op,
      &argwhere_op,     &where_true_op,    &embedding_op,      &one_hot_op};
  return ops;
}

}  // namespace unspool
