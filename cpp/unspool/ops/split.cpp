// Views that are made of other views: the lists of split, chunk and unbind; movedim, unflatten, broadcast_to.
// Each is calls of slice, select, permute, view and expand, which hold the derivatives.
#include <algorithm>
#include <string>

#include "unspool/ops/blocks.h"

namespace unspool {
namespace {

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
          Vector<std::int64_t> sizes;
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
          Vector<std::int64_t> sizes;
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

// ---- Other names of permute, view and expand -------------------------------------------------------------

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

}  // namespace

std::span<const OpDef* const> split_ops() {
  static const OpDef* const ops[] = {&split_op,   &split_sizes_op, &chunk_op,       &unbind_op,
                                     &movedim_op, &unflatten_op,   &broadcast_to_op};
  return ops;
}

}  // namespace unspool
