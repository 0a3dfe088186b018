// What the tests of the matrix product share: one instruction set's table, and a call with its workspace.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>

#include "unspool/kernels/table.h"

namespace unspool {

struct Aligned {
  explicit Aligned(std::size_t n) : p(n == 0 ? nullptr : std::aligned_alloc(64, (n + 63) / 64 * 64)) {}
  ~Aligned() { std::free(p); }
  Aligned(const Aligned&) = delete;
  void* p;
};

class Gemm : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    table_ = kernel_table(GetParam());
    if (table_ == nullptr) GTEST_SKIP() << isa_name(GetParam()) << " is not available here";
  }
  void run(GemmCall call) {
    const std::size_t bytes = table_->gemm_workspace(call);
    ASSERT_LE(bytes, std::size_t{4} << 20);
    Aligned workspace(bytes);
    call.workspace = workspace.p;
    table_->gemm(call);
  }
  const KernelTable* table_ = nullptr;
};

// Every path but the direct one, in blocks that sizes of 33 cross.
inline constexpr GemmTrial kSmallBlocks[] = {{GemmPath::Small, 16, 32, 5, true},
                                             {GemmPath::Rows, 16, 32, 5, true},
                                             {GemmPath::Columns, 16, 32, 5, true}};

}  // namespace unspool
