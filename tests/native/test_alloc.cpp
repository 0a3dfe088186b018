// The allocator: size classes, reuse, what the statistics say, and blocks that change threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "unspool/base/alloc.h"
#include "unspool/base/error.h"

// With AddressSanitizer the cache is off, so that a use after free is seen; what tests the cache is
// skipped there.
#if defined(__SANITIZE_ADDRESS__)
#define UNSPOOL_TEST_NO_CACHE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNSPOOL_TEST_NO_CACHE 1
#endif
#endif
#ifdef UNSPOOL_TEST_NO_CACHE
#define NEEDS_CACHE() GTEST_SKIP() << "the cache is off under AddressSanitizer"
#else
#define NEEDS_CACHE() (void)0
#endif

namespace unspool {
namespace {

// On both sides of every border between classes up to 1 MiB, and what lies at the ends.
std::vector<std::size_t> sizes() {
  std::vector<std::size_t> all = {0, 1, 2, 7, 8, 63};
  for (std::size_t power = 64; power <= (1 << 20); power *= 2)
    for (std::size_t quarter = 0; quarter < 4; ++quarter)
      for (std::size_t step : {-1, 0, 1}) all.push_back(power + quarter * power / 4 + step);
  return all;
}

std::int64_t live() { return memory_stats().live_bytes; }
std::int64_t reserved() {
  const MemoryStats s = memory_stats();
  return s.live_bytes + s.cached_bytes;
}
std::int64_t system_calls() { return memory_stats().system_calls; }

TEST(Alloc, BlocksAreAlignedAndLargeEnough) {
  std::int64_t last = 0;
  for (std::size_t bytes : sizes()) {
    const std::int64_t before = live();
    void* p = allocate(bytes);
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p) % kAlignment, 0u) << bytes;
    std::memset(p, 0xa5, bytes);
    const std::int64_t size = live() - before;
    EXPECT_GE(size, static_cast<std::int64_t>(bytes));
    EXPECT_EQ(size % static_cast<std::int64_t>(kAlignment), 0);
    // Four classes a doubling: at most a quarter more, or what alignment asks.
    EXPECT_LE(size, std::max<std::int64_t>(static_cast<std::int64_t>(bytes + bytes / 4) + 64, 64));
    EXPECT_GE(size, last) << "a larger request got a smaller class: " << bytes;
    last = size;
    deallocate(p, bytes);
    EXPECT_EQ(live(), before);
  }
}

TEST(Alloc, BlocksDoNotOverlap) {
  struct Block {
    unsigned char* p;
    std::size_t bytes;
  };
  std::vector<Block> blocks;
  for (int round = 0; round < 8; ++round)
    for (std::size_t bytes : sizes()) {
      if (bytes > 70000) continue;
      auto* p = static_cast<unsigned char*>(allocate(bytes));
      std::memset(p, static_cast<int>(blocks.size() % 251), bytes);
      blocks.push_back({p, bytes});
    }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    for (std::size_t j = 0; j < blocks[i].bytes; ++j)
      ASSERT_EQ(blocks[i].p[j], i % 251) << "block " << i << " of " << blocks[i].bytes << " bytes";
    deallocate(blocks[i].p, blocks[i].bytes);
  }
}

TEST(Alloc, AFreedBlockIsTheNextOne) {
  NEEDS_CACHE();
  std::thread([] {  // whose cache is empty: a full one would pass the block on
    for (std::size_t bytes : {1u, 64u, 100u, 1000u, 5000u, 40000u, 1000000u}) {
      void* p = allocate(bytes);
      deallocate(p, bytes);
      const std::int64_t calls = system_calls();
      void* q = allocate(bytes);
      EXPECT_EQ(p, q) << bytes;
      EXPECT_EQ(system_calls(), calls);
      deallocate(q, bytes);
    }
  })
      .join();
}

