// The pool: every chunk once, exceptions, nesting, many callers, a forked child, and what the CPU
// count reads from cgroups.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "unspool/base/alloc.h"
#include "unspool/base/cpu.h"
#include "unspool/base/cpu_count.h"
#include "unspool/base/error.h"
#include "unspool/base/pool.h"

namespace unspool {
namespace {

template <class F>
void parallel(std::int64_t chunks, const F& f) {
  run_chunks(chunks, 0, [](const void* c, std::int64_t i) { (*static_cast<const F*>(c))(i); }, &f);
}

class PoolTest : public testing::Test {
 protected:
  void TearDown() override {
    set_num_threads(threads_);
    set_parallel_threshold(kParallelWork);
  }

 private:
  int threads_ = get_num_threads();
};

TEST_F(PoolTest, RunsEveryChunkOnce) {
  for (std::int64_t threshold : {std::int64_t{0}, kParallelWork}) {
    set_parallel_threshold(threshold);
    for (int threads : {1, 2, 3, 8})
      for (std::int64_t chunks : {0, 1, 2, 3, 7, 8, 9, 100, 1000}) {
        set_num_threads(threads);
        std::vector<std::atomic<int>> runs(static_cast<std::size_t>(chunks));
        parallel(chunks, [&](std::int64_t i) { ++runs[static_cast<std::size_t>(i)]; });
        for (const auto& n : runs) ASSERT_EQ(n, 1) << threads << " threads, " << chunks << " chunks";
      }
  }
}

TEST_F(PoolTest, TheCallerSeesWhatChunksWrote) {
  set_num_threads(4);
  std::vector<std::int64_t> x(64);
  for (int round = 0; round < 2000; ++round) {
    parallel(64, [&](std::int64_t i) { x[static_cast<std::size_t>(i)] += i + round; });
    ASSERT_EQ(x[63] - x[0], 63 * (round + 1));
  }
}

// Threshold 0: whoever may take part does, so the counter and the set of threads are certain.
TEST_F(PoolTest, UsesAsManyThreadsAsAsked) {
  set_parallel_threshold(0);
  for (int threads : {1, 2, 5}) {
    set_num_threads(threads);
    reset_pool_workers_that_ran();
    std::mutex mutex;
    std::set<std::thread::id> ids;
    parallel(40, [&](std::int64_t) {
      std::lock_guard lock(mutex);
      ids.insert(std::this_thread::get_id());
    });
    EXPECT_EQ(ids.size(), static_cast<std::size_t>(threads));
    EXPECT_TRUE(ids.contains(std::this_thread::get_id()));
    EXPECT_EQ(pool_workers_that_ran(), threads - 1);
  }
  reset_pool_workers_that_ran();
  set_num_threads(8);
  parallel(3, [](std::int64_t) {});  // no more threads than chunks
  EXPECT_EQ(pool_workers_that_ran(), 2);
}

TEST_F(PoolTest, ThrowsTheExceptionOfTheLowestChunk) {
  for (std::int64_t threshold : {std::int64_t{0}, kParallelWork}) {
    set_parallel_threshold(threshold);
    for (int threads : {1, 4}) {
      set_num_threads(threads);
      for (int round = 0; round < 200; ++round) {
        std::atomic<int> below = 0;
        try {
          parallel(50, [&](std::int64_t i) {
            if (i < 17) ++below;
            if (i >= 17 && i % 3 == 2) throw std::out_of_range(std::to_string(i));
          });
          FAIL() << "nothing was thrown";
        } catch (const std::out_of_range& e) {
          ASSERT_STREQ(e.what(), "17");
        }
        ASSERT_EQ(below, 17);
      }
      int sum = 0;  // the pool works on
      parallel(1, [&](std::int64_t) { ++sum; });
      EXPECT_EQ(sum, 1);
    }
  }
}

TEST_F(PoolTest, NestedCallsRunWhereTheyAre) {
  set_parallel_threshold(0);
  set_num_threads(4);
  std::vector<std::atomic<int>> runs(12 * 10);
  parallel(12, [&](std::int64_t i) {
    const std::thread::id own = std::this_thread::get_id();
    parallel(10, [&](std::int64_t j) {
      EXPECT_EQ(std::this_thread::get_id(), own);
      ++runs[static_cast<std::size_t>(i * 10 + j)];
    });
  });
  for (const auto& n : runs) ASSERT_EQ(n, 1);
}

TEST_F(PoolTest, ManyCallersAtOnce) {
  for (std::int64_t threshold : {std::int64_t{0}, kParallelWork}) {
    set_parallel_threshold(threshold);
    set_num_threads(3);
    std::atomic<int> wrong = 0;
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 6; ++caller)
      callers.emplace_back([&wrong] {
        for (int round = 0; round < 300; ++round) {
          std::atomic<std::int64_t> sum = 0;
          parallel(20, [&](std::int64_t i) { sum += i; });
          if (sum != 190) ++wrong;
        }
      });
    for (std::thread& t : callers) t.join();
    EXPECT_EQ(wrong, 0);
  }
}

TEST_F(PoolTest, ThreadsMayChangeWhileOthersWork) {
  std::atomic<bool> stop = false;
  std::thread other([&] {
    for (int n = 1; !stop; n = n % 8 + 1) set_num_threads(n);
  });
  for (int round = 0; round < 2000; ++round) {
    std::atomic<std::int64_t> sum = 0;
    parallel(9, [&](std::int64_t i) { sum += i; });
    ASSERT_EQ(sum, 36);
  }
  stop = true;
  other.join();
}

// Else the bits of an update with FlushSubnormals would depend on who runs it.
TEST_F(PoolTest, WorkersTreatSubnormalsAsTheCallerDoes) {
  set_parallel_threshold(0);
  set_num_threads(4);
  std::vector<float> y(4);
  auto halve = [&](std::int64_t i) {
    volatile float smallest = 1.17549435e-38f;
    y[static_cast<std::size_t>(i)] = smallest * 0.5f;
  };
  parallel(4, halve);
  for (float v : y) EXPECT_GT(v, 0.0f);
  {
    const FlushSubnormals flush;
    parallel(4, halve);
  }
  for (float v : y) EXPECT_EQ(v, 0.0f);
  parallel(4, halve);
  for (float v : y) EXPECT_GT(v, 0.0f);
}

// Exit status of a child that runs f; a child that hangs is ended by its alarm.
template <class F>
int status_of_child(const F& f) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(f());
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

int works_in_child() {
  reset_pool_workers_that_ran();
  std::atomic<std::int64_t> sum = 0;
  parallel(100, [&](std::int64_t i) {
    void* p = allocate(static_cast<std::size_t>(i * 1000));
    sum += i;
    deallocate(p, static_cast<std::size_t>(i * 1000));
  });
  return sum == 4950 && pool_workers_that_ran() == 2 ? 0 : 1;
}

// ThreadSanitizer allows no threads in a forked child; AddressSanitizer's own allocator may be locked
// there for ever (before LLVM 17 and in GCC 12).
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define UNSPOOL_TEST_NO_FORK 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define UNSPOOL_TEST_NO_FORK 1
#endif
#endif
#ifdef UNSPOOL_TEST_NO_FORK
#define NEEDS_FORK() GTEST_SKIP() << "forking with threads does not go with this sanitizer"
#else
#define NEEDS_FORK() (void)0
#endif

TEST_F(PoolTest, AForkedChildHasAPoolOfItsOwn) {
  NEEDS_FORK();
  set_parallel_threshold(0);
  set_num_threads(3);
  parallel(10, [](std::int64_t) {});
  EXPECT_EQ(status_of_child(works_in_child), 0);
  EXPECT_EQ(works_in_child(), 0);  // and the parent keeps its
}

TEST_F(PoolTest, AForkBesideBusyThreadsLeavesNoLockTaken) {
  NEEDS_FORK();
  set_parallel_threshold(0);
  set_num_threads(3);
  std::atomic<bool> stop = false;
  std::thread pool_user([&] {
    while (!stop) parallel(10, [](std::int64_t) {});
  });
  std::thread memory_user([&] {
    while (!stop) deallocate(allocate(1 << 20), 1 << 20);
  });
  for (int i = 0; i < 50; ++i) EXPECT_EQ(status_of_child(works_in_child), 0) << i;
  stop = true;
  pool_user.join();
  memory_user.join();
}

TEST_F(PoolTest, LongWorkLetsOthersRunAndUndividedWorkDoesNot) {
  static int begun, ended;
  begun = ended = 0;
  long_work_hooks = {[]() -> void* {
                       ++begun;
                       return &begun;
                     },
                     [](void*) { ++ended; }};
  auto nothing = [](const void*, std::int64_t) {};
  run_chunks(4, kLongWork - 1, nothing, nullptr);
  EXPECT_EQ(begun, 0);
  run_chunks(4, kLongWork, nothing, nullptr);
  EXPECT_EQ(begun, 1);
  {
    const Undivided whole;
    run_chunks(4, kLongWork, nothing, nullptr);
  }
  EXPECT_EQ(begun, 1);
  auto failing = [](const void*, std::int64_t) { throw std::runtime_error("no"); };
  EXPECT_THROW(run_chunks(4, kLongWork, failing, nullptr), std::runtime_error);
  long_work_hooks = {};
  EXPECT_EQ(begun, 2);
  EXPECT_EQ(ended, 2);
}

// ---- CPUs -------------------------------------------------------------------------------------------

class Cgroups : public testing::Test {
 protected:
  Cgroups() : root_(std::filesystem::path(testing::TempDir()) / ("cgroups" + std::to_string(getpid()))) {}
  ~Cgroups() override { std::filesystem::remove_all(root_); }
  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = root_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  int cpus() const { return cgroup_cpus(root_.string()); }

