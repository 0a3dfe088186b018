// Products: matmul and linear. Every product in a gradient carries its shapes as a comment.
#include <algorithm>

#include "unspool/base/alloc.h"
#include "unspool/base/pool.h"
#include "unspool/kernels/table.h"
#include "unspool/ops/blocks.h"
#include "unspool/ops/fusions.h"

namespace unspool {
namespace {

constexpr std::int64_t kProductsPerNanosecond = 16;  // of one core, to judge whether work is long

// A matrix as the kernel sees it, strides in elements.
struct Matrix {
  void* data;
  std::int64_t rows, columns, row, column;
};
Matrix matrix(const Tensor& t, std::int64_t rows, std::int64_t columns) {
  return {t->data, rows, columns, columns, 1};
}
Matrix matrix(const Tensor& t) {
  return {t->data, t.shape()[0], t.shape()[1], t.strides()[0], t.strides()[1]};
}
Matrix transposed(const Matrix& m) { return {m.data, m.columns, m.rows, m.column, m.row}; }

// C = A·B, but for where they lie. Field by field: clearing the call first takes as long as a small product's
// arithmetic.
[[gnu::always_inline]] inline GemmCall product_of(DType dtype, const Matrix& c, const Matrix& a,
                                                  const Matrix& b) {
  GemmCall call;
  call.dtype = dtype;
  call.m = a.rows;
  call.n = b.columns;
  call.k = a.columns;
  call.a_row = a.row;
  call.a_col = a.column;
  call.b_row = b.row;
  call.b_col = b.column;
  call.c_row = c.row;
  call.c_col = c.column;
  return call;
}
void gemm(GemmCall& call, void* c, const void* a, const void* b) {
  call.a = a;
  call.b = b;
  call.c = c;
  const LongWork others_run(call.m * call.n * call.k / kProductsPerNanosecond);  // around all its parts
  kernels().gemm(call);
}

void one_dtype(const char* op, std::span<Tensor> in) {
  for (const Tensor& t : in)
    if (t && t.dtype() != in[0].dtype())
      fail(ErrorKind::DType, op, ": expected all tensors to have the same dtype, got ", name(in[0].dtype()),
           " and ", name(t.dtype()));
  if (in[0].dtype() == DType::Bool || in[0].dtype() == DType::UInt8)
    fail(ErrorKind::DType, op, ": not implemented for '", name(in[0].dtype()), "'");
}

// ---- matmul --------------------------------------------------------------------------------------

Shape batch_of(const Shape& s) { return Shape(s.v, s.ndim - 2); }

// The batch dims of a view, broadcast to `batch` by strides of 0, and the matrix dims.
View batched(const Tensor& t, const Shape& batch) {
  View v = t.view();
  v.shape = batch;
  v.strides.ndim = batch.ndim;
  const int lead = batch.ndim - (t.ndim() - 2);
  for (int d = 0; d < batch.ndim; ++d)
    v.strides[d] = d < lead || t.shape()[d - lead] == 1 ? 0 : t.strides()[d - lead];
  for (int d = t.ndim() - 2; d < t.ndim(); ++d) {
    v.shape.push(t.shape()[d]);
    v.strides.push(t.strides()[d]);
  }
  return v;
}

// That of the last two dims, so many elements on.
Matrix matrix(const View& v, std::int64_t elements) {
  const int d = v.shape.ndim - 2;
  return {static_cast<char*>(v.data) + elements * static_cast<std::int64_t>(item_size(v.dtype)), v.shape[d],
          v.shape[d + 1], v.strides[d], v.strides[d + 1]};
}

// f(i) for the products of a batch. Threads share the products where one is too small to be shared.
template <class F>
void each_product(std::int64_t count, const View& a, const View& b, const F& f) {
  const int p = a.shape.ndim - 2;
  const std::int64_t one = a.shape[p] * a.shape[p + 1] * b.shape[p + 1] / kProductsPerNanosecond;
  const std::int64_t least = __atomic_load_n(&parallel_threshold, __ATOMIC_RELAXED);
  if (count > 1 && one < kParallelWork && one * count >= least)
    run_chunks(count, one * count, [](const void* g, std::int64_t i) { (*static_cast<const F*>(g))(i); }, &f);
  else
    for (std::int64_t i = 0; i < count; ++i) f(i);
}

extern const OpDef product_op;
Tensor product(const Tensor& a, const Tensor& b) { return call(product_op, {a, b}); }
Tensor turned(const Tensor& t) { return transpose(t, -2, -1); }

const OpDef product_op = {
    .schema = "matmul_batched(Tensor input, Tensor other)",
    .doc = "The matrix product over the last two dims; leading dims are broadcast.",
    .grad_name = "MmBackward0",
    .cls = Class::Contraction,
    .shape =
        [](Call& c) {
          one_dtype("matmul", c.in);
          const Shape &a = c.in[0].shape(), &b = c.in[1].shape();
          if (a[a.ndim - 1] != b[b.ndim - 2])
            fail(ErrorKind::Shape, "matmul: mat1 and mat2 shapes cannot be multiplied; a has shape ", a,
                 ", b has shape ", b,
                 ". The last size of a and the last but one of b must be "
                 "equal");
          for (int i = 3; i <= a.ndim && i <= b.ndim; ++i)
            if (a[a.ndim - i] != b[b.ndim - i] && a[a.ndim - i] != 1 && b[b.ndim - i] != 1)
              fail(ErrorKind::Shape, "matmul: batch dimensions do not broadcast; a has shape ", a,
                   ", b has shape ", b, ". Before the last two, sizes must be equal or 1");
          Shape out;
          try {
            out = broadcast_shapes("matmul", batch_of(a), batch_of(b));
          } catch (const Error&) {  // in terms of the operands, not of their batch dims alone
            fail(ErrorKind::Shape, "matmul: batch dimensions do not broadcast; a has shape ", a,
                 ", b has shape ", b, ". Before the last two, sizes must be equal or 1");
          }
          out.push(a[a.ndim - 2]);
          out.push(b[b.ndim - 1]);
          c.allocate(0, out, c.in[0].dtype());
        },
    .forward =
        [](Call& c) {
          const Shape batch = batch_of(c.out[0].shape());
          const View a = batched(c.in[0], batch), b = batched(c.in[1], batch), y = c.out[0].view();
          each_product(numel_of(batch, "matmul"), a, b, [&](std::int64_t i) {
            std::int64_t offset[3] = {0, 0, 0};
            for (int d = batch.ndim - 1; d >= 0; --d) {
              const std::int64_t at = i % batch[d];
              i /= batch[d];
              offset[0] += at * a.strides[d];
              offset[1] += at * b.strides[d];
              offset[2] += at * y.strides[d];
            }
            const Matrix to = matrix(y, offset[2]), left = matrix(a, offset[0]), right = matrix(b, offset[1]);
            GemmCall one = product_of(y.dtype, to, left, right);
            gemm(one, to.data, left.data, right.data);
          });
        },
    .derivative = {[](const Record& r, const Tensor* g, Tensor* gx) {
                     if (r.needs(0)) gx[0] = product(g[0], turned(r.x(1)));  // (n×m)·(m×k) → (n×k)
                     if (r.needs(1)) gx[1] = product(turned(r.x(0)), g[0]);  // (k×n)·(n×m) → (k×m)
                   },
                   [](const Record& r, const Tensor* dx, Tensor* dy) {
                     if (dx[0]) dy[0] = product(dx[0], r.x(1));
                     if (!dx[1]) return;
                     const Tensor part = product(r.x(0), dx[1]);
                     dy[0] = dy[0] ? dy[0] + part : part;
                   },
                   {kSaveIn1, kSaveIn0, 0},
                   nullptr},
};

constexpr OpDef matmul_op = {
    .schema = "matmul(Tensor input, Tensor other)",
    .doc =
        "The matrix product. Two vectors: their dot product. A vector is a row on the left, a "
        "column on the right. Dims before the last two are batch dims, and are broadcast.",
    .surface = kBoth,
    .cls = Class::Contraction,
    .composite =
        [](Call& c) {
          Tensor a = c.in[0], b = c.in[1];
          if (a.ndim() == 0 || b.ndim() == 0)
            fail(ErrorKind::Shape, "matmul: both arguments need to be at least 1D; a has shape ", a.shape(),
                 ", b has shape ", b.shape());
          const std::int64_t k = b.shape()[b.ndim() == 1 ? 0 : b.ndim() - 2];
          if (a.shape()[a.ndim() - 1] != k)
            fail(ErrorKind::Shape, "matmul: mat1 and mat2 shapes cannot be multiplied; a has shape ",
                 a.shape(), ", b has shape ", b.shape(),
                 ". The last size of a and the last but one of b (a vector's only one) must be equal");
          const bool row = a.ndim() == 1, column = b.ndim() == 1;
          if (row) a = unsqueeze(a, 0);
          if (column) b = unsqueeze(b, 1);
          Tensor y = product(a, b);
          if (column) y = squeeze(y, -1);
          if (row) y = squeeze(y, column ? -1 : -2);
          c.out[0] = std::move(y);
        },
    .doctest =
        ">>> unspool.matmul(unspool.tensor([[1.0, 2.0]]), unspool.tensor([[3.0], [4.0]]))\n"
        "tensor([[11.]])",
};

void exactly_2d(Call& c) {
  if (c.in[0].ndim() != 2 || c.in[1].ndim() != 2)
    fail(ErrorKind::Shape, "mm: both arguments must be 2D; a has shape ", c.in[0].shape(), ", b has shape ",
         c.in[1].shape());
  c.out[0] = product(c.in[0], c.in[1]);
}
constexpr OpDef mm_op = {
    .schema = "mm(Tensor input, Tensor mat2)",
    .doc = "The product of two matrices, without broadcasting.",
    .surface = kBoth,
    .cls = Class::Contraction,
    .composite = exactly_2d,
};

// ---- linear --------------------------------------------------------------------------------------

std::int64_t rows_of(const Shape& x) {
  std::int64_t rows = 1;
  for (int d = 0; d + 1 < x.ndim; ++d) rows *= x[d];
  return rows;
}

struct UpdatedWeight {
  const UpdateParts* update;
  std::int64_t columns;
};
void update_rows(const void* weight, std::int64_t i, std::int64_t j, std::int64_t rows,
                 std::int64_t columns) {
  const auto& [update, width] = *static_cast<const UpdatedWeight*>(weight);
  if (columns == width) return (*update)(i * width, rows * width, 1, 0);
  (*update)(i* width + j, columns, rows, width);
}

// The gradients of a linear layer, or of one with a ReLU on its result, whose mask is in[3].
class LinearBackward {
 public:
  explicit LinearBackward(const Call& c) {
    const Shape& x = c.attrs.list(0);
    const Tensor& grad = c.in[0];
    n_ = rows_of(x);
    in_ = x[x.ndim - 1];
    out_ = grad.shape()[grad.ndim() - 1];
    dtype_ = grad.dtype();
    const Matrix g = matrix(grad, n_, out_);
    if (c.out[0])  // (n×m)·(m×k) → (n×k)
      dx_ = product_of(dtype_, matrix(c.out[0], n_, in_), g, matrix(c.in[2]));
    if (c.out[1])  // (m×n)·(n×k) → (m×k)
      dw_ = product_of(dtype_, matrix(c.out[1], out_, in_), transposed(g), {nullptr, n_, in_, in_, 1});
    copies_ = c.out[1] && !c.in[1].contiguous();
  }
  void run(Call& c, const UpdateParts* update) {
    void* g = c.in[0]->data;
    const auto* bits = c.in[3] ? reinterpret_cast<const std::uint64_t*>(c.in[3]->data) : nullptr;
    // Once for both products: applied as each packs its operand, the mask cost 1.05 times a step of
    // 784-256-256-10 or 1024×4 layers, and 1.13 times one of 64-100-10.
    const bool apart = bits && !c.spends;
    const Workspace masked(apart ? static_cast<std::size_t>(n_ * out_) * item_size(dtype_) : 0);
    if (bits) {
      void* const to = apart ? masked.data() : g;
      kernels().relu_backward(dense(to), dense(g), bits);
      g = to;
    }
    if (c.out[0]) gemm(dx_, c.out[0]->data, g, c.in[2]->data);
    if (!c.out[1]) {
      if (c.out[2]) kernels().sum({c.out[2]->data, dtype_, {1, out_}, {out_, 1}}, dense(g), 1);
      return;
    }
    const UpdatedWeight target{update, in_};
    const Tensor copy = copies_ ? contiguous(c.in[1]) : Tensor();
    if (c.out[2]) dw_.a_sums = c.out[2]->data;
    if (update) {
      dw_.done = update_rows;
      dw_.done_context = &target;
      std::ranges::copy(update->reads(), dw_.done_reads);
    }
    gemm(dw_, c.out[1]->data, g, (copies_ ? copy : c.in[1])->data);
  }