TEST(Alloc, StatisticsAddUp) {
  NEEDS_CACHE();
  empty_cache();
  const MemoryStats before = memory_stats();
  void* p = allocate(3 << 20);
  const MemoryStats during = memory_stats();
  EXPECT_EQ(during.live_bytes - before.live_bytes, 3 << 20);
  EXPECT_EQ(during.cached_bytes, before.cached_bytes);
  EXPECT_EQ(during.system_calls, before.system_calls + 1);
  deallocate(p, 3 << 20);
  const MemoryStats after = memory_stats();
  EXPECT_EQ(after.live_bytes, before.live_bytes);
  EXPECT_EQ(after.cached_bytes - before.cached_bytes, 3 << 20);
  empty_cache();
  EXPECT_EQ(memory_stats().cached_bytes, before.cached_bytes);
}

TEST(Alloc, PeakIsTheHighestSinceReset) {
  reset_peak_memory_stats();
  const std::int64_t start = live();
  EXPECT_EQ(memory_stats().peak_bytes, start);
  void* p = allocate(1 << 20);
  void* q = allocate(1 << 20);
  deallocate(p, 1 << 20);
  deallocate(q, 1 << 20);
  EXPECT_EQ(memory_stats().peak_bytes, start + (2 << 20));
  reset_peak_memory_stats();
  EXPECT_EQ(memory_stats().peak_bytes, start);
}

// A slab goes back only when every block of it is free; one that is in use keeps its contents.
TEST(Alloc, EmptyCacheSparesWhatIsInUse) {
  NEEDS_CACHE();
  empty_cache();
  const std::int64_t start = reserved();
  constexpr std::size_t kCount = 20000, kBytes = 200;
  std::vector<unsigned char*> blocks;
  for (std::size_t i = 0; i < kCount; ++i) {
    blocks.push_back(static_cast<unsigned char*>(allocate(kBytes)));
    std::memset(blocks.back(), static_cast<int>(i % 251), kBytes);
  }
  const std::int64_t full = reserved();
  EXPECT_GE(full - start, static_cast<std::int64_t>(kCount * kBytes));
  unsigned char* kept = blocks[kCount / 2];
  for (unsigned char* p : blocks)
    if (p != kept) deallocate(p, kBytes);
  empty_cache();
  EXPECT_LE(reserved() - start, 1 << 18) << "more than the one slab in use stayed";
  for (std::size_t j = 0; j < kBytes; ++j) ASSERT_EQ(kept[j], kCount / 2 % 251);
  // The other blocks of that slab are still handed out, and only once.
  std::vector<void*> again;
  for (int i = 0; i < 2000; ++i) {
    again.push_back(allocate(kBytes));
    ASSERT_NE(again.back(), kept);
    std::memset(again.back(), 0xee, kBytes);
  }
  for (std::size_t j = 0; j < kBytes; ++j) ASSERT_EQ(kept[j], kCount / 2 % 251);
  for (void* p : again) deallocate(p, kBytes);
  deallocate(kept, kBytes);
  empty_cache();
  EXPECT_EQ(reserved(), start);
}

TEST(Alloc, NoSystemCallInTheSteadyState) {
  NEEDS_CACHE();
  std::mt19937 random(1);
  std::vector<std::pair<void*, std::size_t>> held(64, {nullptr, 0});
  const std::vector<std::size_t> all = sizes();
  auto round = [&] {  // the same requests in every round: the seed is set anew
    random.seed(7);
    for (int i = 0; i < 5000; ++i) {
      auto& [p, bytes] = held[random() % held.size()];
      if (p) deallocate(p, bytes);
      bytes = all[random() % all.size()];
      p = allocate(bytes);
    }
    for (auto& [p, bytes] : held) {
      if (p) deallocate(p, bytes);
      p = nullptr;
    }
  };
  round();
  const std::int64_t calls = system_calls(), start = reserved();
  for (int i = 0; i < 20; ++i) round();
  EXPECT_EQ(system_calls(), calls);
  EXPECT_EQ(reserved(), start);
}

