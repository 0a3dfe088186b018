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
        "A copy with the input's history, in the order of its strides; in row-major order where memory_format is "
        "contiguous_format.",
    .grad_name = "CloneBackward0",
    .surface = kBoth,
    .shape =
        [](Call& c) {
          const Tensor& x = c.in[0];
          if (c.attrs.i(0))
            c.allocate(0, x.shape(), x.dtype());
          else
            c.allocate_alike(0, x.shape(), x.dtype());
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
    .doc = "The input itself where its elements lie in row-major order, a copy otherwise.",
    .surface = kMethod,
    .composite = [](Call& c) { c.out[0] = contiguous(c.in[0]); },
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

Tensor clone(const Tensor& x) { return call(clone_op, {x}, {false}); }
Tensor row_major_copy(const Tensor& x) { return call(clone_op, {x}, {true}); }
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
