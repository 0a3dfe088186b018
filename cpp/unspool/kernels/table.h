// The kernels that are not elementwise maps, as one table of function pointers per instruction set.
// Start at KernelTable. Maps are in map.h, compiled by the layer that owns their functors.
//
// All are pure functions on Views: no allocation, no throw; shapes and dtypes are the caller's to check.
// Strides are free unless said otherwise. Inputs never overlap outputs, save as exact aliases where noted.
#pragma once

#include <cstddef>
#include <cstdint>

#include "unspool/base/cpu.h"
#include "unspool/kernels/view.h"

namespace unspool {

// How gemm.h goes about it. A test forces a path (Direct only where B's rows are contiguous, and neither
// Direct nor Small for a large masked A), the sizes of blocks (Small takes kc alone), and narrow panels.
enum class GemmPath : std::uint8_t { Direct, Small, Rows, Columns };
struct GemmTrial {
  GemmPath path;
  std::int64_t mc, nc, kc;  // mc at least 8, nc at least 64 (16 where narrow), kc at most 128
  bool narrow;              // panels of C as narrow as they can be: a vector, or 8 columns
};

// C = relu(C + A·B + bias), each part but the product on request. (m×k)·(k×n) → (m×n); strides in elements.
// Every element is one chain acc = fma(a[i,p], b[p,j], acc), p = 0..k-1, from acc = 0 (the generic set
// has no fma: multiply, then add); then acc + bias[j]; then c + that; then relu. So the bits of an element
// depend on its row of A, its column of B and k alone. C must not overlap A, B or bias.
//
// What is fused gives the bits of the kernels it replaces: relu and its mask those of `relu` on C, a_sums
// those of `sum` over A's columns.
struct GemmCall {
  DType dtype;  // Float32, Float64, Int32 or Int64
  std::int64_t m, n, k;
  const void* a;
  std::int64_t a_row, a_col;
  const void* b;
  std::int64_t b_row, b_col;
  void* c;
  std::int64_t c_row, c_col;
  const void* bias = nullptr;  // n numbers, or none
  std::int64_t bias_stride = 1;
  bool accumulate = false;
  // From here to a_sums, of floating dtypes only.
  bool relu = false;
  std::uint64_t* relu_mask = nullptr;  // with relu: m rows of n bits in whole words, or not wanted
  void* a_sums = nullptr;              // m numbers: the sums of A's rows, or not wanted
  // Told when elements of C have their final values: rows [i, i + rows) of columns [j, j + columns), each
  // element once, by any of the threads that multiply.
  void (*done)(const void* context, std::int64_t i, std::int64_t j, std::int64_t rows,
               std::int64_t columns) = nullptr;
  const void* done_context = nullptr;
  const void* done_reads[2] = {};  // what it looks at, element by element as C lies, or nullptr
  const GemmTrial* trial = nullptr;
};

enum class MseReduction : std::uint8_t { None, Mean, Sum };

struct SgdCall {
  DType dtype;
  std::int64_t n;
  void* param;
  const void* grad;
  void* momentum_buffer;  // or nullptr where momentum is 0
  double lr, momentum, dampening, weight_decay;
  bool nesterov, maximize;
  bool first;  // the buffer starts as a copy of the gradient
  std::int64_t begin = 0, rows = 1,
               apart = 0;  // rows of n elements from `begin` on, so many from one to the next
};

struct AdamCall {
  DType dtype;
  std::int64_t n;
  void* param;
  const void* grad;
  void* exp_avg;
  void* exp_avg_sq;
  void* max_exp_avg_sq;  // or nullptr: no amsgrad
  double lr, beta1, beta2, eps, weight_decay;
  bool maximize;
  bool decoupled;  // AdamW
  double step;     // counted from 1
  std::int64_t begin = 0, rows = 1,
               apart = 0;  // rows of n elements from `begin` on, so many from one to the next
};

struct RmspropCall {
  DType dtype;
  std::int64_t n;
  void* param;
  const void* grad;
  void* square_avg;
  void* momentum_buffer;  // or nullptr where momentum is 0
  void* grad_avg;         // or nullptr: not centered
  double lr, alpha, eps, weight_decay, momentum;
  bool maximize;
  std::int64_t begin = 0, rows = 1,
               apart = 0;  // rows of n elements from `begin` on, so many from one to the next
};

// What cross_entropy and its backward share. Class weights multiply a row's loss; a row whose target is
// ignore_index has loss 0 and gradient 0. Targets have been checked with check_labels.
struct CrossEntropyCall {
  const std::int64_t* target;
  const View* weight = nullptr;  // one number a class, dtype of the logits, or none
  std::int64_t ignore_index = -100;
  double label_smoothing = 0;
};

// Normalised rows, see norm.h: contiguous, of one dtype. x is (rows×n), weight and bias n numbers each or
// none (a bias needs a weight), stats mean and rstd of each row.
struct NormCall {
  View x;
  const void* weight = nullptr;
  const void* bias = nullptr;
  void* stats = nullptr;
  void* y = nullptr;
  double eps = 0;
  bool centered = true;
};

struct KernelTable {
  // --- contractions
  void (*gemm)(const GemmCall& call);