 private:
  View dense(void* g) const { return {g, dtype_, {n_, out_}, {out_, 1}}; }

  std::int64_t n_, in_, out_;
  DType dtype_;
  bool copies_;
  GemmCall dx_, dw_;  // where they are wanted
};

}  // namespace

// The three gradients of a linear layer in one call; those not wanted stay empty. With a mask, grad counts
// as 0 where its bit is clear: the gradients of relu(linear(input)).
const OpDef linear_backward_op = {
    .schema =
        "linear_backward(Tensor grad, Tensor? input, Tensor? weight, Tensor? mask, int which, int[] size) "
        "-> (Tensor grad_input, Tensor grad_weight, Tensor grad_bias)",
    .cls = Class::Fused,
    .shape =
        [](Call& c) {
          c.in[0] = contiguous(c.in[0]);
          c.n_out = 3;
          const std::int64_t which = c.attrs.i(0), out = c.in[0].shape()[c.in[0].ndim() - 1];
          const Shape& x = c.attrs.list(0);
          const DType d = c.in[0].dtype();
          if (which & 1) c.allocate(0, x, d);
          if (which & 2) c.allocate(1, {out, x[x.ndim - 1]}, d);
          if (which & 4) c.allocate(2, {out}, d);
        },
    .forward = run_once<LinearBackward>,
    .bind = bound<LinearBackward>,
};

namespace {

Tensor flat(const Tensor& t) {  // rows of the last dim
  return t.ndim() == 2 ? t : reshape(t, {rows_of(t.shape()), t.shape()[t.ndim() - 1]});
}

// `mask`: of a ReLU on the result, or null.
void pull_linear(const Record& r, Tensor g, const Tensor& mask, Tensor* gx) {
  const bool bias = r.n_in == 3 && r.needs(2);
  if (!r.taped) {
    Tensor in[] = {std::move(g), r.x(0), r.x(1), mask};
    Call c(linear_backward_op);
    const int which = (r.needs(0) ? 1 : 0) | (r.needs(1) ? 2 : 0) | (bias ? 4 : 0);
    call(c, in, Attrs({which}, {r.shape(0)}));
    for (int i = 0; i < r.n_in; ++i) gx[i] = std::move(c.out[i]);
    return;
  }
  if (mask) g = relu_backward(g, mask);
  if (r.needs(0)) gx[0] = matmul(g, r.x(1));                      // (n×m)·(m×k) → (n×k)
  if (r.needs(1)) gx[1] = matmul(turned(flat(g)), flat(r.x(0)));  // (m×n)·(n×k) → (m×k)
  if (bias) gx[2] = sum(flat(g), {0}, false);
}

void linear_vjp(const Record& r, const Tensor* g, Tensor* gx) { pull_linear(r, g[0], {}, gx); }

void linear_jvp_rule(const Record& r, const Tensor* dx, Tensor* dy) {
  auto add_part = [&](const Tensor& part) { dy[0] = dy[0] ? dy[0] + part : part; };
  if (dx[0]) add_part(matmul(dx[0], turned(r.x(1))));
  if (dx[1]) add_part(matmul(r.x(0), turned(dx[1])));
  if (r.n_in == 3 && dx[2]) {
    Shape shape = r.shape(0);
    shape[shape.ndim - 1] = dx[2].shape()[0];
    add_part(expand(dx[2], shape));
  }
}

void linear_shape(Call& c) {
  one_dtype("linear", c.in);
  const Shape &x = c.in[0].shape(), &w = c.in[1].shape();
  if (x.ndim == 0 || w.ndim != 2 || x[x.ndim - 1] != w[1])
    fail(ErrorKind::Shape,
         "linear: input and weight shapes cannot be multiplied; input "
         "has shape ",
         x, ", weight has shape ", w, ". The last size of input must be the weight's second (in_features)");
  if (c.in[2] && !(c.in[2].shape() == Shape{w[0]}))
    fail(ErrorKind::Shape, "linear: bias has shape ", c.in[2].shape(), ", weight has shape ", w,
         ". bias must have shape (out_features,)");
  Shape y = x;
  y[y.ndim - 1] = w[0];
  c.allocate(0, y, c.in[0].dtype());
}

// With `relu` on the result, whose mask goes to aux where backward may follow.
template <bool kRelu>
class Linear {
 public:
  explicit Linear(const Call& c) {
    const Tensor &x = c.in[0], &weight = c.in[1], &bias = c.in[2];
    copies_ = x.ndim() != 2 && !x.contiguous();
    const std::int64_t rows = rows_of(x.shape());
    const Matrix in = x.ndim() == 2 ? matrix(x) : matrix(x, rows, x.shape()[x.ndim() - 1]);
    call_ = product_of(x.dtype(), matrix(c.out[0], rows, weight.shape()[0]), in, transposed(matrix(weight)));
    call_.relu = kRelu;
    if (bias) call_.bias_stride = bias.strides()[0];
  }
  void run(Call& c, const UpdateParts*) {
    const Tensor copy = copies_ ? contiguous(c.in[0]) : Tensor();
    if (kRelu && c.recording && !c.aux) c.aux = relu_mask(c.out[0]);
    if (c.aux) call_.relu_mask = reinterpret_cast<std::uint64_t*>(c.aux->data);
    if (c.in[2]) call_.bias = c.in[2]->data;
    gemm(call_, c.out[0]->data, (copies_ ? copy : c.in[0])->data, c.in[1]->data);
  }

