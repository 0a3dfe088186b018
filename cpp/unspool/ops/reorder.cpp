// Copies whose elements stand elsewhere, or more than once: flip, roll, repeat, tile, repeat_interleave. Each
// makes a table of old places for each dim; start at rearranged().
#include <algorithm>

#include "unspool/ops/blocks.h"
#include "unspool/ops/take.h"

namespace unspool {
namespace {

using Table = Vector<std::int64_t>;

Table counted(std::int64_t n) {
  Table table;
  for (std::int64_t i = 0; i < n; ++i) table.push_back(i);
  return table;
}
Vector<Table> identity_of(const Shape& shape) {
  Vector<Table> tables;
  for (std::int64_t n : shape) tables.push_back(counted(n));
  return tables;
}
Tensor rearranged(const char* op, const Tensor& x, std::span<const Table> tables) {
  return take_flat(x, separable_places(op, x.shape(), tables));
}

constexpr OpDef flip_op = {
    .schema = "flip(Tensor input, int[]* dims)",
    .doc = "A copy with the dims in reverse order.",
    .grad_name = "FlipBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          Vector<Table> tables = identity_of(c.in[0].shape());
          unsigned seen = 0;
          for (std::int64_t d : c.attrs.list(0)) {
            const int dim = wrap_dim("flip", d, c.in[0].ndim());
            if ((seen >> dim) & 1)
              fail(ErrorKind::Runtime, "flip: dim ", d, " appears multiple times in the list of dims");
            seen |= 1u << dim;
            if (c.in[0].ndim())
              std::reverse(tables[static_cast<std::size_t>(dim)].begin(),
                           tables[static_cast<std::size_t>(dim)].end());
          }
          c.out[0] = laid_out_like(rearranged("flip", c.in[0], tables), c.in[0]);
        },
};

constexpr OpDef roll_op = {
    .schema = "roll(Tensor input, int[] shifts, int[] dims=())",
    .doc =
        "A copy shifted along the dims; what falls out at one end comes in at the other. Flattened without dims.",
    .grad_name = "RollBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const Dims &shifts = c.attrs.list(0), &dims = c.attrs.list(1);
          const bool flat = dims.ndim == 0;
          if (shifts.ndim == 0 || (flat ? shifts.ndim != 1 : shifts.ndim != dims.ndim))
            fail(ErrorKind::Runtime, "roll: shifts and dimensions must align; shifts: ", shifts,
                 ", dims: ", dims);
          const Tensor x = flat ? reshape(c.in[0], {c.in[0].numel()}) : c.in[0];
          Vector<Table> tables = identity_of(x.shape());
          for (int k = 0; k < shifts.ndim; ++k) {
            const int dim = flat ? 0 : wrap_dim("roll", dims[k], x.ndim());
            if (x.ndim() == 0)
              fail(ErrorKind::Index, "roll: Dimension specified as ", dims[k],
                   " but tensor has no dimensions");
            if (x.shape()[dim] == 0) continue;
            Table& table = tables[static_cast<std::size_t>(dim)];
            const std::int64_t n = x.shape()[dim], shift = ((shifts[k] % n) + n) % n;
            std::rotate(table.begin(), table.begin() + (n - shift) % n, table.end());
          }
          c.out[0] = reshape(rearranged("roll", x, tables), c.in[0].shape());
        },
};

void repeat(Call& c, const Shape& times) {
  Tensor x = c.in[0];
  while (x.ndim() < times.ndim) x = unsqueeze(x, 0);
  Vector<Table> tables;
  for (int d = 0; d < times.ndim; ++d) {
    if (times[d] < 0)
      fail(ErrorKind::Runtime, name_of(*c.op), ": the number of repetitions must not be negative, got ",
           times);
    Shape sizes{times[d], x.shape()[d]};
    numel_of(sizes, c.op->schema);
    Table table;
    for (std::int64_t k = 0; k < times[d]; ++k)
      for (std::int64_t i = 0; i < x.shape()[d]; ++i) table.push_back(i);
    tables.push_back(std::move(table));
  }
  c.out[0] = rearranged("repeat", x, tables);
}
constexpr OpDef repeat_op = {
    .schema = "repeat(Tensor input, int[]* repeats)",
    .doc = "The tensor so many times along each dim; new dims come in front.",
    .grad_name = "RepeatBackward0",
    .surface = kMethod,
    .composite =
        [](Call& c) {
          if (c.attrs.list(0).ndim < c.in[0].ndim())
            fail(ErrorKind::Runtime, "repeat: number of dimensions of repeat dims ", c.attrs.list(0),
                 " can not be smaller than number of dimensions of tensor, ", c.in[0].ndim());
          repeat(c, c.attrs.list(0));
        },
};
constexpr OpDef tile_op = {
    .schema = "tile(Tensor input, int[]* dims)",
    .doc = "repeat, with ones in front where dims are fewer than the tensor's.",
    .grad_name = "RepeatBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          Shape times = c.attrs.list(0);
          while (times.ndim < c.in[0].ndim()) times.insert(0, 1);
          repeat(c, times);
        },
};