// What one thread allocates and another frees comes back to the first: memory does not pile up.
TEST(Alloc, BlocksThatAnotherThreadFreesAreFound) {
  NEEDS_CACHE();
  constexpr std::size_t kCount = 2000;
  const std::array<std::size_t, 4> kBytes = {96, 900, 9000, 90000};
  std::int64_t calls = 0, start = 0;
  for (int round = 0; round < 60; ++round) {
    std::vector<void*> blocks;
    for (std::size_t i = 0; i < kCount; ++i) {
      blocks.push_back(allocate(kBytes[i % 4]));
      static_cast<char*>(blocks.back())[0] = 1;
    }
    std::thread([&] {
      for (std::size_t i = 0; i < kCount; ++i) deallocate(blocks[i], kBytes[i % 4]);
    }).join();
    if (round == 5) {
      calls = system_calls();
      start = reserved();
    }
  }
  EXPECT_EQ(system_calls(), calls);
  EXPECT_EQ(reserved(), start);
  empty_cache();
}

TEST(Alloc, TwoThreadsThatNeverEndPassBlocksAround) {
  NEEDS_CACHE();
  // A producer and a consumer side by side, one mailbox: the consumer's cache must not hoard.
  constexpr int kRounds = 3000, kCount = 100;
  std::array<std::atomic<void*>, kCount> mailbox{};
  std::atomic<std::int64_t> warm{0};
  std::thread consumer([&] {
    for (int round = 0; round < kRounds; ++round)
      for (auto& slot : mailbox) {
        void* p = nullptr;
        while (!(p = slot.exchange(nullptr))) std::this_thread::yield();
        deallocate(p, 300);
      }
  });
  for (int round = 0; round < kRounds; ++round) {
    if (round == 100) warm = reserved();
    for (auto& slot : mailbox) {
      while (slot.load()) std::this_thread::yield();
      slot = allocate(300);
    }
  }
  consumer.join();
  EXPECT_LE(reserved(), warm + (1 << 20));
}

TEST(Alloc, AThreadThatEndsLeavesItsCacheToOthers) {
  NEEDS_CACHE();
  auto work = [] {
    std::vector<void*> blocks;
    for (int i = 0; i < 500; ++i) blocks.push_back(allocate(700));
    for (void* p : blocks) deallocate(p, 700);
  };
  std::thread(work).join();
  const std::int64_t calls = system_calls();
  for (int i = 0; i < 100; ++i) std::thread(work).join();
  EXPECT_EQ(system_calls(), calls);
}

TEST(Alloc, ThreadsDoNotDisturbEachOther) {
  const std::int64_t start = live();
  std::atomic<int> wrong{0};
  auto work = [&](unsigned seed) {
    std::mt19937 random(seed);
    std::vector<std::pair<unsigned char*, std::size_t>> held(100, {nullptr, 0});
    for (int i = 0; i < 20000; ++i) {
      auto& [p, bytes] = held[random() % held.size()];
      if (p) {
        wrong += p[0] != seed || p[bytes - 1] != seed;
        deallocate(p, bytes);
      }
      bytes = 1 + random() % (random() % 8 ? 1200 : 50000);
      p = static_cast<unsigned char*>(allocate(bytes));
      p[0] = p[bytes - 1] = static_cast<unsigned char>(seed);
      if (i % 5000 == 0 && seed == 1) empty_cache();
    }
    for (auto& [p, bytes] : held)
      if (p) deallocate(p, bytes);
  };
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= 4; ++seed) threads.emplace_back(work, seed);
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(live(), start);
}

TEST(Alloc, TooMuchIsAnErrorAndChangesNothing) {
  const MemoryStats before = memory_stats();
  for (std::size_t bytes :
       {std::size_t{1} << 46, std::size_t{1} << 60, std::numeric_limits<std::size_t>::max()}) {
    try {
      allocate(bytes);
      FAIL() << "allocated " << bytes;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::Memory);
      EXPECT_NE(std::string(e.what()).find("allocate"), std::string::npos) << e.what();
    }
  }
  EXPECT_EQ(live(), before.live_bytes);
  EXPECT_EQ(memory_stats().peak_bytes, before.peak_bytes);
}

TEST(Alloc, AWorkspaceFreesItself) {
  const std::int64_t start = live();
  {
    const Workspace none(0), some(1000);
    EXPECT_EQ(none.data(), nullptr);
    ASSERT_NE(some.data(), nullptr);
    std::memset(some.data(), 1, 1000);
    EXPECT_GE(live() - start, 1000);
  }
  EXPECT_EQ(live(), start);
}

}  // namespace
}  // namespace unspool
