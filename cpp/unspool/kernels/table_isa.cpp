// The kernel table of one instruction set. Compiled once for each, with
//   -DUNSPOOL_ISA_NAME=generic
//   -DUNSPOOL_ISA_NAME=avx2    -mavx2 -mfma
//   -DUNSPOOL_ISA_NAME=avx512  -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma
// and always -O3 -ffp-contract=off -fno-math-errno -fvisibility=hidden. The table is the one symbol that
// leaves the object: everything else is in anonymous namespaces (see simd.h).
#include "unspool/kernels/arg_reduce.h"
#include "unspool/kernels/copy.h"
#include "unspool/kernels/gemm.h"
#include "unspool/kernels/loss.h"
#include "unspool/kernels/norm.h"
#include "unspool/kernels/optim.h"
#include "unspool/kernels/reduce.h"
#include "unspool/kernels/relu.h"
#include "unspool/kernels/softmax.h"
#include "unspool/kernels/table.h"

#define UNSPOOL_JOIN2(A, B) A##B
#define UNSPOOL_JOIN(A, B) UNSPOOL_JOIN2(A, B)

namespace unspool {

extern const KernelTable UNSPOOL_JOIN(kernel_table_, UNSPOOL_ISA_NAME);
const KernelTable UNSPOOL_JOIN(kernel_table_, UNSPOOL_ISA_NAME) = {
    .gemm = gemm,
    .copy = copy,
    .fill = fill,
    .gather_rows = gather_rows,
    .sum = reduce_sum,
    .prod = reduce_prod,
    .max = reduce_max,
    .min = reduce_min,
    .any = reduce_any,
    .all = reduce_all,
    .argmax = argmax,
    .argmin = argmin,
    .max_dim = max_dim,
    .min_dim = min_dim,
    .relu = relu,
    .relu_backward = relu_backward,
    .softmax = softmax,
    .log_softmax = log_softmax,
    .softmax_backward = softmax_backward,
    .log_softmax_backward = log_softmax_backward,
    .norm_rows = norm_rows,
    .norm_rows_backward = norm_rows_backward,
    .cross_entropy = cross_entropy,
    .cross_entropy_backward = cross_entropy_backward,
    .cross_entropy_with_gradient = cross_entropy_with_gradient,
    .check_labels = check_labels,
    .mse = mse,
    .mse_with_gradient = mse_with_gradient,
    .mse_backward = mse_backward,
    .sgd = sgd,
    .adam = adam,
    .rmsprop = rmsprop,
};

}  // namespace unspool
