#include "unspool/ops/map.h"

#include <utility>

#include "unspool/base/cpu.h"
#include "unspool/ops/ops.h"

namespace unspool {

extern const MapInfo* const map_infos_generic;
extern const MapInfo* const map_infos_avx2;
extern const MapInfo* const map_infos_avx512;

const MapInfo& map_info(int id) {
  static const MapInfo* const infos = [] {
    switch (chosen_isa()) {
      case Isa::Avx512:
        return map_infos_avx512;
      case Isa::Avx2:
        return map_infos_avx2;
      default:
        return map_infos_generic;
    }
  }();
  return infos[id];
}

void map_shape(Call& c) {
  const MapInfo& map = map_info(c.op->map);
  const DType dtype = c.in[0].dtype();
  if (!((map.types >> static_cast<int>(dtype)) & 1))
    fail(ErrorKind::DType, name_of(*c.op), ": not implemented for '", name(dtype), "'");
  const Shape* shape = &c.in[0].shape();
  Shape broadcast;
  for (std::size_t i = 1; i < c.in.size(); ++i) {
    const Shape& other = c.in[i].shape();
    if (other == *shape || other.ndim == 0) continue;
    broadcast = shape->ndim == 0 ? other : broadcast_shapes(c.op->schema, *shape, other);
    shape = &broadcast;
  }
  c.allocate_alike(0, *shape, map.to_bool ? DType::Bool : dtype);
}

Strides strides_alike(std::span<const Tensor> in, const Shape& shape) {
  if (numel_of(shape, "strides") == 0) return contiguous_strides(shape);
  Operand operands[kMaxMapInputs];
  int n = 0;
  for (const Tensor& t : in)
    if (t) operands[n++] = {t.shape(), t.strides()};
  return result_strides(shape, operands, n);
}

void flat_shape(Call& c, const Shape& shape, DType dtype) {
  c.allocate_alike(0, shape, dtype);
  for (Tensor& t : c.in) t = laid_out(expand(t, shape), c.out[0].strides());
}

namespace {

// Sorts the dims by the output's strides, so that the innermost loop runs along its memory.
void follow_memory(View& out, View* in, int n) {
  for (int i = 1; i < out.shape.ndim; ++i)
    for (int d = i; d > 0 && out.strides[d] > out.strides[d - 1]; --d) {
      std::swap(out.shape[d], out.shape[d - 1]);
      std::swap(out.strides[d], out.strides[d - 1]);
      for (int k = 0; k < n; ++k) {
        std::swap(in[k].shape[d], in[k].shape[d - 1]);
        std::swap(in[k].strides[d], in[k].strides[d - 1]);
      }
    }
}

}  // namespace

void broadcast_views(const Shape& shape, const Tensor& out, std::span<const Tensor> in, View* out_view,
                     View* in_views) {
  bool dense = out.contiguous();
  for (const Tensor& t : in) dense &= t.ndim() == 0 || (t.contiguous() && t.shape() == shape);
  if (!out.contiguous() && is_dense(shape, out.strides())) {
    dense = true;
    for (const Tensor& t : in)
      dense =
          dense && (t.ndim() == 0 || (t.shape() == shape && same_places(shape, t.strides(), out.strides())));
  }
  auto flat = [](View& v, const Tensor& t, std::int64_t n) {
    v.data = t->data;
    v.dtype = t.dtype();
    v.shape.ndim = v.strides.ndim = 1;
    v.shape[0] = n;
    v.strides[0] = t.ndim() == 0 ? 0 : 1;
  };
  if (dense) {
    const std::int64_t n = out.numel();
    flat(*out_view, out, n);
    out_view->strides[0] = 1;
    for (std::size_t i = 0; i < in.size(); ++i) flat(in_views[i], in[i], n);
    return;
  }
  *out_view = out.view();
  for (std::size_t i = 0; i < in.size(); ++i) {
    View& v = in_views[i];
    const Tensor& t = in[i];
    v.data = t->data;
    v.dtype = t.dtype();
    v.shape = shape;
    v.strides.ndim = shape.ndim;
    const int lead = shape.ndim - t.ndim();
    for (int d = 0; d < shape.ndim; ++d)
      v.strides[d] = d < lead || t.shape()[d - lead] == 1 ? 0 : t.strides()[d - lead];
  }
  if (!out.contiguous()) follow_memory(*out_view, in_views, static_cast<int>(in.size()));
}

void run_map(Call& c) {
  View out, in[kMaxMapInputs];
  broadcast_views(c.out[0].shape(), c.out[0], c.in, &out, in);
  double params[kMaxAttrs];
  for (int i = 0; i < c.attrs.n; ++i) params[i] = c.attrs.f(i);
  map_info(c.op->map).run(out, in, params);
}

}  // namespace unspool
