// Parts and arrangements: split, chunk, diagonal (views); flip, roll, repeat, tril, diag (copies).
#include <algorithm>

#include "unspool/ops/blocks.h"
#include "unspool/ops/take.h"
#include "unspool/ops/view.h"

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

// ---- Parts -------------------------------------------------------------------------------------------

int split_dim(const Call& c, std::int64_t dim) {
  const std::string op = name_of(*c.op);
  if (c.in[0].ndim() == 0) fail(ErrorKind::Runtime, op, ": expects at least a 1-dimensional tensor");
  return wrap_dim(op.c_str(), dim, c.in[0].ndim());
}

void split_at(Call& c, int dim, std::span<const std::int64_t> sizes) {
  std::int64_t start = 0;
  for (std::int64_t size : sizes) {
    c.list->push_back(slice(c.in[0], dim, start, start + size, 1));
    start += size;
  }
}

constexpr OpDef split_op = {
    .schema = "split(Tensor input, int split_size, int dim=0) -> Tensor[]",
    .doc = "Views of split_size slices each along dim; the last may be shorter.",
    .grad_name = "SplitBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const int dim = split_dim(c, c.attrs.i(1));
          const std::int64_t size = c.attrs.i(0), n = c.in[0].shape()[dim];
          if (size < 0 || (size == 0 && n != 0))
            fail(ErrorKind::Runtime, "split: split_size must be positive, got ", size, " for dimension ", dim,
                 " of size ", n);
          Table sizes;
          for (std::int64_t at = 0; at < n; at += size) sizes.push_back(std::min(size, n - at));
          if (n == 0) sizes.push_back(0);
          split_at(c, dim, sizes);
        },
};
constexpr OpDef split_sizes_op = {
    .schema = "split(Tensor input, int[] split_size_or_sections, int dim=0) -> Tensor[]",
    .doc = "Views of so many slices each along dim; the sizes add up to its size.",
    .grad_name = "SplitWithSizesBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const int dim = split_dim(c, c.attrs.i(0));
          std::int64_t total = 0;
          for (std::int64_t n : c.attrs.list(0)) {
            if (n < 0) fail(ErrorKind::Runtime, "split: sizes must not be negative, got ", c.attrs.list(0));
            total += n;
          }
          if (total != c.in[0].shape()[dim])
            fail(ErrorKind::Runtime, "split: the sizes ", c.attrs.list(0), " add up to ", total,
                 ", dimension ", dim, " has size ", c.in[0].shape()[dim]);
          split_at(c, dim, {c.attrs.list(0).begin(), static_cast<std::size_t>(c.attrs.list(0).ndim)});
        },
};
constexpr OpDef chunk_op = {
    .schema = "chunk(Tensor input, int chunks, int dim=0) -> Tensor[]",
    .doc = "At most `chunks` views of equal length along dim; the last may be shorter.",
    .grad_name = "SplitBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const int dim = split_dim(c, c.attrs.i(1));
          const std::int64_t chunks = c.attrs.i(0), n = c.in[0].shape()[dim];
          if (chunks <= 0)
            fail(ErrorKind::Runtime, "chunk: expects `chunks` to be greater than 0, got ", chunks);
          Table sizes;
          const std::int64_t size = n / chunks + (n % chunks != 0);
          for (std::int64_t at = 0; at < n; at += size) sizes.push_back(std::min(size, n - at));
          if (n == 0) sizes.assign(static_cast<std::size_t>(chunks), 0);
          split_at(c, dim, sizes);
        },
};
constexpr OpDef unbind_op = {
    .schema = "unbind(Tensor input, int dim=0) -> Tensor[]",
    .doc = "Views of the slices along dim.",
    .grad_name = "UnbindBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          if (c.in[0].ndim() == 0)
            fail(ErrorKind::Index, "unbind: Dimension specified as ", c.attrs.i(0),
                 " but tensor has no dimensions");
          const int dim = wrap_dim("unbind", c.attrs.i(0), c.in[0].ndim());
          for (std::int64_t i = 0; i < c.in[0].shape()[dim]; ++i) c.list->push_back(select(c.in[0], dim, i));
        },
};

extern const OpDef diagonal_op;

