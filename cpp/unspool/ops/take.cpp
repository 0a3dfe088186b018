// take_flat and put_flat_: see take.h.
#include "unspool/ops/take.h"

#include <mutex>
#include <set>
#include <string>

#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"

namespace unspool {
namespace {

const std::int64_t* places_of(const Tensor& t) { return reinterpret_cast<const std::int64_t*>(t->data); }

// Moves elements by their size alone.
template <class F>
void visit_size(DType d, F&& f) {
  switch (item_size(d)) {
    case 1:
      return f.template operator()<std::uint8_t>();
    case 2:
      return f.template operator()<std::uint16_t>();
    case 4:
      return f.template operator()<std::uint32_t>();
    default:
      return f.template operator()<std::uint64_t>();
  }
}

extern const OpDef take_op;
extern const OpDef put_op;

Tensor zeros_put(const Tensor& g, const Shape& shape, const Tensor& places) {
  Tensor y = zeros(shape, g.dtype());
  put_flat_(y, places, g, true);
  return y;
}

const OpDef take_op = {
    .schema = "take_flat(Tensor input, Tensor places)",
    .grad_name = "IndexBackward0",
    .cls = Class::Fused,
    .shape =
        [](Call& c) {
          c.in[0] = contiguous(c.in[0]);
          c.allocate(0, c.in[1].shape(), c.in[0].dtype());
        },
    .forward =
        [](Call& c) {
          visit_size(c.in[0].dtype(), [&]<class T>() {
            const T* x = reinterpret_cast<const T*>(c.in[0]->data);
            T* y = reinterpret_cast<T*>(c.out[0]->data);
            const std::int64_t* at = places_of(c.in[1]);
            for (std::int64_t i = 0, n = c.in[1].numel(); i < n; ++i) y[i] = x[at[i]];
          });
        },
    .derivative = custom(
        [](const Record& r, const Tensor* g, Tensor* gx) { gx[0] = zeros_put(g[0], r.shape(0), r.x(1)); },
        [](const Record& r, const Tensor* dx, Tensor* dy) { dy[0] = take_flat(dx[0], r.x(1)); }, kSaveIn1),
    .takes_halves = true,
};

// A place in a contiguous tensor as an offset from its first element.
std::int64_t strided(std::int64_t place, const Shape& shape, const Strides& strides) {
  std::int64_t at = 0;
  for (int d = shape.ndim - 1; d >= 0; --d) {
    at += place % shape[d] * strides[d];
    place /= shape[d];
  }
  return at;
}

template <class T, class F>
void each_put(const Call& c, F&& f) {
  const Tensor& target = c.out[0];
  T* y = reinterpret_cast<T*>(target->data);
  const T* v = reinterpret_cast<const T*>(c.in[2]->data);
  const std::int64_t* at = places_of(c.in[1]);
  const bool dense = target.contiguous();
  for (std::int64_t i = 0, n = c.in[1].numel(); i < n; ++i)
    f(y[dense ? at[i] : strided(at[i], target.shape(), target.strides())], v[i]);
}

Tensor kept(const Tensor& g, const Tensor& places) {
  Tensor y = clone(g);
  put_flat_(y, places, zeros(places.shape(), g.dtype()), false);
  return y;
}

// attrs: accumulate.
const OpDef put_op = {
    .schema = "index_put_(Tensor input, Tensor places, Tensor values, bool accumulate)",
    .grad_name = "IndexPutBackward0",
    .cls = Class::Update,
    .shape = [](Call& c) { c.in[2] = contiguous(expand(c.in[2], c.in[1].shape())); },
    .forward =
        [](Call& c) {
          const DType d = c.out[0].dtype();
          auto add = [&]<class T>() { each_put<T>(c, [](T& y, T v) { y = static_cast<T>(y + v); }); };
          if (!c.attrs.i(0))
            visit_size(d, [&]<class T>() { each_put<T>(c, [](T& y, T v) { y = v; }); });
          else if (is_half(d))
            visit_half(d, add);
          else
            visit_dtype(d, add);
        },
    // With equal places and no accumulation each value gets the gradient of the place, as in PyTorch.
    .derivative = custom(
        [](const Record& r, const Tensor* g, Tensor* gx) {
          if (r.needs(0)) gx[0] = r.attrs.i(0) ? g[0] : kept(g[0], r.x(1));
          if (r.needs(2)) gx[2] = take_flat(g[0], r.x(1));
        },
        [](const Record& r, const Tensor* dx, Tensor* dy) {
          const Tensor base = dx[0] ? dx[0] : zeros(r.shape(0), r.dtype(0));
          dy[0] = put_flat(base, r.x(1), dx[2] ? dx[2] : zeros(r.shape(2), r.dtype(2)), r.attrs.i(0) != 0);
        },
        kSaveIn1),
};

[[noreturn, gnu::cold]] void out_of_bounds(const char* op, std::int64_t i, int dim, std::int64_t size) {
  fail(ErrorKind::Index, op, ": index ", i, " is out of bounds for dimension ", dim, " with size ", size);
}

// Runs over `shape`, last dim fastest: f(i, offset), where offset follows `strides`.
template <class F>
void walk(const Shape& shape, const Strides& strides, F&& f) {
  std::int64_t n = 1;
  for (std::int64_t size : shape) n *= size;
  Dims at;
  for (int d = 0; d < shape.ndim; ++d) at.push(0);
  std::int64_t offset = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    f(i, offset);
    for (int d = shape.ndim - 1; d >= 0; --d) {
      offset += strides[d];
      if (++at[d] < shape[d]) break;
      offset -= strides[d] * shape[d];
      at[d] = 0;
    }
  }
}

}  // namespace