// The input as repeat_interleave takes it, and the dim that it repeats.
struct Repeated {
  Tensor x;
  int dim;
  std::int64_t n;  // slices
  Repeated(const Tensor& input, const Attr& dim_given)
      : x(dim_given.given() ? input : reshape(input, {input.numel()})),
        dim(dim_given.given() ? wrap_dim("repeat_interleave", dim_given.i, x.ndim()) : 0),
        n(x.ndim() ? x.shape()[dim] : 1) {
    if (!x.ndim()) x = reshape(x, {1});
  }
};

std::int64_t checked_times(std::int64_t times, std::int64_t n) {
  if (times < 0) fail(ErrorKind::Runtime, "repeat_interleave: repeats can not be negative, got ", times);
  numel_of(Shape{times, n}, "repeat_interleave");
  return times;
}

std::int64_t sum_of_times(const Tensor& repeats) {
  const auto* times = reinterpret_cast<const std::int64_t*>(repeats->data);
  std::int64_t sum = 0;
  for (std::int64_t i = 0, n = repeats.numel(); i < n; ++i)
    if (__builtin_add_overflow(sum, checked_times(times[i], n), &sum))
      fail(ErrorKind::Runtime, "repeat_interleave: the repeats add up to more than fits");
  return sum;
}

// An op of its own, so that a plan reads the repeats again; it has room for as many as were recorded.
constexpr OpDef repeated_indices_op = {
    .schema = "repeated_indices(Tensor repeats)",
    .cls = Class::Fused,
    .shape =
        [](Call& c) {
          c.in[0] = contiguous(c.in[0]);
          c.allocate(0, {sum_of_times(c.in[0])}, DType::Int64);
        },
    .forward =
        [](Call& c) {
          const std::int64_t sum = sum_of_times(c.in[0]), room = c.out[0].numel();
          if (sum != room)
            fail(ErrorKind::Plan, "repeat_interleave: the repeats add up to ", sum,
                 ", and the function was frozen with repeats that add up to ", room);
          const auto* times = reinterpret_cast<const std::int64_t*>(c.in[0]->data);
          auto* out = reinterpret_cast<std::int64_t*>(c.out[0]->data);
          for (std::int64_t i = 0, n = c.in[0].numel(); i < n; ++i) out = std::fill_n(out, times[i], i);
        },
    .derivative = none("its result is an index"),
    .refuses = true,
};

constexpr OpDef repeat_interleave_op = {
    .schema = "repeat_interleave(Tensor input, int repeats, int? dim=None, *, int? output_size=None)",
    .doc = "Each slice along dim so many times in a row; of the flattened tensor where dim is None.",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const Repeated from(c.in[0], c.attrs[1]);
          const std::int64_t times = checked_times(c.attrs.i(0), from.n);
          Table table;
          for (std::int64_t i = 0; i < from.n; ++i)
            table.insert(table.end(), static_cast<std::size_t>(times), i);
          Vector<Table> tables = identity_of(from.x.shape());
          tables[static_cast<std::size_t>(from.dim)] = std::move(table);
          c.out[0] = rearranged("repeat_interleave", from.x, tables);
        },
};
constexpr OpDef repeat_interleave_each_op = {
    .schema = "repeat_interleave(Tensor input, Tensor repeats, int? dim=None, *, int? output_size=None)",
    .doc = "With one number of repetitions for each slice.",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const Tensor counts = index_as_int64("repeat_interleave", c.in[1]);
          if (counts.ndim() > 1)
            fail(ErrorKind::Runtime, "repeat_interleave: repeats must be 0-dim or 1-dim tensor, got shape ",
                 counts.shape());
          const Repeated from(c.in[0], c.attrs[0]);
          if (counts.numel() != from.n && counts.numel() != 1)
            fail(ErrorKind::Runtime,
                 "repeat_interleave: repeats must have the same size as input along dim, but got ",
                 counts.numel(), " and ", from.n);
          Vector<Tensor> indices(static_cast<std::size_t>(from.dim) + 1);
          indices[static_cast<std::size_t>(from.dim)] =
              call(repeated_indices_op, {expand(reshape(counts, {counts.numel()}), {from.n})});
          c.out[0] = take_flat(from.x, indexed_places("repeat_interleave", from.x.shape(), indices));
        },
};

}  // namespace

std::span<const OpDef* const> reorder_ops() {
  static const OpDef* const ops[] = {
      &flip_op, &roll_op, &repeat_op, &tile_op, &repeat_interleave_op, &repeat_interleave_each_op};
  return ops;
}

}  // namespace unspool
