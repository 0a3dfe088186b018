// Losses: mse_loss and cross_entropy, each with a fused backward.
#include <limits>

#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"
#include "unspool/ops/fusions.h"
#include "unspool/ops/take.h"

namespace unspool {
namespace {

// The order of the schema's {none,mean,sum}.
enum Reduction : std::int64_t { kNone, kMean, kSum };

// ---- mse_loss ------------------------------------------------------------------------------------

constexpr MseReduction kReductions[] = {MseReduction::None, MseReduction::Mean, MseReduction::Sum};

double mse_scale(const Shape& shape, std::int64_t reduction) {
  return reduction == kMean ? 1.0 / static_cast<double>(numel_of(shape, "mse_loss")) : 1.0;
}

}  // namespace

const OpDef mse_backward_op = {
    .schema = "mse_loss_backward(Tensor grad, Tensor input, Tensor target, int reduction)",
    .cls = Class::Fused,
    .shape = [](Call& c) { c.allocate(0, c.in[1].shape(), c.in[1].dtype()); },
    .forward =
        [](Call& c) {
          View g = c.in[0].view();
          if (c.in[0].ndim() == 0) {
            g.shape = c.in[1].shape();
            g.strides.ndim = g.shape.ndim;
            for (int d = 0; d < g.shape.ndim; ++d) g.strides[d] = 0;
          }
          kernels().mse_backward(c.out[0].view(), c.in[1].view(), c.in[2].view(),
                                 mse_scale(c.in[1].shape(), c.attrs.i(0)), g);
        },
};

const OpDef mse_with_gradient_op = {
    .schema =
        "mse_loss_with_gradient(Tensor grad, Tensor input, Tensor target, int reduction) "
        "-> (Tensor loss, Tensor grad_input)",
    .cls = Class::Fused,
    .shape =
        [](Call& c) {
          c.n_out = 2;
          c.allocate(0, {}, c.in[1].dtype());
          c.allocate(1, c.in[1].shape(), c.in[1].dtype());
        },
    .forward =
        [](Call& c) {
          kernels().mse_with_gradient(c.out[0].view(), c.out[1].view(), c.in[1].view(), c.in[2].view(),
                                      kReductions[c.attrs.i(0)], mse_scale(c.in[1].shape(), c.attrs.i(0)),
                                      c.in[0].view());
        },
};

namespace {

// 2 (a - b), divided by the number of elements for a mean.
Tensor mse_slope(const Record& r) {
  const Tensor d = (r.x(0) - r.x(1)) * 2.0;
  return r.attrs.i(0) == kMean ? d * mse_scale(r.shape(0), kMean) : d;
}

}  // namespace

const OpDef mse_op = {
    .schema = "mse_loss_same_shape(Tensor input, Tensor target, int reduction)",
    .grad_name = "MseLossBackward0",
    .cls = Class::Fused,
    .promote = Promote::Common,
    .shape =
        [](Call& c) {
          if (!is_floating(c.in[0].dtype()))
            fail(ErrorKind::DType, "mse_loss: not implemented for '", name(c.in[0].dtype()), "'");
          if (c.attrs.i(0) == kNone)
            c.allocate_alike(0, c.in[0].shape(), c.in[0].dtype());
          else
            c.allocate(0, {}, c.in[0].dtype());
        },
    .forward =
        [](Call& c) {
          kernels().mse(c.out[0].view(), c.in[0].view(), c.in[1].view(), kReductions[c.attrs.i(0)]);
        },
    .derivative = custom(
        [](const Record& r, const Tensor* g, Tensor* gx) {
          const Tensor d =
              r.taped ? g[0] * mse_slope(r) : call(mse_backward_op, {g[0], r.x(0), r.x(1)}, {r.attrs[0]});
          if (r.needs(0)) gx[0] = d;
          if (r.needs(1)) gx[1] = -d;
        },
        [](const Record& r, const Tensor* dx, Tensor* dy) {
          const Tensor d = !dx[1] ? dx[0] : dx[0] ? dx[0] - dx[1] : -dx[1];
          const Tensor part = mse_slope(r) * d;
          dy[0] = r.attrs.i(0) == kNone ? part : sum(part);
        },
        kSaveIn0 | kSaveIn1),
};

namespace {

constexpr OpDef mse_loss_op = {
    .schema = "mse_loss(Tensor input, Tensor target, {none,mean,sum} reduction='mean')",
    .doc = "(input - target)², its mean, or its sum. Shapes that differ are broadcast.",
    .surface = kFunction,
    .cls = Class::Fused,
    .composite =
        [](Call& c) {
          Tensor a = c.in[0], b = c.in[1];
          if (!(a.shape() == b.shape())) {
            const Shape shape = broadcast_shapes("mse_loss", a.shape(), b.shape());
            a = expand(a, shape);
            b = expand(b, shape);
          }
          c.out[0] = call(mse_op, {a, b}, {c.attrs[0]});
        },
};

// ---- cross_entropy -------------------------------------------------------------------------------

// attrs: ignore_index, reduction, label_smoothing; in: logits (rows×classes), target, weight?
CrossEntropyCall kernel_call(const AttrsView& attrs, const Tensor& target, const View* weight) {
  return {.target = reinterpret_cast<const std::int64_t*>(target->data),
          .weight = weight,
          .ignore_index = attrs.i(0),
          .label_smoothing = attrs.f(2)};
}

// What a mean divides by: the class weights of the rows that count. NaN, not 0, where there are none:
// the mean is NaN then also with label smoothing, whose part of the sum is not 0.
double denominator(const AttrsView& attrs, const Tensor& target, const Tensor& weight) {
  if (attrs.i(1) != kMean) return 1.0;
  const auto* t = reinterpret_cast<const std::int64_t*>(target->data);
  double sum = 0.0;
  for (std::int64_t i = 0; i < target.numel(); ++i) {
    if (t[i] == attrs.i(0)) continue;
    sum +=
        !weight ? 1.0
        : weight.dtype() == DType::Float64
            ? reinterpret_cast<const double*>(weight->data)[t[i] * weight.strides()[0]]
            : static_cast<double>(reinterpret_cast<const float*>(weight->data)[t[i] * weight.strides()[0]]);
  }
  return sum == 0.0 ? std::numeric_limits<double>::quiet_NaN() : sum;
}

// The rest is for rules that are taped: made of ops, so that plans compute it again for other labels.
struct Targets {
  Tensor ignored;  // rows×1, bool
  Tensor rows;     // the weighted, smoothed target distribution, so that a row's loss is -Σ q log p
  Tensor share;    // what a row's loss is multiplied by, one over `denominator`
};
Targets targets_of(const Record& r) {
  const GradMode off(false);
  const Tensor &target = r.x(1), &weight = r.x(2);
  const std::int64_t n = r.shape(0)[0], classes = r.shape(0)[1];
  const Tensor ignored = target == wrapped_number(r.attrs.i(0)), aside = unsqueeze(ignored, 1);
  const Tensor label = where(ignored, wrapped_number(std::int64_t{0}), target), zero = wrapped_number(0.0);
  const Tensor w = weight ? contiguous(to(weight, DType::Float64)) : full({classes}, 1.0, DType::Float64);
  const Tensor own = where(ignored, zero, take_flat(w, label));  // of each row
  const double smoothing = r.attrs.f(2);
  Tensor q =
      where(aside, zero, expand(w * smoothing / wrapped_number(static_cast<double>(classes)), {n, classes}));
  put_flat_(q, gathered_places("cross_entropy", {n, classes}, 1, unsqueeze(label, 1)),
            unsqueeze(own * (1.0 - smoothing), 1), true);
  Tensor share = full({}, 1.0, DType::Float64);
  if (r.attrs.i(1) == kMean) {
    const Tensor total = sum(own);
    share = 1.0 / where(total == zero, wrapped_number(std::numeric_limits<double>::quiet_NaN()), total);
  }
  return {aside, to(q, r.dtype(0)), to(share, r.dtype(0))};
}

// v · d loss_i / d logits, where d loss_i / d logits = (Σ q) p - q for each row i. Ignored rows are
// selected away, not multiplied by 0; of the mean over no row at all every derivative is 0.
Tensor times_cross_entropy_slope(const Record& r, const Tensor& v) {
  const auto [ignored, q, share] = targets_of(r);
  const Tensor zero = wrapped_number(0.0);
  const Tensor slope = (sum(q, {1}, true) * softmax(r.x(0), 1) - q) * where(ignored, zero, share);
  return where(ignored, zero, v * slope);
}

View upstream_of(const Tensor& g, std::int64_t rows) {
  return {g->data, g.dtype(), {rows}, {g.ndim() ? g.strides()[0] : 0}};
}

// The labels are good, the losses of the rows are made by rows(losses, log_probs, logits, call).
template <class F>
void cross_entropy_forward(Call& c, const Tensor& x, const Tensor& target, const Tensor& weight,
                           const F& rows) {
  const std::int64_t n = x.shape()[0], classes = x.shape()[1];
  const auto* t = reinterpret_cast<const std::int64_t*>(target->data);
  const std::int64_t bad = kernels().check_labels(t, n, classes, c.attrs.i(0));
  if (bad >= 0)
    fail(ErrorKind::Index, "cross_entropy: Target ", t[bad], " is out of bounds; target[", bad,
         "] must be in [0, ", classes, ") or ", c.attrs.i(0), " (ignore_index)");
  const Tensor losses = c.attrs.i(1) == kNone ? c.out[0] : empty({n}, x.dtype());
  if (!c.aux) c.aux = empty(x.shape(), x.dtype());
  const View w = weight ? weight.view() : View{};
  rows(losses.view(), c.aux.view(), x.view(), kernel_call(c.attrs, target, weight ? &w : nullptr));
  if (c.attrs.i(1) == kNone) return;
  View out = c.out[0].view();
  out.shape = out.strides = {1};
  kernels().sum(out, losses.view(), 1);
  if (c.attrs.i(1) != kMean) return;
  GradMode off(false);
  const Tensor mean = c.out[0] / full({}, denominator(c.attrs, target, weight), x.dtype());
  kernels().copy(c.out[0].view(), mean.view());
}

}  // namespace

const OpDef cross_entropy_backward_op = {
    .schema =
        "cross_entropy_backward(Tensor grad, Tensor log_probs, Tensor target, Tensor? "
        "weight, int ignore_index, int reduction, float label_smoothing)",
    .cls = Class::Fused,
    .shape = [](Call& c) { c.allocate(0, c.in[1].shape(), c.in[1].dtype()); },
    .forward =
        [](Call& c) {
          const Tensor &target = c.in[2], &weight = c.in[3];
          const std::int64_t n = c.in[1].shape()[0];
          GradMode off(false);
          const Tensor scaled = c.in[0] / wrapped_number(denominator(c.attrs, target, weight));
          const View w = weight ? weight.view() : View{};
          kernels().cross_entropy_backward(c.out[0].view(), c.in[1].view(), upstream_of(scaled, n),
                                           kernel_call(c.attrs, target, weight ? &w : nullptr));
        },
};

const OpDef cross_entropy_with_gradient_op = {
    .schema =
        "cross_entropy_with_gradient(Tensor grad, Tensor input, Tensor target, Tensor? weight, int ignore_index, "
        "int reduction, float label_smoothing) -> (Tensor loss, Tensor grad_input)",
    .cls = Class::Fused,
    .shape =
        [](Call& c) {
          const Tensor& x = c.in[1];
          c.n_out = 2;
          c.in[2] = contiguous(c.in[2]);
          c.allocate(0, c.attrs.i(1) == kNone ? Shape{x.shape()[0]} : Shape{}, x.dtype());
          c.allocate(1, x.shape(), x.dtype());
        },
    .forward =
        [](Call& c) {
          const Tensor &target = c.in[2], &weight = c.in[3];
          GradMode off(false);
          cross_entropy_forward(
              c, c.in[1], target, weight,
              [&](const View& losses, const View& log_probs, const View& logits,
                  const CrossEntropyCall& call) {
                const Tensor scaled = c.in[0] / wrapped_number(denominator(c.attrs, target, weight));
                kernels().cross_entropy_with_gradient(losses, log_probs, logits, c.out[1].view(),
                                                      upstream_of(scaled, logits.shape[0]), call);
              });
        },
    .refuses = true,
};

const OpDef cross_entropy_rows_op = {
    .schema =
        "cross_entropy_rows(Tensor input, Tensor target, Tensor? weight, int ignore_index, "
        "int reduction, float label_smoothing)",
    .grad_name = "NllLossBackward0",
    .cls = Class::Fused,
    .shape =
        [](Call& c) {
          const Tensor& x = c.in[0];
          c.in[1] = contiguous(c.in[1]);
          c.allocate(0, c.attrs.i(1) == kNone ? Shape{x.shape()[0]} : Shape{}, x.dtype());
        },
    .forward = [](Call& c) { cross_entropy_forward(c, c.in[0], c.in[1], c.in[2], kernels().cross_entropy); },
    .derivative = custom(
        [](const Record& r, const Tensor* g, Tensor* gx) {
          if (!r.taped) {
            gx[0] = call(cross_entropy_backward_op, {g[0], r.aux, r.x(1), r.x(2)},
                         {r.attrs[0], r.attrs[1], r.attrs[2]});
            return;
          }
          const Tensor rows = g[0].ndim() ? unsqueeze(g[0], 1) : g[0];
          gx[0] = times_cross_entropy_slope(r, rows);
        },
        [](const Record& r, const Tensor* dx, Tensor* dy) {
          const Tensor rows = sum(times_cross_entropy_slope(r, dx[0]), {1}, false);
          dy[0] = r.attrs.i(1) == kNone ? rows : sum(rows);
        },
        kSaveIn0 | kSaveIn1 | kSaveIn2 | kSaveAux),
    .refuses = true,
};

namespace {

// Targets as probabilities: -Σ w q log p, the mean over the rows.
Tensor with_probabilities(const Tensor& logits, const Tensor& target, const Tensor& weight,
                          std::int64_t reduction, double smoothing, std::int64_t rows) {
  const int classes_dim = logits.ndim() == 1 ? 0 : 1;
  const auto classes = static_cast<double>(logits.shape()[classes_dim]);
  Tensor q = to(target, logits.dtype());
  if (smoothing > 0.0) q = q * (1.0 - smoothing) + wrapped_number(smoothing / classes);
  Tensor terms = log_softmax(logits, classes_dim) * q;
  if (weight) {
    Shape shape;
    for (int d = 0; d < logits.ndim(); ++d) shape.push(d == classes_dim ? weight.shape()[0] : 1);
    terms = terms * reshape(weight, shape);
  }
  if (reduction == kNone) return -sum(terms, {classes_dim}, false);
  const Tensor total = -sum(terms);
  // PyTorch has no row without classes: the mean is NaN.
  return reduction == kSum ? total : total / wrapped_number(classes > 0.0 ? static_cast<double>(rows) : 0.0);
}

void cross_entropy(Call& c) {
  Tensor x = c.in[0], target = c.in[1];
  const Tensor weight = c.in[2];
  const std::int64_t reduction = c.attrs.i(1);
  const double smoothing = c.attrs.f(2);
  if (!is_floating(x.dtype()))
    fail(ErrorKind::DType, "cross_entropy: input must be floating, got ", name(x.dtype()));
  if (x.ndim() == 0) fail(ErrorKind::Shape, "cross_entropy: input must have a class dimension, got shape ()");
  if (!(smoothing >= 0.0 && smoothing <= 1.0))
    fail(ErrorKind::Runtime, "cross_entropy: label_smoothing must be between 0.0 and 1.0, got ", smoothing);
  const int classes_dim = x.ndim() == 1 ? 0 : 1;
  const std::int64_t classes = x.shape()[classes_dim];
  if (weight && (weight.ndim() != 1 || weight.shape()[0] != classes))
    fail(ErrorKind::Shape, "cross_entropy: weight has shape ", weight.shape(),
         ", must have one element for each of the ", classes, " classes");
  if (weight && weight.dtype() != x.dtype())
    fail(ErrorKind::DType, "cross_entropy: weight must have the input's dtype ", name(x.dtype()), ", got ",
         name(weight.dtype()));
  Shape expected = x.shape();
  expected.erase(classes_dim);
  const std::int64_t rows = numel_of(expected, "cross_entropy");
  if (target.shape() == x.shape() && is_floating(target.dtype())) {
    c.out[0] = with_probabilities(x, target, weight, reduction, smoothing, rows);
    return;
  }
  if (target.dtype() != DType::Int64 && target.dtype() != DType::UInt8)
    fail(ErrorKind::DType,
         "cross_entropy: expected target of dtype int64 (class indices), or "
         "floating of the input's shape (probabilities), got ",
         name(target.dtype()), " of shape ", target.shape(), "; input has shape ", x.shape());
  if (!(target.shape() == expected))
    fail(ErrorKind::Shape, "cross_entropy: input has shape ", x.shape(), ", target has shape ",
         target.shape(),
         ". Class indices must have the input's shape without its class "
         "dimension, ",
         expected);
  target = to(target, DType::Int64);
  // The classes to the end, everything before them to rows.
  if (classes_dim == 1) {
    Dims order{0};
    for (int d = 2; d < x.ndim(); ++d) order.push(d);
    order.push(1);
    if (x.ndim() > 2) x = permute(x, order);
  }
  x = reshape(x, {rows, classes});
  const Tensor y =
      call(cross_entropy_rows_op, {x, reshape(target, {rows}), weight}, {c.attrs[0], c.attrs[1], smoothing});
  c.out[0] = reduction == kNone ? reshape(y, expected) : y;
}

constexpr OpDef cross_entropy_op = {
    .schema =
        "cross_entropy(Tensor input, Tensor target, Tensor? weight=None, int "
        "ignore_index=-100, {none,mean,sum} reduction='mean', float label_smoothing=0.0)",
    .doc =
        "-log softmax(input) at the target class. input holds logits of shape (N, C) or (C,) "
        "or (N, C, d1, …); target holds class indices (int64, the shape without C) or "
        "probabilities (the input's shape). The mean divides by the sum of the class weights "
        "of the rows that are not ignored.",
    .surface = kFunction,
    .cls = Class::Fused,
    .composite = cross_entropy,
};

}  // namespace

Tensor mse_loss(const Tensor& input, const Tensor& target, std::int64_t reduction) {
  return call(mse_loss_op, {input, target}, {reduction});
}

std::span<const OpDef* const> loss_ops() {
  static const OpDef* const ops[] = {&mse_loss_op,
                                     &mse_op,
                                     &mse_backward_op,
                                     &mse_with_gradient_op,
                                     &cross_entropy_with_gradient_op,
                                     &cross_entropy_op,
                                     &cross_entropy_rows_op,
                                     &cross_entropy_backward_op};
  return ops;
}

}  // namespace unspool