  // --- data movement. copy converts between any two dtypes as C does, x86's way out of range.
  void (*copy)(const View& out, const View& in);
  void (*fill)(const View& out, double value, std::int64_t ivalue);  // ivalue for bool and integers
  // out[i] = in row index[i]; a row is row_bytes of contiguous memory. Indices have been checked.
  void (*gather_rows)(void* out, const void* in, std::int64_t row_bytes, std::int64_t in_row_stride_bytes,
                      const std::int64_t* index, std::int64_t n);

  // --- reductions: out has in's ndim, with size 1 in the dims of dim_mask (bit d = dim d).
  // The order of additions is a function of the shape alone: see reduce.h.
  void (*sum)(const View& out, const View& in, std::uint32_t dim_mask);   // bool, ints → int64
  void (*prod)(const View& out, const View& in, std::uint32_t dim_mask);  // bool, ints → int64
  void (*max)(const View& out, const View& in, std::uint32_t dim_mask);   // NaN wins
  void (*min)(const View& out, const View& in, std::uint32_t dim_mask);
  void (*any)(const View& out, const View& in, std::uint32_t dim_mask);  // → bool
  void (*all)(const View& out, const View& in, std::uint32_t dim_mask);
  // One dim, of size >= 1; the first of equals, the first NaN if there is one.
  void (*argmax)(const View& out, const View& in, int dim);  // → int64
  void (*argmin)(const View& out, const View& in, int dim);
  void (*max_dim)(const View& values, const View& indices, const View& in, int dim);
  void (*min_dim)(const View& values, const View& indices, const View& in, int dim);

  // --- ReLU. y = x < 0 ? 0 : x: NaN and -0 pass. A set mask bit is !(x <= 0). Rows are the product of
  // the leading dims, columns the last; each row of bits is padded to whole words. out may be in / g.
  void (*relu)(const View& out, const View& in, std::uint64_t* mask);  // mask may be nullptr
  void (*relu_backward)(const View& out, const View& g, const std::uint64_t* mask);

  // --- softmax over the last of two dims, shifted by the maximum; out may be in (or g).
  void (*softmax)(const View& out, const View& in);
  void (*log_softmax)(const View& out, const View& in);
  void (*softmax_backward)(const View& out, const View& g, const View& y);
  void (*log_softmax_backward)(const View& out, const View& g, const View& y);

  // --- normalisations. norm_rows writes y and stats; its backward reads stats and writes the gradient of x,
  // and g·x̂ for that of weight, each unless it is nullptr. g has x's shape.
  void (*norm_rows)(const NormCall& call);
  void (*norm_rows_backward)(const NormCall& call, const View& g, void* gx, void* products);

  // --- losses. cross_entropy: losses (rows) and log_probs (rows×classes) from logits (rows×classes);
  // the caller reduces. Its backward takes one upstream gradient a row (already divided for a mean).
  void (*cross_entropy)(const View& losses, const View& log_probs, const View& logits,
                        const CrossEntropyCall& call);
  void (*cross_entropy_backward)(const View& grad_logits, const View& log_probs, const View& g,
                                 const CrossEntropyCall& call);
  // Both, row by row.
  void (*cross_entropy_with_gradient)(const View& losses, const View& log_probs, const View& logits,
                                      const View& grad_logits, const View& g, const CrossEntropyCall& call);
  // The first i with t[i] outside [0, classes) and not ignore_index, or -1.
  std::int64_t (*check_labels)(const std::int64_t* t, std::int64_t n, std::int64_t classes,
                               std::int64_t ignore_index);
  // (a - b)² for each element, or its sum or mean into a 0-d (or one-element) out.
  void (*mse)(const View& out, const View& a, const View& b, MseReduction reduction);
  // The sum or mean, and mse_backward's `grad` of it for an upstream of one number, in one sweep of dense
  // arrays.
  void (*mse_with_gradient)(const View& out, const View& grad, const View& a, const View& b,
                            MseReduction reduction, double scale, const View& g);
  // out = 2 (a - b) scale g, with g broadcast to out's shape by strides of 0.
  void (*mse_backward)(const View& out, const View& a, const View& b, double scale, const View& g);

  // --- optimizer updates on contiguous arrays, in PyTorch's order of roundings.
  void (*sgd)(const SgdCall& call);
  void (*adam)(const AdamCall& call);
  void (*rmsprop)(const RmspropCall& call);
};

// The table of chosen_isa(), chosen once; throws what chosen_isa() throws.
const KernelTable& kernels();

// For tests: nullptr where the CPU or this build lacks it.
const KernelTable* kernel_table(Isa isa);

}  // namespace unspool
