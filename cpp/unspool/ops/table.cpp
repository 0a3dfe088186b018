// The table of all ops, in the order in which overloads of one name are tried.
#include <vector>

#include "unspool/ops/blocks.h"

namespace unspool {

std::span<const OpDef* const> op_table() {
  static const std::vector<const OpDef*> table = [] {
    std::vector<const OpDef*> all;
    for (auto ops :
         {unary_ops,        binary_ops,     activation_ops, norm_ops,    relu_ops,        reduce_ops,
          extreme_ops,      matmul_ops,     softmax_ops,    loss_ops,    shape_ops,       part_ops,
          copy_ops,         join_ops,       create_ops,     random_ops,  update_ops,      scalar_math_ops,
          integer_math_ops, statistics_ops, scan_ops,       order_ops,   take_ops,        gather_ops,
          split_ops,        diagonal_ops,   reorder_ops,    product_ops, special_math_ops})
      for (const OpDef* op : ops()) all.push_back(op);
    return all;
  }();
  return table;
}

}  // namespace unspool
