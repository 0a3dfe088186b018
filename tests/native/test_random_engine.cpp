// The generator: its words, seeds, copies and states. Hashes of states are those that PyTorch 2.13.0 (CPU)
// gave.
#include <gtest/gtest.h>

#include <cstring>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include "random_draws.h"

namespace unspool {
namespace {

TEST(Random, WordsAreThoseOfMt19937) {
  std::mt19937 reference(5489);
  Generator g(5489);
  for (int i = 0; i < 10000; ++i) ASSERT_EQ(g.next32(), reference()) << i;
  const std::uint32_t seed42[] = {1608637542u, 3421126067u, 4083286876u,
                                  787846414u,  3143890026u, 3348747335u};
  g.manual_seed(42);
  for (std::uint32_t word : seed42) EXPECT_EQ(g.next32(), word);
  g.manual_seed(42);
  EXPECT_EQ(g.next64(), (std::uint64_t{1608637542u} << 32) | 3421126067u);
}

TEST(Random, BlocksOfAnySizeAreTheSameWords) {
  Generator one(1), many(1);
  std::vector<std::uint32_t> words(2000);
  for (std::int64_t n : {1, 3, 623, 624, 625, 2, 0, 1249, 7}) {
    many.fill32(words.data(), n);
    for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(words[i], one.next32()) << n << " " << i;
    ASSERT_EQ(many.next32(), one.next32());
    ASSERT_EQ(hash(many), hash(one));
  }
}

TEST(Random, SeedsReachTheEngineByTheirLowHalf) {
  Generator a(7), b((std::uint64_t{5} << 32) + 7);
  EXPECT_EQ(a.next32(), b.next32());
  EXPECT_EQ(b.initial_seed(), (std::uint64_t{5} << 32) + 7);
  EXPECT_EQ(Generator().initial_seed(), 67280421310721u);
  EXPECT_EQ(&default_generator(), &default_generator());
  EXPECT_EQ(Generator().initial_seed(), 67280421310721u);
  std::set<std::uint64_t> seeds;
  for (int i = 0; i < 4; ++i) {
    const std::uint64_t seed = a.seed();
    EXPECT_EQ(seed, a.initial_seed());
    EXPECT_LT(seed, std::uint64_t{1} << 53);
    Generator again(seed);
    EXPECT_EQ(again.next32(), a.next32());
    seeds.insert(seed);
  }
  EXPECT_EQ(seeds.size(), 4u);
}

TEST(Random, CopiesContinueOnTheirOwn) {
  Generator a(3);
  normal<float>(a, 5);  // leaves a kept normal
  Generator b = a;
  EXPECT_EQ(hash(a), hash(b));
  const auto from_a = normal<float>(a, 40);
  EXPECT_EQ(from_a, normal<float>(b, 40));
  b.next32();
  a = b;
  EXPECT_EQ(a.next64(), b.next64());
  const std::lock_guard<std::mutex> hold(a.mutex());
  EXPECT_TRUE(b.mutex().try_lock());
  b.mutex().unlock();
}

TEST(Random, StateHasPyTorchsBytes) {
  Generator g(3);
  EXPECT_EQ(hash(g), 0xf6bab29220961f65u);
  normal<float>(g, 2);
  EXPECT_EQ(hash(g), 0xc968d58669a06a6bu);
  uniform<float>(g, 622);
  EXPECT_EQ(hash(g), 0xb67630591fef1d80u);
  normal<float>(g, 1);  // the kept normal lies at 5024, its flag at 5040
  const auto state = g.get_state();
  double kept;
  std::memcpy(&kept, state.data() + 5024, sizeof kept);
  EXPECT_NEAR(kept, 0.64285828, 1e-8);
  EXPECT_EQ(state[5040], 1);
  g.manual_seed(3);
  uniform<float>(g, 624);
  EXPECT_EQ(hash(g), 0xb06e50645d4ecfd7u);
  EXPECT_EQ(hash(Generator(~std::uint64_t{0})), 0x6c31680f074856a2u);
}

TEST(Random, StateRoundTrips) {
  for (int before : {0, 1, 16, 300, 623, 624, 625, 1300}) {
    Generator a(static_cast<std::uint64_t>(before)), b(99);
    uniform<float>(a, static_cast<std::size_t>(before));
    if (before % 2) normal<float>(a, 1);
    a.keep_normal_float(before % 2 ? std::optional<float>(0.5f) : std::nullopt);
    const auto state = a.get_state();
    b.set_state(state.data(), state.size());
    EXPECT_EQ(b.get_state(), state);
    EXPECT_EQ(b.initial_seed(), a.initial_seed());
    EXPECT_EQ(b.kept_normal_float(), a.kept_normal_float());
    EXPECT_EQ(normal<double>(b, 7), normal<double>(a, 7));
    EXPECT_EQ(uniform<float>(b, 700), uniform<float>(a, 700));
    EXPECT_EQ(hash(b), hash(a));
  }
}

TEST(Random, ImpossibleStatesAreRefusedAndChangeNothing) {
  Generator g(4);
  uniform<float>(g, 10);
  const auto good = g.get_state();
  EXPECT_THROW(g.set_state(good.data(), 5048), Error);
  EXPECT_THROW(g.set_state(good.data(), 0), Error);
  EXPECT_THROW(g.set_state(Generator::State{}.data(), 5056), Error);
  struct {
    std::size_t at;
    std::uint8_t value;
  } const breaks[] = {
      {8, 0},     // left 0, with its high byte below
      {9, 0xff},  // left far above 624
      {12, 0},    // not seeded
      {16, 200},  // left + next > 625: a read behind the words
      {23, 1},    // next beyond 32 bits
  };
  for (const auto& b : breaks) {
    auto bad = good;
    bad[b.at] = b.value;
    if (b.at == 8) bad[9] = 0;
    EXPECT_THROW(g.set_state(bad.data(), bad.size()), Error) << b.at;
    EXPECT_EQ(g.get_state(), good) << b.at;
  }
}

}  // namespace
}  // namespace unspool
