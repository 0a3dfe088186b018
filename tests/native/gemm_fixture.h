// What the tests of the matrix product share: one instruction set's table, and a call that looks at its
// memory.
#pragma once

#include <gtest/gtest.h>

#include "unspool/base/alloc.h"
#include "unspool/kernels/table.h"

namespace unspool {

class Gemm : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    table_ = kernel_table(GetParam());
    if (table_ == nullptr) GTEST_SKIP() << isa_name(GetParam()) << " is not available here";
  }
  void run(GemmCall call) {
    reset_peak_memory_stats();
    const std::int64_t before = memory_stats().live_bytes;
    table_->gemm(call);
    ASSERT_LE(memory_stats().peak_bytes - before, std::int64_t{4} << 20);
  }
  const KernelTable* table_ = nullptr;
};

// Every path but the direct one, in blocks that sizes of 33 cross.
inline constexpr GemmTrial kSmallBlocks[] = {{GemmPath::Small, 16, 32, 5, true},
                                             {GemmPath::Rows, 16, 32, 5, true},
                                             {GemmPath::Columns, 16, 32, 5, true}};

}  // namespace unspool