Tensor take_flat(const Tensor& x, const Tensor& places) { return call(take_op, {x, places}); }
void put_flat_(const Tensor& target, const Tensor& places, const Tensor& values, bool accumulate) {
  // Values on the target's own memory are read before the first write.
  Tensor in[] = {target, places, values->storage == target->storage ? clone(values) : values};
  call_inplace(put_op, in, Attrs{accumulate});
}
Tensor put_flat(const Tensor& x, const Tensor& places, const Tensor& values, bool accumulate) {
  Tensor y = clone(x);
  put_flat_(y, places, values, accumulate);
  return y;
}

Tensor strided_index_as_int64(const char* op, const Tensor& index) {
  if (info(index.dtype()).category != Category::Integer)
    fail(ErrorKind::DType, op, ": the index must be int64 or int32, got ", name(index.dtype()));
  GradMode off(false);
  return to(index, DType::Int64);
}
Tensor index_as_int64(const char* op, const Tensor& index) {
  GradMode off(false);
  return contiguous(strided_index_as_int64(op, index));
}

namespace {

// What each dim of an indexing result steps through: a dim of the tensor, or one of the index tensors' common
// shape. That stands where the first index tensor does if they are neighbours, and in front otherwise.
struct Indexing {
  Shape common, result;
  int source[kMaxDims];  // dim of the tensor, or -1
  int chosen[kMaxDims];  // dim of `common`, or -1
};

Indexing indexing_of(const char* op, const Shape& shape, std::span<const Tensor> indices) {
  Indexing x;
  int first = -1, last = -1, count = 0;
  for (int d = 0; d < static_cast<int>(indices.size()); ++d) {
    if (!indices[static_cast<std::size_t>(d)]) continue;
    if (first < 0) first = d;
    last = d;
    ++count;
    x.common = broadcast_shapes(op, x.common, indices[static_cast<std::size_t>(d)].shape());
  }
  auto put = [&](std::int64_t size, int source, int chosen) {
    x.source[x.result.ndim] = source;
    x.chosen[x.result.ndim] = chosen;
    x.result.push(size);
  };
  auto put_chosen = [&] {
    for (int d = 0; d < x.common.ndim; ++d) put(x.common[d], -1, d);
  };
  const bool together = last - first + 1 == count;
  if (count && !together) put_chosen();
  for (int d = 0; d < shape.ndim; ++d) {
    if (d >= static_cast<int>(indices.size()) || !indices[static_cast<std::size_t>(d)])
      put(shape[d], d, -1);
    else if (d == first && together)
      put_chosen();
  }
  return x;
}

// Places follow from the values of indices: ops of their own, so that a plan computes them again. The name in
// their errors is the caller's.
const char* name_in(const AttrsView& attrs, int i) { return static_cast<const char*>(attrs[i].p); }
Attr named(const char* op) {
  static std::mutex mutex;
  static std::set<std::string> names;
  const std::lock_guard lock(mutex);
  return const_cast<char*>(names.insert(op).first->c_str());
}

void find_indexed(Call& c) {
  const char* op = name_in(c.attrs, 0);
  const Shape& shape = c.attrs.list(0);
  const std::span<const Tensor> indices = c.in;
  const bool negative = c.attrs.i(1) != 0;
  const Strides strides = contiguous_strides(shape);
  const Indexing x = indexing_of(op, shape, indices);
  // What the index tensors say together.
  const Tensor chosen = zeros(x.common, DType::Int64);
  auto* offsets = reinterpret_cast<std::int64_t*>(chosen->data);
  bool any = false;
  for (int d = 0; d < static_cast<int>(indices.size()); ++d) {
    if (!indices[static_cast<std::size_t>(d)]) continue;
    any = true;
    const Tensor index = expand(indices[static_cast<std::size_t>(d)], x.common);
    const auto* values = reinterpret_cast<const std::int64_t*>(index->data);
    const std::int64_t size = shape[d];
    walk(x.common, index.strides(), [&](std::int64_t i, std::int64_t at) {
      std::int64_t k = values[at];
      if (k < (negative ? -size : 0) || k >= size) out_of_bounds(op, k, d, size);
      offsets[i] += (k < 0 ? k + size : k) * strides[d];
    });
  }
  Strides through, within;
  for (int d = 0; d < x.result.ndim; ++d) {
    through.push(x.source[d] < 0 ? 0 : strides[x.source[d]]);
    within.push(x.chosen[d] < 0 ? 0 : chosen.strides()[x.chosen[d]]);
  }
  auto* out = reinterpret_cast<std::int64_t*>(c.out[0]->data);
  walk(x.result, through, [&](std::int64_t i, std::int64_t at) { out[i] = at; });
  if (any) walk(x.result, within, [&](std::int64_t i, std::int64_t at) { out[i] += offsets[at]; });
}

constexpr OpDef indexed_places_op = {
    .schema = "indexed_places(Tensor[] indices, int op, bool negative, int[] size)",
    .cls = Class::Fused,
    .shape =
        [](Call& c) {
          c.allocate(0, indexing_of(name_in(c.attrs, 0), c.attrs.list(0), c.in).result, DType::Int64);
        },
    .forward = find_indexed,
    .derivative = none("its result is an index"),
    .refuses = true,
};

void find_gathered(Call& c) {
  const char* op = name_in(c.attrs, 0);
  const Shape& shape = c.attrs.list(0);
  const Tensor& index = c.in[0];
  const auto dim = static_cast<int>(c.attrs.i(1));
  const bool negative = c.attrs.i(2) != 0;
  auto refuse = [&](std::int64_t i, std::int64_t n) {
    fail(ErrorKind::Runtime, op, ": index ", i, " is out of bounds for dimension ", dim, " with size ", n);
  };
  const Strides strides = contiguous_strides(shape);
  auto* out = reinterpret_cast<std::int64_t*>(c.out[0]->data);
  const auto* values = reinterpret_cast<const std::int64_t*>(index->data);
  if (shape.ndim == 0) {
    for (std::int64_t i = 0; i < index.numel(); ++i) {
      if (values[i] != 0 && !(negative && values[i] == -1)) refuse(values[i], 1);
      out[i] = 0;
    }
    return;
  }
  Strides rest = strides;
  rest[dim] = 0;
  if (index.ndim() == 0) rest = {};
  const std::int64_t size = shape[dim];
  walk(index.shape(), rest, [&](std::int64_t i, std::int64_t at) {
    const std::int64_t x = negative && values[i] < 0 ? values[i] + size : values[i];
    if (x < 0 || x >= size) refuse(values[i], size);
    out[i] = at + x * strides[dim];
  });
}

constexpr OpDef gathered_places_op = {
    .schema = "gathered_places(Tensor index, int op, int dim, bool negative, int[] size)",
    .cls = Class::Fused,
    .shape = [](Call& c) { c.allocate(0, c.in[0].shape(), DType::Int64); },
    .forward = find_gathered,
    .derivative = none("its result is an index"),
    .refuses = true,
};

}  // namespace

