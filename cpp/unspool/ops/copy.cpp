// Memory to memory: clone, contiguous, conversion of dtype, and the writes copy_, fill_, zero_.
#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"

namespace unspool {
namespace {

void copy_forward(Call& c) { kernels().copy(c.out[0].view(), c.in[0].view()); }

constexpr Derivative kPassedOn = linear([](const Record&, const Tensor* g, Tensor* gx) { gx[0] = g[0]; });

const OpDef clone_op = {
    .schema = "clone(Tensor input, *, MemoryFormat? memory_format=None)",
    .doc =
        "A copy with the input's history, in the order of its strides; where memory_format is contiguous_format in "
        "row-major order, where it is channels_last with the channels of each place side by side.",
    .grad_name = "CloneBackward0",
    .surface = kBoth,
    .shape =
        [](Call& c) {
          const Tensor& x = c.in[0];
          const auto format = static_cast<MemoryFormat>(c.attrs.i(0));
          if (format == MemoryFormat::Preserve)
            c.allocate_alike(0, x.shape(), x.dtype());
          else
            c.allocate(0, x.shape(), strides_in(format, x.shape(), "clone"), x.dtype());
        },
    .forward = copy_forward,
    .derivative = kPassedOn,
    .takes_halves = true,
};

const OpDef lay_out_op = {
    .schema = "lay_out(Tensor input, int[] stride)",
    .grad_name = "CloneBackward0",
    .shape = [](Call& c) { c.allocate(0, c.in[0].shape(), c.attrs.list(0), c.in[0].dtype()); },
    .forward = copy_forward,
    .derivative = kPassedOn,
    .takes_halves = true,
};

const OpDef contiguous_op = {
    .schema = "contiguous(Tensor input, MemoryFormat? memory_format=None)",
    .doc =
        "The input itself where its elements lie in row-major order, or as memory_format says, a copy otherwise.",
    .surface = kMethod,
    .composite =
        [](Call& c) {
          const auto format = static_cast<MemoryFormat>(c.attrs.i(0));
          const Tensor& x = c.in[0];
          c.out[0] = format <= MemoryFormat::RowMajor
                         ? contiguous(x)
                         : laid_out(x, strides_in(format, x.shape(), "contiguous"));
        },
};

const OpDef convert_op = {
    .schema = "convert(Tensor input, DType dtype)",
    .grad_name = "ToCopyBackward0",
    .shape = [](Call& c) { c.allocate_alike(0, c.in[0].shape(), c.attrs[0].dtype()); },
    .forward = copy_forward,
    // The engine brings a gradient to the dtype of the input it is for.
    .derivative = kPassedOn,
    .takes_halves = true,
};

// ---- Writes: always in place, see call_inplace ---------------------------------------------------------

void write_shape(Call& c) {
  const Tensor &target = c.in[0], &source = c.in[1];
  if (!(broadcast_shapes(c.op->schema, target.shape(), source.shape()) == target.shape()))
    fail(ErrorKind::Shape, name_of(*c.op), ": the source of shape ", source.shape(),
         " does not broadcast to the target of shape ", target.shape());
}

void write_vjp(const Record& r, const Tensor* g, Tensor* gx) {
  if (r.needs(0)) gx[0] = zeros_like(g[0]);  // nothing of the old value is left
  if (r.needs(1)) gx[1] = g[0];
}
void write_jvp(const Record& r, const Tensor* dx, Tensor* dy) {
  dy[0] = dx[1] ? to(expand(dx[1], r.shape(0)), r.dtype(0)) : zeros_like(dx[0]);
}

}  // namespace

const OpDef copy_op = {
    .schema = "copy_(Tensor input, Tensor src)",
    .doc = "Writes src, broadcast and converted, into the tensor.",
    .grad_name = "CopyBackwards",
    .surface = kMethod | kInplace,
    .cls = Class::Update,
    .shape = write_shape,
    .forward =
        [](Call& c) {
          const Tensor& target = c.out[0];
          View in = c.in[1].view();
          const int lead = target.ndim() - c.in[1].ndim();
          Strides strides;
          for (int d = 0; d < target.ndim(); ++d)
            strides.push(d < lead || in.shape[d - lead] == 1 ? 0 : in.strides[d - lead]);
          in.shape = target.shape();
          in.strides = strides;
          kernels().copy(target.view(), in);
        },
    .derivative = custom(write_vjp, write_jvp),
};

namespace {

const OpDef fill_op = {
    .schema = "fill_(Tensor input, Operand value)",
    .doc = "Writes one number into every element.",
    .grad_name = "FillBackward0",
    .surface = kMethod | kInplace,
    .cls = Class::Update,
    .shape =
        [](Call& c) {
          if (c.in[1].ndim() != 0)
            fail(ErrorKind::Shape, "fill_: only supports a 0-dimensional value tensor, got shape ",
                 c.in[1].shape());
        },
    .forward =
        [](Call& c) {
          Tensor value = empty({}, DType::Float64), whole = empty({}, DType::Int64);
          kernels().copy(value.view(), c.in[1].view());
          if (c.out[0].dtype() == DType::Bool)  // any number but 0 is true
            *reinterpret_cast<std::int64_t*>(whole->data) = *reinterpret_cast<double*>(value->data) != 0.0;
          else
            kernels().copy(whole.view(), c.in[1].view());
          kernels().fill(c.out[0].view(), *reinterpret_cast<double*>(value->data),
                         *reinterpret_cast<std::int64_t*>(whole->data));
        },
    .derivative = custom(write_vjp, write_jvp),
};

const OpDef zero_op = {
    .schema = "zero_(Tensor input)",
    .doc = "Writes 0 into every element.",
    .grad_name = "ZeroBackward0",
    .surface = kMethod | kInplace,
    .cls = Class::Update,
    .shape = [](Call&) {},
    .forward = [](Call& c) { kernels().fill(c.out[0].view(), 0.0, 0); },
    .derivative = custom([](const Record&, const Tensor* g, Tensor* gx) { gx[0] = zeros_like(g[0]); },
                         [](const Record&, const Tensor* dx, Tensor* dy) { dy[0] = zeros_like(dx[0]); }),
};

}  // namespace

namespace {

// Dims from the one whose elements lie side by side to the outermost.
template <class F>
void each_channels_last(int ndim, const F& f) {
  f(1);
  for (int d = ndim - 1; d > 1; --d) f(d);
  f(0);
}

}  // namespace

Strides strides_in(MemoryFormat format, const Shape& shape, const char* op) {
  if (format == MemoryFormat::RowMajor) return contiguous_strides(shape);
  const bool flat = format == MemoryFormat::ChannelsLast;
  if (shape.ndim != (flat ? 4 : 5))
    fail(ErrorKind::Runtime, op, ": required rank ", flat ? 4 : 5, " tensor to use ",
         flat ? "channels_last" : "channels_last_3d", " format, got shape ", shape);
  Strides strides = contiguous_strides(shape);
  std::int64_t step = 1;
  each_channels_last(shape.ndim, [&](int d) {
    strides[d] = step;
    step *= shape[d];
  });
  return strides;
}
MemoryFormat format_of(const Tensor& x) {
  if (x.ndim() != 4 && x.ndim() != 5) return MemoryFormat::RowMajor;
  const Strides& strides = x.strides();
  if (strides[1] == 0) return MemoryFormat::RowMajor;
  std::int64_t least = 0;
  bool last = true;
  each_channels_last(x.ndim(), [&](int d) {
    last = last && x.shape()[d] > 0 && strides[d] >= least && !(d == 0 && least == strides[1]);
    least = strides[d] * x.shape()[d];
  });
  if (!last) return MemoryFormat::RowMajor;
  return x.ndim() == 4 ? MemoryFormat::ChannelsLast : MemoryFormat::ChannelsLast3d;
}
Tensor to(const Tensor& x, DType dtype, bool copy, MemoryFormat format, const char* op) {
  Tensor y = dtype == x.dtype() && copy ? clone(x) : to(x, dtype);
  if (format == MemoryFormat::Preserve || (y.get() == x.get() && format == format_of(x))) return y;
  const Strides strides = strides_in(format, x.shape(), op);
  return y.get() != x.get() && y.strides() == strides ? y : call(lay_out_op, {y}, {{}, {strides}});
}
Tensor clone(const Tensor& x) { return call(clone_op, {x}, {std::int64_t{0}}); }
Tensor row_major_copy(const Tensor& x) {
  return call(clone_op, {x}, {static_cast<std::int64_t>(MemoryFormat::RowMajor)});
}
Tensor contiguous(const Tensor& x) { return x.contiguous() ? x : row_major_copy(x); }
Tensor laid_out(const Tensor& x, const Strides& strides) {
  return same_places(x.shape(), x.strides(), strides) ? x : call(lay_out_op, {x}, {{}, {strides}});
}
Tensor to(const Tensor& x, DType dtype) { return x.dtype() == dtype ? x : call(convert_op, {x}, {dtype}); }
Tensor laid_out_like(const Tensor& y, const Tensor& x) {
  return laid_out(y, copy_strides(x.shape(), x.strides()));
}
void copy_(const Tensor& target, const Tensor& source) {
  Tensor in[] = {target, source};
  call_inplace(copy_op, in, Attrs{});
}
void fill_(const Tensor& target, const Tensor& value) {
  Tensor in[] = {target, value};
  call_inplace(fill_op, in, Attrs{});
}

std::span<const OpDef* const> copy_ops() {
  static const OpDef* const ops[] = {&clone_op, &lay_out_op, &contiguous_op, &convert_op,
                                     &copy_op,  &fill_op,    &zero_op};
  return ops;
}

}  // namespace unspool
