// layer_norm and rms_norm over the last dims, batch_norm over all dims but the second. Each has a fused
// backward; where a derivative of the derivative is asked for, the formula of kernels/norm.h is recorded in
// ops instead.
#include <array>
#include <limits>
#include <string>

#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"
#include "unspool/ops/elementwise.h"
#include "unspool/ops/map.h"

namespace unspool {
namespace {

Tensor mean_over(const Tensor& x, const Dims& dims, double n) {
  return sum(x, dims, true) / wrapped_number(n);
}

// x̂ and what its derivative needs, in recorded ops. `dims` are those of the statistics, n their elements.
struct Normal {
  Dims dims;
  double n = 1;
  bool centered;
  Tensor rstd, x;

  Normal(const Tensor& input, const Dims& over, double eps, bool centre) : dims(over), centered(centre) {
    for (std::int64_t d : over) n *= static_cast<double>(input.shape()[static_cast<int>(d)]);
    const Tensor rest = centre ? input - mean_over(input, dims, n) : input;
    rstd = 1.0 / sqrt(mean_over(rest * rest, dims, n) + eps);
    x = rest * rstd;
  }
  // The derivative of x̂ is a symmetric matrix: gradients and tangents go through it alike.
  Tensor through(const Tensor& h, const Tensor& scale) const {
    const Tensor along = x * mean_over(h * x, dims, n);
    return ((centered ? h - mean_over(h, dims, n) : h) - along) * scale;
  }
};

// dy from the tangents of input, weight, bias; null ones don't change.
Tensor tangent(const Normal& normal, const Tensor& weight, const Tensor* dx) {
  Tensor dy;
  auto add = [&](const Tensor& t) { dy = dy ? dy + t : t; };
  if (dx[0]) {
    const Tensor moved = normal.through(dx[0], normal.rstd);
    add(weight ? moved * weight : moved);
  }
  if (dx[1]) add(normal.x * dx[1]);
  if (dx[2]) add(expand(dx[2], normal.x.shape()));
  return dy;
}

// ---- Over the last dims -----------------------------------------------------------------------------------

View rows_of(const Tensor& t, std::int64_t n) {
  return {t->data, t.dtype(), {n ? t.numel() / n : 0, n}, {n, 1}};
}

NormCall kernel_call(const Tensor& x, const Tensor& weight, const Tensor& stats, bool centered) {
  const std::int64_t rows = stats.shape()[0];
  return {.x = rows_of(x, rows ? x.numel() / rows : 0),
          .weight = weight ? weight->data : nullptr,
          .stats = stats->data,
          .centered = centered};
}

constexpr OpDef norm_backward_op = {
    .schema =
        "norm_rows_backward(Tensor grad, Tensor input, Tensor? weight, Tensor stats, bool input_too, bool "
        "weight_too, bool centered)",
    .cls = Class::Fused,
    .shape =
        [](Call& c) {
          c.in[0] = contiguous(c.in[0]);
          c.n_out = 2;
          for (int i = 0; i < 2; ++i)
            if (c.attrs.i(i)) c.allocate(i, c.in[1].shape(), c.in[1].dtype());
        },
    .forward =
        [](Call& c) {
          const NormCall call = kernel_call(c.in[1], c.in[2], c.in[3], c.attrs.i(2) != 0);
          View g = call.x;
          g.data = c.in[0]->data;
          kernels().norm_rows_backward(call, g, c.out[0] ? c.out[0]->data : nullptr,
                                       c.out[1] ? c.out[1]->data : nullptr);
        },
};

// As a list, which is how PyTorch's messages show sizes.
std::string listed(const Dims& dims, const char* first = "") {
  std::string text = "[";
  text += first;
  for (int d = 0; d < dims.ndim; ++d) text += (d || *first ? ", " : "") + std::to_string(dims[d]);
  return text + "]";
}

template <bool Centered>
void norm_shape(Call& c) {
  const Dims& tail = c.attrs.list(0);
  const Shape& shape = c.in[0].shape();
  const int lead = shape.ndim - tail.ndim;
  bool fits = tail.ndim > 0 && lead >= 0;
  for (int d = 0; fits && d < tail.ndim; ++d) fits = shape[lead + d] == tail[d];
  if (!fits)
    fail(ErrorKind::Runtime, name_of(*c.op), ": Given normalized_shape=", listed(tail),
         ", expected input with shape ", listed(tail, "*"), ", but got input of size ", listed(shape));
  const DType dtype = c.in[0].dtype();
  if (!is_floating(dtype))
    fail(ErrorKind::DType, name_of(*c.op), ": not implemented for '", name(dtype), "'");
  for (std::size_t i = 1; i < c.in.size(); ++i) {
    if (!c.in[i]) continue;
    const char* what = i == 1 ? "weight" : "bias";
    if (!(c.in[i].shape() == tail))
      fail(ErrorKind::Runtime, name_of(*c.op), ": Expected ", what, " to be of shape ", listed(tail),
           ", got ", listed(c.in[i].shape()));
    if (c.in[i].dtype() != dtype)
      fail(ErrorKind::DType, name_of(*c.op), ": expected ", what, " of the input's dtype ", name(dtype),
           ", got ", name(c.in[i].dtype()));
  }
  for (Tensor& t : c.in)
    if (t) t = contiguous(t);
  c.allocate(0, shape, dtype);
}

double eps_of(const AttrsView& attrs, DType dtype) {
  if (attrs.given(0)) return attrs.f(0);
  return dtype == DType::Float64 ? std::numeric_limits<double>::epsilon()
                                 : std::numeric_limits<float>::epsilon();
}

template <bool Centered>
void norm_forward(Call& c) {
  const Tensor& x = c.in[0];
  std::int64_t n = 1;
  for (std::int64_t d : c.attrs.list(0)) n *= d;
  if (!c.aux) c.aux = empty({n ? x.numel() / n : 0, 2}, x.dtype());
  Tensor weight = c.in[1];
  const Tensor bias = c.in.size() > 2 ? c.in[2] : Tensor();
  if (bias && !weight) weight = full(bias.shape(), 1.0, x.dtype());
  NormCall call = kernel_call(x, weight, c.aux, Centered);
  call.bias = bias ? bias->data : nullptr;
  call.y = c.out[0]->data;
  call.eps = eps_of(c.attrs, x.dtype());
  kernels().norm_rows(call);
}

Dims last_dims(int ndim, int count) {
  Dims dims;
  for (int d = ndim - count; d < ndim; ++d) dims.push(d);
  return dims;
}
template <bool Centered>
Normal recorded(const Record& r) {
  return Normal(r.x(0), last_dims(r.shape(0).ndim, r.attrs.list(0).ndim), eps_of(r.attrs, r.dtype(0)),
                Centered);
}

template <bool Centered>
constexpr Derivative kNorm = {[](const Record& r, const Tensor* g, Tensor* gx) {
                                const Tensor& weight = r.x(1);
                                if (r.n_in > 2 && r.needs(2)) gx[2] = g[0];
                                if (!r.needs(0) && !r.needs(1)) return;
                                if (r.taped) {
                                  const Normal normal = recorded<Centered>(r);
                                  if (r.needs(0))
                                    gx[0] = normal.through(weight ? g[0] * weight : g[0], normal.rstd);
                                  if (r.needs(1)) gx[1] = g[0] * normal.x;
                                  return;
                                }
                                Tensor in[] = {g[0], r.x(0), weight, r.aux};
                                const Attrs attrs{r.needs(0), r.needs(1), Centered};
                                Call c(norm_backward_op);
                                call(c, in, attrs);
                                gx[0] = c.out[0];
                                gx[1] = c.out[1];
                              },
                              [](const Record& r, const Tensor* dx, Tensor* dy) {
                                const Tensor all[] = {dx[0], dx[1], r.n_in > 2 ? dx[2] : Tensor()};
                                dy[0] = tangent(recorded<Centered>(r), r.x(1), all);
                              },
                              {kSaveIn0 | kSaveIn1 | kSaveAux, kSaveIn0 | kSaveIn1 | kSaveAux, kSaveNothing},
                              nullptr};

constexpr OpDef layer_norm_op = {
    .schema =
        "layer_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float eps=1e-05)",
    .doc =
        "(x - mean) / sqrt(var + eps) · weight + bias over the last dims, of sizes normalized_shape; var over n.",
    .grad_name = "NativeLayerNormBackward0",
    .surface = kFunction,
    .cls = Class::Fused,
    .shape = norm_shape<true>,
    .forward = norm_forward<true>,
    .derivative = kNorm<true>,
};

constexpr OpDef rms_norm_op = {
    .schema = "rms_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, float? eps=None)",
    .doc = "x / sqrt(mean(x²) + eps) · weight over the last dims; eps is the dtype's epsilon where None.",
    .grad_name = "FusedRmsNormBackward0",
    .surface = kFunction,
    .cls = Class::Fused,
    .shape = norm_shape<false>,
    .forward = norm_forward<false>,
    .derivative = kNorm<false>,
};

// ---- Over all dims but the second -------------------------------------------------------------------------

// A vector of the channels as a view that broadcasts over the input.
Tensor per_channel(const Tensor& t, int ndim) {
  Shape shape;
  for (int d = 0; d < ndim; ++d) shape.push(d == 1 ? t.numel() : 1);
  return reshape(t, shape);
}
Dims channel_dims(int ndim) {
  Dims dims;
  for (int d = 0; d < ndim; ++d)
    if (d != 1) dims.push(d);
  return dims;
}
double count_of(const Shape& shape) {
  double n = 1;
  for (int d = 0; d < shape.ndim; ++d)
    if (d != 1) n *= static_cast<double>(shape[d]);
  return n;
}

// out = f(in…), broadcast.
template <class F>
void run(const Tensor& out, std::initializer_list<Tensor> in) {
  View to, from[kMaxMapInputs];
  broadcast_views(out.shape(), out, std::span(in.begin(), in.size()), &to, from);
  map_info(elementwise::map_id<F>).run(to, from, nullptr);
}
template <class F>
Tensor made(const Tensor& like, std::initializer_list<Tensor> in) {
  const Tensor out = empty(like.shape(), like.dtype());
  run<F>(out, in);
  return out;
}

constexpr OpDef batch_norm_backward_op = {
    .schema = "batch_norm_backward(Tensor grad, Tensor input, Tensor? weight, Tensor mean, Tensor rstd)",
    .cls = Class::Fused,
    .shape =
        [](Call& c) {
          c.n_out = 3;
          c.allocate(0, c.in[1].shape(), c.in[1].dtype());
        },
    .forward =
        [](Call& c) {
          using namespace elementwise;
          GradMode off(false);
          const Tensor &g = c.in[0], &x = c.in[1], &mean = c.in[3], &rstd = c.in[4];
          const int ndim = x.ndim();
          const Dims dims = channel_dims(ndim);
          const Tensor one = full({}, 1.0, x.dtype()), zero = full({}, 0.0, x.dtype());
          const Tensor normal = made<BatchNorm>(x, {x, mean, rstd, one, zero});
          c.out[1] = sum(g * normal, dims, true);
          c.out[2] = sum(g, dims, true);
          const Tensor n = full({}, count_of(x.shape()), x.dtype());
          const Tensor scale = c.in[2] ? rstd * per_channel(c.in[2], ndim) : rstd;
          run<BatchNormBackward>(c.out[0], {g, c.out[2] / n, normal, c.out[1] / n, scale});
        },
};

// With statistics of the batch, towards which the running ones, where given, are moved.
constexpr OpDef batch_norm_op = {
    .schema =
        "_batch_norm_train(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? "
        "running_var, float momentum, float eps)",
    .doc =
        "(x - mean) / sqrt(var + eps) · weight + bias for each channel (dim 1), mean and var (over n) the batch's.",
    .grad_name = "NativeBatchNormBackward0",
    .surface = kFunction,
    .cls = Class::Fused,
    .shape =
        [](Call& c) {
          if (!is_floating(c.in[0].dtype()))
            fail(ErrorKind::DType, "batch_norm: not implemented for '", name(c.in[0].dtype()), "'");
          for (int i = 1; i < 3; ++i)
            if (c.in[i] && c.in[i].dtype() != c.in[0].dtype())
              fail(ErrorKind::DType, "batch_norm: expected ", i == 1 ? "weight" : "bias",
                   " of the input's dtype ", name(c.in[0].dtype()), ", got ", name(c.in[i].dtype()));
          c.in[0] = contiguous(c.in[0]);
          c.allocate(0, c.in[0].shape(), c.in[0].dtype());
        },
    .forward =
        [](Call& c) {
          using namespace elementwise;
          GradMode off(false);
          const Tensor& x = c.in[0];
          const int ndim = x.ndim();
          const Dims dims = channel_dims(ndim);
          const double n = count_of(x.shape());
          const Tensor mean = mean_over(x, dims, n);
          const Tensor squares = empty(x.shape(), x.dtype());
          kernels().mse(squares.view(), x.view(), expand(mean, x.shape()).view(), MseReduction::None);
          const Tensor var = mean_over(squares, dims, n);
          const Tensor rstd = 1.0 / sqrt(var + c.attrs.f(1));
          const Tensor one = full({}, 1.0, x.dtype()), zero = full({}, 0.0, x.dtype());
          run<BatchNorm>(c.out[0], {x, mean, rstd, c.in[1] ? per_channel(c.in[1], ndim) : one,
                                    c.in[2] ? per_channel(c.in[2], ndim) : zero});
          if (c.recording) c.aux = cat(std::array{mean, rstd}, 0);
          const double momentum = c.attrs.f(0);
          auto move = [&](const Tensor& running, const Tensor& now) {
            if (!running) return;
            mul_(running, wrapped_number(1.0 - momentum));
            add_(running, reshape(now, running.shape()), momentum);
          };
          move(c.in[3], mean);
          move(c.in[4], var * (n / (n - 1.0)));
        },
    .derivative = {[](const Record& r, const Tensor* g, Tensor* gx) {
                     const int ndim = r.shape(0).ndim;
                     const Tensor& weight = r.x(1);
                     const Dims dims = channel_dims(ndim);
                     if (r.taped) {
                       const Normal normal(r.x(0), dims, r.attrs.f(1), true);
                       const Tensor scale = weight ? normal.rstd * per_channel(weight, ndim) : normal.rstd;
                       if (r.needs(0)) gx[0] = normal.through(g[0], scale);
                       if (r.needs(1)) gx[1] = reshape(sum(g[0] * normal.x, dims, false), r.shape(1));
                       if (r.needs(2)) gx[2] = reshape(sum(g[0], dims, false), r.shape(2));
                       return;
                     }
                     Tensor in[] = {g[0], r.x(0), weight, narrow(r.aux, 0, 0, 1), narrow(r.aux, 0, 1, 1)};
                     Call c(batch_norm_backward_op);
                     call(c, in, Attrs{});
                     if (r.needs(0)) gx[0] = c.out[0];
                     if (r.needs(1)) gx[1] = reshape(c.out[1], r.shape(1));
                     if (r.needs(2)) gx[2] = reshape(c.out[2], r.shape(2));
                   },
                   [](const Record& r, const Tensor* dx, Tensor* dy) {
                     const int ndim = r.shape(0).ndim;
                     const Normal normal(r.x(0), channel_dims(ndim), r.attrs.f(1), true);
                     const auto channels = [&](const Tensor& t) { return t ? per_channel(t, ndim) : t; };
                     const Tensor all[] = {dx[0], channels(dx[1]), channels(dx[2])};
                     dy[0] = tangent(normal, channels(r.x(1)), all);
                   },
                   {kSaveIn0 | kSaveIn1 | kSaveAux, kSaveIn0 | kSaveIn1 | kSaveAux,
                    kSaveIn0 | kSaveIn1 | kSaveAux},
                   nullptr},
};

}  // namespace

std::span<const OpDef* const> norm_ops() {
  static const OpDef* const ops[] = {&layer_norm_op, &rms_norm_op, &norm_backward_op, &batch_norm_op,
                                     &batch_norm_backward_op};
  return ops;
}

}  // namespace unspool