Tensor indexed_places(const char* op, const Shape& shape, std::span<const Tensor> indices, bool negative) {
  Vector<Tensor> in(indices.begin(), indices.end());
  return call(indexed_places_op, {in.data(), in.size()}, Attrs{{named(op), negative}, {shape}});
}

Tensor laid_out_as_indexed(const Tensor& y, const Tensor& x, std::span<const Tensor> indices) {
  bool dense = x.contiguous();
  for (const Tensor& t : indices) dense = dense && (!t || t.contiguous());
  if (dense) return y;
  const Indexing to = indexing_of("index", x.shape(), indices);
  Vector<Operand> operands;
  auto add = [&](auto&& stride_of) {
    Operand o{to.result, to.result};
    for (int d = 0; d < to.result.ndim; ++d) o.strides[d] = stride_of(d);
    operands.push_back(o);
  };
  add([&](int d) { return to.source[d] < 0 ? 0 : x.strides()[to.source[d]]; });
  for (const Tensor& t : indices) {
    if (!t) continue;
    const Tensor wide = expand(t, to.common);
    add([&](int d) { return to.chosen[d] < 0 ? 0 : wide.strides()[to.chosen[d]]; });
  }
  return laid_out(y, result_strides(to.result, operands.data(), static_cast<int>(operands.size())));
}

