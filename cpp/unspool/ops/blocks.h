// The files of op blocks, each giving the list of its ops to table.cpp.
#pragma once

#include <span>

#include "unspool/ops/op.h"
#include "unspool/ops/ops.h"

namespace unspool {

extern const OpDef relu_op;  // fused with linear

std::span<const OpDef* const> unary_ops();
std::span<const OpDef* const> binary_ops();
std::span<const OpDef* const> activation_ops();
std::span<const OpDef* const> norm_ops();
std::span<const OpDef* const> relu_ops();
std::span<const OpDef* const> reduce_ops();
std::span<const OpDef* const> extreme_ops();
std::span<const OpDef* const> matmul_ops();
std::span<const OpDef* const> softmax_ops();
std::span<const OpDef* const> loss_ops();
std::span<const OpDef* const> shape_ops();
std::span<const OpDef* const> part_ops();
std::span<const OpDef* const> copy_ops();
std::span<const OpDef* const> join_ops();
std::span<const OpDef* const> create_ops();
std::span<const OpDef* const> random_ops();
std::span<const OpDef* const> update_ops();
std::span<const OpDef* const> scalar_math_ops();
std::span<const OpDef* const> integer_math_ops();
std::span<const OpDef* const> special_math_ops();
std::span<const OpDef* const> statistics_ops();
std::span<const OpDef* const> scan_ops();
std::span<const OpDef* const> order_ops();
std::span<const OpDef* const> take_ops();
std::span<const OpDef* const> split_ops();
std::span<const OpDef* const> diagonal_ops();
std::span<const OpDef* const> reorder_ops();
std::span<const OpDef* const> product_ops();
std::span<const OpDef* const> gather_ops();

}  // namespace unspool