void diagonal_shape(Call& c) {
  const Tensor& x = c.in[0];
  const int a = wrap_dim("diagonal", c.attrs.i(1), x.ndim()),
            b = wrap_dim("diagonal", c.attrs.i(2), x.ndim());
  if (a == b || x.ndim() < 2)
    fail(ErrorKind::Runtime, "diagonal: diagonal dimensions cannot be identical ", c.attrs.i(1), ", ",
         c.attrs.i(2));
  const std::int64_t offset = c.attrs.i(0);
  const std::int64_t down = offset < 0 ? -offset : 0, right = offset > 0 ? offset : 0;
  const std::int64_t n = std::max<std::int64_t>(0, std::min(x.shape()[a] - down, x.shape()[b] - right));
  Shape shape;
  Strides strides;
  for (int d = 0; d < x.ndim(); ++d) {
    if (d == a || d == b) continue;
    shape.push(x.shape()[d]);
    strides.push(x.strides()[d]);
  }
  shape.push(n);
  strides.push(x.strides()[a] + x.strides()[b]);
  make_view(c, shape, strides, x->offset() + (n ? down * x.strides()[a] + right * x.strides()[b] : 0));
}

// Where the elements that a view shows stand: the same view of the flat positions.
Tensor places_of(const Record& r, const OpDef& view) {
  GradMode off(false);
  Tensor all = empty(r.shape(0), DType::Int64);
  for (std::int64_t i = 0; i < all.numel(); ++i) reinterpret_cast<std::int64_t*>(all->data)[i] = i;
  return contiguous(call(view, {made_of_numbers(all)}, {r.attrs[0], r.attrs[1], r.attrs[2]}));
}

const OpDef diagonal_op = {
    .schema = "diagonal(Tensor input, int offset=0, int dim1=0, int dim2=1)",
    .doc = "A view of the diagonal of two dims, which vanish, as a new last dim; `offset` counts above it.",
    .grad_name = "DiagonalBackward0",
    .surface = kBoth,
    .cls = Class::View,
    .shape = diagonal_shape,
    .forward = no_kernel,
    .derivative = linear([](const Record& r, const Tensor* g, Tensor* gx) {
      gx[0] = put_flat(zeros(r.shape(0), g[0].dtype()), places_of(r, diagonal_op), g[0], false);
    }),
};

// ---- Windows -----------------------------------------------------------------------------------------

void unfold_shape(Call& c) {
  const Tensor& x = c.in[0];
  const std::int64_t size = c.attrs.i(1), step = c.attrs.i(2);
  const int dim = wrap_dim("unfold", c.attrs.i(0), x.ndim());
  const std::int64_t n = x.ndim() ? x.shape()[dim] : 1, stride = x.ndim() ? x.strides()[dim] : 1;
  if (size < 0) fail(ErrorKind::Runtime, "unfold: size is ", size, " but must be >= 0");
  if (size > n)
    fail(ErrorKind::Runtime, "unfold: maximum size for tensor at dimension ", dim, " is ", n, " but size is ",
         size);
  if (step <= 0) fail(ErrorKind::Runtime, "unfold: step is ", step, " but must be > 0");
  Shape shape = x.shape();
  Strides strides = x.strides();
  if (x.ndim()) {
    shape[dim] = (n - size) / step + 1;
    strides[dim] = stride * step;
  }
  shape.push(size);
  strides.push(stride);
  make_view(c, shape, strides, x->offset());
}

const OpDef unfold_op = {
    .schema = "unfold(Tensor input, int dimension, int size, int step)",
    .doc = "A view of the windows of that size along a dim, `step` apart, as a new last dim.",
    .grad_name = "UnfoldBackward0",
    .surface = kMethod,
    .cls = Class::View,
    .shape = unfold_shape,
    .forward = no_kernel,
    .derivative = linear([](const Record& r, const Tensor* g, Tensor* gx) {
      const Tensor places = places_of(r, unfold_op);
      gx[0] = put_flat(zeros(r.shape(0), g[0].dtype()), places, g[0], true);
    }),
};

// ---- Order -------------------------------------------------------------------------------------------

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

// ---- Triangles and diagonals ---------------------------------------------------------------------------