Tensor gathered_places(const char* op, const Shape& shape, int dim, const Tensor& index, bool negative) {
  return call(gathered_places_op, {index}, {{named(op), dim, negative}, {shape}});
}

Tensor separable_places(const char* op, const Shape& shape, std::span<const Vector<std::int64_t>> tables) {
  const Strides strides = contiguous_strides(shape);
  Shape result;
  for (const auto& table : tables) result.push(static_cast<std::int64_t>(table.size()));
  Tensor places = zeros(result, DType::Int64);
  numel_of(result, op);
  auto* out = reinterpret_cast<std::int64_t*>(places->data);
  const std::int64_t n = places.numel();
  std::int64_t repeat = 1;  // elements over which the index of dim d stays
  for (int d = result.ndim - 1; d >= 0; --d) {
    for (std::int64_t i = 0; i < n; ++i)
      out[i] +=
          tables[static_cast<std::size_t>(d)][static_cast<std::size_t>(i / repeat % result[d])] * strides[d];
    repeat *= result[d];
  }
  return places;
}

Vector<Tensor> nonzero_columns(const Tensor& mask) {
  GradMode off(false);
  const Tensor truth = contiguous(to(mask, DType::Bool));
  const auto* hit = reinterpret_cast<const std::uint8_t*>(truth->data);
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < truth.numel(); ++i) count += hit[i] != 0;
  Vector<Tensor> columns;
  for (int d = 0; d < mask.ndim(); ++d) columns.push_back(empty({count}, DType::Int64));
  std::int64_t k = 0;
  for (std::int64_t i = 0; i < truth.numel(); ++i) {
    if (!hit[i]) continue;
    std::int64_t rest = i;
    for (int d = mask.ndim() - 1; d >= 0; --d) {
      reinterpret_cast<std::int64_t*>(columns[static_cast<std::size_t>(d)]->data)[k] = rest % mask.shape()[d];
      rest /= mask.shape()[d];
    }
    ++k;
  }
  return columns;
}

std::span<const OpDef* const> take_ops() {
  static const OpDef* const ops[] = {&take_op, &put_op, &indexed_places_op, &gathered_places_op};
  return ops;
}

}  // namespace unspool
