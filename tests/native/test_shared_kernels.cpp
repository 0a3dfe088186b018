// Kernels whose work several threads share: the bits of one thread, for each instruction set; several callers
// at once; and the floating-point control word as it was. ThreadSanitizer's run of .ci/run is this file and
// test_pool.cpp.
#include <gtest/gtest.h>
#include <xmmintrin.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "test_kernels_probe.h"
#include "unspool/base/pool.h"
#include "unspool/kernels/table.h"

namespace unspool {
namespace {

constexpr std::int64_t kRows = 70, kColumns = 45, kSize = kRows * kColumns;

template <class T>
View view(std::vector<T>& data, const Shape& shape) {
  return {data.data(), dtype_of<T>, shape, contiguous_strides(shape)};
}

// Everything that the kernels below read and write.
template <class T>
struct Work {
  std::vector<T> a = numbers(1), b = numbers(2), weight = numbers(3), y = zeros(kSize), more = zeros(kSize);
  std::vector<T> square = zeros(kRows * kRows), blocks = square, row = zeros(kColumns), column = zeros(kRows),
                 one = zeros(1);
  std::vector<T> stats = zeros(2 * kRows);
  std::vector<std::int64_t> labels = std::vector<std::int64_t>(kRows, 3), index = labels;
  std::vector<std::uint64_t> mask = std::vector<std::uint64_t>(kRows);

  static std::vector<T> zeros(std::int64_t n) { return std::vector<T>(static_cast<std::size_t>(n)); }
  static std::vector<T> numbers(unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    std::vector<T> x = zeros(kSize);
    for (T& v : x) v = static_cast<T>(normal(random));
    return x;
  }
  View whole(std::vector<T>& x) { return view(x, {kRows, kColumns}); }

  void run(const KernelTable& k, const ProbeTable& maps) {
    const View x = whole(a), other = whole(b), out = whole(y), extra = whole(more);
    const View by_row = view(column, {kRows, 1}), by_column = view(row, {1, kColumns});
    const View losses = view(column, {kRows}), places = view(index, {kRows, 1});
    const View in[] = {x, other};
    maps.add(out, in, nullptr);
    maps.tanh(extra, &out, nullptr);
    k.copy(out, {a.data(), dtype_of<T>, {kRows, kColumns}, {1, kRows}});  // transposed
    k.sum(by_row, x, 2);
    k.sum(by_column, x, 1);
    k.sum(view(one, {1, 1}), x, 3);
    k.max(by_column, x, 1);
    k.argmax(places, x, 1);
    k.relu(out, x, mask.data());
    k.relu_backward(out, other, mask.data());
    k.softmax(out, x);
    k.softmax_backward(out, other, out);
    const CrossEntropyCall call{.target = labels.data()};
    k.cross_entropy(losses, extra, x, call);
    k.cross_entropy_backward(out, extra, losses, call);
    k.mse(view(one, {1}), x, other, MseReduction::Mean);
    const NormCall norm{
        .x = x, .weight = weight.data(), .bias = b.data(), .stats = stats.data(), .y = y.data(), .eps = 1e-5};
    k.norm_rows(norm);
    k.norm_rows_backward(norm, other, more.data(), y.data());
    k.sgd({.dtype = dtype_of<T>,
           .n = kSize,
           .param = y.data(),
           .grad = b.data(),
           .momentum_buffer = more.data(),
           .lr = 0.1,
           .momentum = 0.9,
           .dampening = 0,
           .weight_decay = 1e-4,
           .nesterov = false,
           .maximize = false,
           .first = false});
    GemmCall product{.dtype = dtype_of<T>,
                     .m = kRows,
                     .n = kRows,
                     .k = kColumns,
                     .a = a.data(),
                     .a_row = kColumns,
                     .a_col = 1,
                     .b = b.data(),
                     .b_row = 1,
                     .b_col = kColumns,
                     .c = square.data(),
                     .c_row = kRows,
                     .c_col = 1};
    k.gemm(product);
    // Panels of A that one thread packs serve another with the next block of B.
    const GemmTrial trial{GemmPath::Columns, 40, 64, 20, false};
    product.trial = &trial;
    product.c = blocks.data();
    k.gemm(product);
  }
  bool operator==(const Work& o) const {
    auto same = [](const auto& u, const auto& v) {
      return std::memcmp(u.data(), v.data(), u.size() * sizeof u[0]) == 0;
    };
    return same(y, o.y) && same(more, o.more) && same(square, o.square) && same(blocks, square) &&
           same(row, o.row) && same(column, o.column) && same(one, o.one) && same(stats, o.stats) &&
           same(index, o.index) && same(mask, o.mask);
  }
};

class SharedKernels : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    table_ = kernel_table(GetParam());
    maps_ = probe_table(GetParam());
    if (table_ == nullptr) GTEST_SKIP() << isa_name(GetParam()) << " is not available here";
  }
  void TearDown() override {
    set_num_threads(threads_);
    set_parallel_threshold(kParallelWork);
  }
  const KernelTable* table_ = nullptr;
  const ProbeTable* maps_ = nullptr;

 private:
  int threads_ = get_num_threads();
};

TEST_P(SharedKernels, HaveTheBitsOfOneThread) {
  Work<float> alone;
  Work<double> alone_wide;
  set_num_threads(1);
  alone.run(*table_, *maps_);
  alone_wide.run(*table_, *maps_);
  set_parallel_threshold(0);
  for (int threads : {2, 3, 8}) {
    set_num_threads(threads);
    reset_pool_workers_that_ran();
    for (int round = 0; round < 5; ++round) {
      Work<float> shared;
      shared.run(*table_, *maps_);
      ASSERT_TRUE(shared == alone) << threads;
      Work<double> wide;
      wide.run(*table_, *maps_);
      ASSERT_TRUE(wide == alone_wide) << threads;
    }
    EXPECT_EQ(pool_workers_that_ran(), threads - 1);
  }
}

TEST_P(SharedKernels, OfSeveralCallersAtOnce) {
  Work<float> alone;
  set_num_threads(1);
  alone.run(*table_, *maps_);
  set_parallel_threshold(0);
  set_num_threads(3);
  std::vector<std::thread> callers;
  std::atomic<int> wrong = 0;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      for (int round = 0; round < 5; ++round) {
        Work<float> work;
        work.run(*table_, *maps_);
        wrong += !(work == alone);
      }
    });
  for (std::thread& t : callers) t.join();
  EXPECT_EQ(wrong, 0);
}

// All of MXCSR but the flags that arithmetic raises.
unsigned control_word() { return _mm_getcsr() & ~0x3fu; }

TEST_P(SharedKernels, LeaveTheControlWordAsItWasInEveryThread) {
  const unsigned before = control_word();
  set_parallel_threshold(0);
  set_num_threads(4);
  Work<float> work;
  for (int round = 0; round < 50; ++round) work.run(*table_, *maps_);  // more than a thousand kernels
  EXPECT_EQ(control_word(), before);
  std::vector<unsigned> words(4);
  auto look = [](const void* context, std::int64_t i) {
    (*static_cast<std::vector<unsigned>* const*>(context))->at(static_cast<std::size_t>(i)) = control_word();
  };
  std::vector<unsigned>* const where = &words;
  run_chunks(4, 0, look, &where);
  for (unsigned word : words) EXPECT_EQ(word, before);
}

INSTANTIATE_TEST_SUITE_P(Isas, SharedKernels, testing::Values(Isa::Generic, Isa::Avx2, Isa::Avx512),
                         [](const auto& info) { return isa_name(info.param); });

}  // namespace
}  // namespace unspool