template <bool Lower>
void triangle(Call& c) {
  const Tensor& x = c.in[0];
  if (x.ndim() < 2)
    fail(ErrorKind::Runtime, name_of(*c.op), ": input tensor must have at least 2 dimensions, got shape ",
         x.shape());
  const std::int64_t rows = x.shape()[x.ndim() - 2], columns = x.shape()[x.ndim() - 1], k = c.attrs.i(0);
  Tensor keep = empty({rows, columns}, DType::Bool);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j)
      reinterpret_cast<bool*>(keep->data)[i * columns + j] = Lower ? j - i <= k : j - i >= k;
  c.out[0] = contiguous(where(made_of_numbers(keep), x, full({}, 0.0, x.dtype())));
}
constexpr OpDef tril_op = {
    .schema = "tril(Tensor input, int diagonal=0)",
    .doc = "The lower triangle of the last two dims, up to and with the diagonal; 0 above.",
    .grad_name = "TrilBackward0",
    .surface = kBoth | kInplace,
    .composite = triangle<true>,
};
constexpr OpDef triu_op = {
    .schema = "triu(Tensor input, int diagonal=0)",
    .doc = "The upper triangle of the last two dims, from the diagonal; 0 below.",
    .grad_name = "TriuBackward0",
    .surface = kBoth | kInplace,
    .composite = triangle<false>,
};

constexpr OpDef diag_op = {
    .schema = "diag(Tensor input, int diagonal=0)",
    .doc = "Of a vector the matrix with it on the diagonal; of a matrix its diagonal, copied.",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          const Tensor& x = c.in[0];
          const std::int64_t k = c.attrs.i(0);
          if (x.ndim() == 2) {
            c.out[0] = clone(call(diagonal_op, {x}, {k, 0, 1}));
            return;
          }
          if (x.ndim() != 1)
            fail(ErrorKind::Runtime, "diag: supports 1D or 2D tensors, got shape ", x.shape());
          const std::int64_t n = x.numel(), size = n + (k < 0 ? -k : k);
          numel_of(Shape{size, size}, "diag");
          Tensor places = empty({n}, DType::Int64);
          for (std::int64_t i = 0; i < n; ++i)
            reinterpret_cast<std::int64_t*>(places->data)[i] =
                (i + (k < 0 ? -k : 0)) * size + i + (k > 0 ? k : 0);
          c.out[0] = put_flat(zeros({size, size}, x.dtype()), made_of_numbers(places), x, false);
        },
};

// ---- Other names of reshape and permute ------------------------------------------------------------------

constexpr OpDef movedim_op = {
    .schema = "movedim(Tensor input, int[] source, int[] destination)",
    .doc = "A view with the dims `source` moved to the places `destination`; the others keep their order.",
    .surface = kBoth,
    .cls = Class::View,
    .composite =
        [](Call& c) {
          const int n = c.in[0].ndim();
          const Dims &from = c.attrs.list(0), &to = c.attrs.list(1);
          if (from.ndim != to.ndim)
            fail(ErrorKind::Runtime, "movedim: source ", from, " and destination ", to,
                 " must have as many dims");
          Dims order;
          for (int d = 0; d < n; ++d) order.push(-1);
          unsigned taken = 0;
          for (int k = 0; k < from.ndim; ++k) {
            const int a = wrap_dim("movedim", from[k], n), b = wrap_dim("movedim", to[k], n);
            if (n && (order[b] >= 0 || (taken >> a & 1)))
              fail(ErrorKind::Runtime, "movedim: repeated dim in source ", from, " or destination ", to);
            taken |= 1u << a;
            if (n) order[b] = a;
          }
          for (int d = 0, next = 0; d < n; ++d) {
            if (order[d] >= 0) continue;
            while (taken >> next & 1) ++next;
            order[d] = next++;
          }
          c.out[0] = permute(c.in[0], order);
        },
};

constexpr OpDef unflatten_op = {
    .schema = "unflatten(Tensor input, int dim, int[] sizes)",
    .doc = "A view with one dim split into `sizes`, of which one may be -1.",
    .surface = kBoth,
    .cls = Class::View,
    .composite =
        [](Call& c) {
          const Tensor& x = c.in[0];
          const int dim = wrap_dim("unflatten", c.attrs.i(0), x.ndim());
          const Dims& sizes = c.attrs.list(0);
          if (sizes.ndim == 0) fail(ErrorKind::Runtime, "unflatten: sizes must be non-empty");
          if (x.ndim() == 0)
            fail(ErrorKind::Index, "unflatten: Dimension specified as ", c.attrs.i(0),
                 " but tensor has no dimensions");
          std::int64_t known = 1;
          int open = -1;
          for (int k = 0; k < sizes.ndim; ++k) {
            if (sizes[k] == -1)
              open = k;
            else
              known *= sizes[k];
          }
          Dims full_sizes = sizes;
          if (open >= 0 && known > 0) full_sizes[open] = x.shape()[dim] / known;
          std::int64_t product = 1;
          for (std::int64_t n : full_sizes) product *= n;
          if (product != x.shape()[dim])
            fail(ErrorKind::Runtime, "unflatten: Provided sizes ", sizes,
                 " don't multiply up to the size of dim ", dim, " (", x.shape()[dim], ")");
          Shape shape;
          for (int d = 0; d < x.ndim(); ++d) {
            if (d != dim) shape.push(x.shape()[d]);
            for (int k = 0; d == dim && k < full_sizes.ndim; ++k) shape.push(full_sizes[k]);
          }
          c.out[0] = view(x, shape);
        },
};