 private:
  std::filesystem::path root_;
};

TEST_F(Cgroups, WithoutQuotaThereIsNone) {
  EXPECT_EQ(cpus(), 0);
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(cpus(), 0);
}
TEST_F(Cgroups, Version2RoundsUp) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/b/cpu.max", "250000 100000\n");
  EXPECT_EQ(cpus(), 3);
  write("sys/fs/cgroup/a/b/cpu.max", "5000 100000\n");
  EXPECT_EQ(cpus(), 1);
}
TEST_F(Cgroups, TheLowestOfAllLevelsCounts) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/b/cpu.max", "800000 100000\n");
  write("sys/fs/cgroup/a/cpu.max", "200000 100000\n");
  EXPECT_EQ(cpus(), 2);
}
TEST_F(Cgroups, APathOfTheHostFallsBackToTheMount) {
  write("proc/self/cgroup", "0::/system.slice/docker-1.scope\n");
  write("sys/fs/cgroup/cpu.max", "400000 100000\n");
  EXPECT_EQ(cpus(), 4);
}
TEST_F(Cgroups, Version1) {
  write("proc/self/cgroup", "5:memory:/x\n4:cpu,cpuacct:/y\n1:name=systemd:/\n");
  write("sys/fs/cgroup/cpu,cpuacct/y/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu,cpuacct/y/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpus(), 0);
  write("sys/fs/cgroup/cpu,cpuacct/y/cpu.cfs_quota_us", "600000\n");
  EXPECT_EQ(cpus(), 6);
}
TEST_F(Cgroups, ThisProcessMayUseAtLeastOne) { EXPECT_GE(available_cpus(), 1); }

TEST_F(PoolTest, TheDefaultComesFromTheEnvironmentOrTheMachine) {
  setenv("UNSPOOL_NUM_THREADS", "5", 1);
  set_num_threads(0);  // undecided again
  EXPECT_EQ(get_num_threads(), 5);
  for (const char* bad : {"0", "-1", "two", "1.5", "99999999999999999999"}) {
    setenv("UNSPOOL_NUM_THREADS", bad, 1);
    set_num_threads(0);
    EXPECT_THROW(get_num_threads(), Error) << bad;
  }
  unsetenv("UNSPOOL_NUM_THREADS");
  set_num_threads(0);
  EXPECT_EQ(get_num_threads(), available_cpus());
}

}  // namespace
}  // namespace unspool