 private:
  bool copies_;
  GemmCall call_;
};

}  // namespace

const OpDef linear_op = {
    .schema = "linear(Tensor input, Tensor weight, Tensor? bias=None)",
    .doc =
        "input · weightᵀ + bias. input has shape (*, in), weight (out, in), bias (out,); the "
        "result has shape (*, out).",
    .grad_name = "AddmmBackward0",
    .surface = kFunction,
    .cls = Class::Contraction,
    .shape = linear_shape,
    .forward = run_once<Linear<false>>,
    .bind = bound<Linear<false>>,
    .derivative = {linear_vjp, linear_jvp_rule, {kSaveIn1, kSaveIn0, 0}, nullptr},
};

// What Sequential makes of Linear and ReLU: one pass over memory instead of two, forward and backward.
const OpDef linear_relu_op = {
    .schema = "linear_relu(Tensor input, Tensor weight, Tensor? bias=None)",
    .doc = "relu(linear(input, weight, bias)), to the bit.",
    .grad_name = "ReluBackward0",
    .cls = Class::Contraction,
    .shape = linear_shape,
    .forward = run_once<Linear<true>>,
    .bind = bound<Linear<true>>,
    .derivative = {[](const Record& r, const Tensor* g, Tensor* gx) { pull_linear(r, g[0], r.aux, gx); },
                   [](const Record& r, const Tensor* dx, Tensor* dy) {
                     linear_jvp_rule(r, dx, dy);
                     dy[0] = relu_backward(dy[0], r.aux);
                   },
                   {kSaveIn1 | kSaveAux, kSaveIn0 | kSaveAux, kSaveAux},
                   nullptr},
    .first = &linear_op,
    .second = &relu_op,
};

Tensor matmul(const Tensor& a, const Tensor& b) { return call(matmul_op, {a, b}); }
Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias) {
  return call(linear_op, {input, weight, bias});
}
Tensor linear_relu(const Tensor& input, const Tensor& weight, const Tensor& bias) {
  return call(linear_relu_op, {input, weight, bias});
}

std::span<const OpDef* const> matmul_ops() {
  static const OpDef* const ops[] = {&matmul_op, &mm_op,          &product_op,
                                     &linear_op, &linear_relu_op, &linear_backward_op};
  return ops;
}

}  // namespace unspool