constexpr OpDef broadcast_to_op = {
    .schema = "broadcast_to(Tensor input, int[] size)",
    .doc = "expand(input, size).",
    .surface = kBoth,
    .cls = Class::View,
    .composite = [](Call& c) { c.out[0] = expand(c.in[0], c.attrs.list(0)); },
};

// ---- Products of vectors and batches
// -----------------------------------------------------------------------

void need_ndim(const Call& c, int i, int ndim, const char* what) {
  if (c.in[i].ndim() != ndim)
    fail(ErrorKind::Shape, name_of(*c.op), ": ", what, " must be ", ndim, "-D, got shape ", c.in[i].shape());
}
void need_one_dtype(const Call& c) {
  if (c.in[0].dtype() != c.in[1].dtype())
    fail(ErrorKind::DType, name_of(*c.op), ": expected both to have the same dtype, got ",
         name(c.in[0].dtype()), " and ", name(c.in[1].dtype()));
}

constexpr OpDef outer_op = {
    .schema = "outer(Tensor input, Tensor vec2)",
    .doc = "All products of the elements of two vectors: (n), (m) → (n, m).",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          need_ndim(c, 0, 1, "input");
          need_ndim(c, 1, 1, "vec2");
          c.out[0] = unsqueeze(c.in[0], 1) * c.in[1];
        },
};
constexpr OpDef dot_op = {
    .schema = "dot(Tensor input, Tensor tensor)",
    .doc = "The sum of the products of two vectors of one length.",
    .grad_name = "DotBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          need_ndim(c, 0, 1, "input");
          need_ndim(c, 1, 1, "tensor");
          need_one_dtype(c);
          if (c.in[0].numel() != c.in[1].numel())
            fail(ErrorKind::Shape,
                 "dot: inconsistent tensor size, expected the same number of elements, but got ",
                 c.in[0].numel(), " and ", c.in[1].numel());
          c.out[0] = to(sum(c.in[0] * c.in[1]), c.in[0].dtype());
        },
    .wide = true,
};
constexpr OpDef mv_op = {
    .schema = "mv(Tensor input, Tensor vec)",
    .doc = "A matrix times a vector: (n, m)·(m) → (n).",
    .grad_name = "MvBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          need_ndim(c, 0, 2, "input");
          need_ndim(c, 1, 1, "vec");
          c.out[0] = matmul(c.in[0], c.in[1]);
        },
};
constexpr OpDef bmm_op = {
    .schema = "bmm(Tensor input, Tensor mat2)",
    .doc = "Matrix by matrix over one batch dim: (b, n, m)·(b, m, k) → (b, n, k).",
    .grad_name = "BmmBackward0",
    .surface = kBoth,
    .composite =
        [](Call& c) {
          need_ndim(c, 0, 3, "batch1");
          need_ndim(c, 1, 3, "batch2");
          if (c.in[0].shape()[0] != c.in[1].shape()[0])
            fail(ErrorKind::Shape, "bmm: batch sizes differ; input has shape ", c.in[0].shape(),
                 ", mat2 has shape ", c.in[1].shape());
          c.out[0] = matmul(c.in[0], c.in[1]);
        },
};

}  // namespace

std::span<const OpDef* const> reorder_ops() {
  static const OpDef* const ops[] = {&split_op,
                                     &split_sizes_op,
                                     &chunk_op,
                                     &unbind_op,
                                     &unfold_op,
                                     &diagonal_op,
                                     &flip_op,
                                     &roll_op,
                                     &repeat_op,
                                     &tile_op,
                                     &repeat_interleave_op,
                                     &repeat_interleave_each_op,
                                     &tril_op,
                                     &triu_op,
                                     &diag_op,
                                     &movedim_op,
                                     &unflatten_op,
                                     &broadcast_to_op,
                                     &outer_op,
                                     &dot_op,
                                     &mv_op,
                                     &bmm_op};
  return ops;
}

}  // namespace unspool
