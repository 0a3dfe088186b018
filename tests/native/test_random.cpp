// The random stream against reference values printed by PyTorch 2.13.0 (CPU). A line above each table says
// what was run. Uniforms, integers and float32 normals of 16 or more are compared bit by bit; what passes
// through the C library's log, sin and cos (float64, and fewer than 16) to a few last places.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "random_draws.h"

namespace unspool {
namespace {

// ---- Uniforms

// torch.rand(n, generator=G(42)); torch.empty(n).uniform_(-0.37, 0.61, generator=G(7))
const std::vector<float> kRand32 = {0.88226926f, 0.91500396f, 0.38286376f,
                                    0.95930564f, 0.3904482f,  0.60089535f};
const std::vector<double> kRand64 = {0.05815448596142969, 0.06291016742457756, 0.12358607277440903,
                                     0.05258016436107704};
const std::vector<float> kRandRange32 = {0.1542241f,  -0.17517288f, 0.27602747f,
                                         0.27375248f, -0.14189367f, 0.04656018f};
const std::vector<double> kRandRange64 = {-0.09620717869172409, -0.10178016062126967, 0.47485110218927296};

TEST(Random, UniformsAreEqualToTheBit) {
  EXPECT_EQ(uniform<float>(42, 6), kRand32);
  EXPECT_EQ(uniform<double>(42, 4), kRand64);
  EXPECT_EQ(uniform<float>(7, 6, -0.37, 0.61), kRandRange32);
  EXPECT_EQ(uniform<double>(7, 3, -0.37, 0.61), kRandRange64);
}

TEST(Random, UniformsRoundedUpToTheUpperBoundBecomeTheLower) {
  for (float x : uniform<float>(1, 1000, 1.0, 1.0 + 0x1p-23)) EXPECT_EQ(x, 1.0f);
  for (double x : uniform<double>(1, 100, 3.0, 3.0)) EXPECT_EQ(x, 3.0);
}

// ---- Normals

// torch.randn(n, generator=G(123)); of 100 the elements 0, 1, 8, 83, 84, 91, 92, 99
const std::vector<float> kRandn32_1 = {-0.111467116f};
const std::vector<float> kRandn32_5 = {-0.111467116f, 0.120362945f, -0.3696345f, -0.24041797f, -1.1969243f};
const std::vector<float> kRandn32_15 = {-0.111467116f, 0.120362945f, -0.3696345f, -0.24041797f, -1.1969243f,
                                        0.20926936f,   -0.972355f,   -0.7550455f, 0.32390276f,  -0.10852263f,
                                        0.21033116f,   -0.39084283f, 0.23497342f, 0.66526043f,  0.35282075f};
const std::vector<float> kRandn32_16 = {0.3373702f,  -0.17777722f, -0.3035276f,  -0.58801186f,
                                        0.3486052f,  0.66034096f,  -0.21963762f, -0.37916982f,
                                        0.76710707f, -1.192502f,   0.6983519f,   -1.4097229f,
                                        0.17937961f, 1.895148f,    0.49544638f,  0.26919857f};
const std::vector<float> kRandn32_17 = {0.3373702f,  -1.0204719f, -0.16895628f, 0.9177646f,   1.5809696f,
                                        1.3010399f,  1.2753012f,  -0.2009531f,  -0.16056378f, -1.5723042f,
                                        0.96657157f, -1.148144f,  -1.1588678f,  0.325471f,    -0.63150537f,
                                        -2.839994f,  -0.78485334f};
const std::vector<float> kRandn32_31 = {
    0.3373702f,   -0.17777722f, -0.3035276f, -0.58801186f, 0.3486052f,  0.66034096f, -0.21963762f,
    -0.37916982f, 0.76710707f,  -1.192502f,  0.6983519f,   -1.4097229f, 0.17937961f, 1.895148f,
    0.49544638f,  -1.6032702f,  -1.3249574f, 0.17842844f,  -2.133753f,  1.0523578f,  -0.38848308f,
    -0.9343459f,  -0.4991441f,  -0.3378388f, 0.8805443f,   1.5541586f,  0.62661606f, -0.1754872f,
    0.098283775f, -0.09350743f, 0.26621473f};
const std::vector<float> kRandn32_100 = {0.3373702f,   -0.17777722f, 0.76710707f, 0.8272309f,
                                         -0.03186124f, -2.3244457f,  -2.0628176f, -0.8956808f};
const std::vector<double> kRandn64_5 = {-0.11146711634581082, 0.12036294405744884, -0.36963450886574944,
                                        -0.24041797675874255, -1.1969243846077398};
const std::vector<double> kRandn64_16 = {
    0.9097575322111796,  0.1537571881236119,  0.6343517383098118,  0.3665487366903596,
    0.37665067350806597, 0.22516456274114774, 0.4647596049729213,  -1.0580022026417297,
    -0.304811494629474,  0.0571916377536726,  -1.1787689036401106, 0.24509691414600168,
    1.0663793020458803,  1.1940362498157249,  1.2814664862959024,  0.6294435988587436};
const std::vector<double> kRandn64_17 = {
    0.9097575322111796,  -0.7768207765886559, 1.2984201811768417,   -0.6320258915933381, -0.7536409539336731,
    0.09738460503778217, -1.033437355203513,  0.1820242728888219,   -1.07450517806488,   0.4280378366134727,
    -0.4843799126310121, 0.06734048342891773, -0.12594094733194452, 1.4189603684597678,  -1.1131899891860184,
    0.954244852808496,   0.7112651202756335};
// torch.empty(18).normal_(-1.5, 0.25, generator=G(9))
const std::vector<float> kNormal32 = {-1.7668487f, -1.6793113f, -1.2616453f, -1.426308f,  -1.1210301f,
                                      -1.8815213f, -1.8852327f, -1.6979022f, -1.2905864f, -1.4599379f,
                                      -1.6318494f, -1.8455107f, -1.568616f,  -1.7642279f, -1.8926342f,
                                      -1.8538345f, -1.6736331f, -1.5883031f};

TEST(Random, NormalsOfFewElementsComeInScalarPairs) {
  expect_near(normal<float>(123, 1), kRandn32_1);
  expect_near(normal<float>(123, 5), kRandn32_5);
  expect_near(normal<float>(123, 15), kRandn32_15);
  expect_near(normal<double>(123, 5), kRandn64_5);
}

TEST(Random, NormalsOfManyElementsComeInBlocks) {
  EXPECT_EQ(normal<float>(123, 16), kRandn32_16);
  EXPECT_EQ(normal<float>(123, 17), kRandn32_17);
  EXPECT_EQ(normal<float>(123, 31), kRandn32_31);
  EXPECT_EQ(normal<float>(9, 18, -1.5, 0.25), kNormal32);
  const auto x = normal<float>(123, 100);
  EXPECT_EQ((std::vector<float>{x[0], x[1], x[8], x[83], x[84], x[91], x[92], x[99]}), kRandn32_100);
  expect_near(normal<double>(123, 16), kRandn64_16);
  expect_near(normal<double>(123, 17), kRandn64_17);
}

// The polynomials against the C library, over the blocks of a long stream.
TEST(Random, BlockNormalsAreCloseToTheFormula) {
  constexpr std::size_t kN = 16 * 20000;
  const auto u = uniform<float>(8, kN), z = normal<float>(8, kN);
  double worst = 0;
  for (std::size_t i = 0; i < kN; i += 16)
    for (std::size_t j = 0; j < 8; ++j) {
      const double radius = std::sqrt(-2 * std::log(1 - double(u[i + j])));
      const double angle = 2 * std::acos(-1.0) * u[i + j + 8];
      worst = std::max({worst, std::abs(z[i + j] - radius * std::cos(angle)),
                        std::abs(z[i + j + 8] - radius * std::sin(angle))});
    }
  EXPECT_LT(worst, 2e-6);
}

// torch.empty(4, 5).t().normal_(generator=G(11)), uniform_; torch.empty(3, 8)[:, ::2].normal_
const std::vector<float> kRandnTransposed = {
    0.7376295f,  -0.26961955f, 1.5011879f,  0.11565449f,  1.9459292f,    0.24618466f, -0.31357366f,
    0.3834065f,  -0.6995416f,  0.48392528f, -0.23428439f, -0.123415865f, -1.3022974f, 0.4504178f,
    -1.0713092f, 0.8928815f,   -0.5132622f, -0.9568334f,  0.16479844f,   -0.48905605f};
const std::vector<float> kRandTransposed = {0.14904171f, 0.69359916f, 0.26933777f, 0.50242597f, 0.48655313f,
                                            0.5830849f,  0.7824569f,  0.10250282f, 0.9856615f,  0.12843776f,
                                            0.2718876f,  0.7599972f,  0.16840142f, 0.57212263f, 0.4632318f,
                                            0.8035419f,  0.5839434f,  0.92483944f, 0.76713085f, 0.76529676f};
const std::vector<float> kRandnStep = {0.7376295f,  1.9459292f,   -0.6995416f, -1.3022974f,
                                       -0.5132622f, -0.26961955f, 0.24618466f, 0.48392528f,
                                       0.4504178f,  -0.9568334f,  1.5011879f,  -0.31357366f};

TEST(Random, StridedTensorsAreFilledInMemoryOrder) {
  std::vector<float> memory(20);
  const View transposed{memory.data(), DType::Float32, {5, 4}, {1, 5}};
  auto in_index_order = [&] {
    std::vector<float> x;
    for (int i = 0; i < 5; ++i)
      for (int j = 0; j < 4; ++j) x.push_back(memory[i + 5 * j]);
    return x;
  };
  Generator g(11);
  fill_normal(g, transposed);  // 20 elements, but not contiguous: scalar pairs
  expect_near(in_index_order(), kRandnTransposed);
  g.manual_seed(11);
  fill_uniform(g, transposed);
  EXPECT_EQ(in_index_order(), kRandTransposed);

  std::vector<float> gaps(24, -9.0f), got;
  g.manual_seed(11);
  fill_normal(g, {gaps.data(), DType::Float32, {3, 4}, {8, 2}});
  for (int i = 0; i < 24; ++i) {
    if (i % 2 == 0)
      got.push_back(gaps[i]);
    else
      EXPECT_EQ(gaps[i], -9.0f);
  }
  expect_near(got, kRandnStep);
}

// Every layout's memory, read in memory order, is the flat stream: also over the inner chunk's size.
TEST(Random, LayoutsShareOneStream) {
  std::vector<float> flat(2 * 3 * 700), memory(2 * flat.size());
  Generator g(21);
  fill_uniform(g, view(flat), 1, 3);
  const View layouts[] = {{memory.data(), DType::Float32, {3, 700, 2}, {700, 1, 2100}},
                          {memory.data(), DType::Float32, {700, 1, 6}, {12, 5, 2}},
                          {memory.data(), DType::Float32, {6, 700}, {2, 12}}};
  const int steps[] = {1, 2, 2};
  for (int k = 0; k < 3; ++k) {
    std::fill(memory.begin(), memory.end(), -1.0f);
    g.manual_seed(21);
    fill_uniform(g, layouts[k], 1, 3);
    for (std::size_t i = 0; i < flat.size(); ++i) ASSERT_EQ(memory[i * steps[k]], flat[i]) << k << " " << i;
  }
}

TEST(Random, EmptyDrawsNothingAndScalarsDrawOne) {
  Generator g(5), h(5);
  float x = -1;
  fill_uniform(g, {&x, DType::Float32, {0}, {1}});
  fill_normal(g, {&x, DType::Float32, {3, 0, 2}, {0, 2, 1}});
  fill_random(g, {nullptr, DType::Int64, {0}, {1}});
  fill_randperm(g, nullptr, 0);
  EXPECT_EQ(x, -1);
  EXPECT_EQ(hash(g), hash(h));
  fill_uniform(g, {&x, DType::Float32, {}, {}});
  EXPECT_EQ(x, uniform<float>(5, 1)[0]);
  fill_uniform(g, {&x, DType::Float32, {1, 1}, {0, 7}});
  EXPECT_EQ(x, uniform<float>(5, 2)[1]);
}

// g = G(77): randn(3), rand(2), randn(2, dtype=float64), randn(16)[:3], randn(1), randint(10, (4,)),
// randperm(6), randn(2)
const std::vector<float> kInter1 = {-0.35683775f, 0.6007267f, -0.69678074f};
const std::vector<float> kInter2 = {0.35380363f, 0.33468205f};
const std::vector<double> kInter3 = {-0.5241932044872339, 1.1841595343819378};
const std::vector<float> kInter4 = {1.016883f, 0.44853637f, 0.43312111f};
const std::vector<float> kInter5 = {-2.2127287f};
const std::vector<std::int64_t> kInter6 = {0, 1, 3, 8};
const std::vector<std::int64_t> kInter7 = {2, 0, 1, 3, 5, 4};
const std::vector<float> kInter8 = {-0.39781198f, -0.6937223f};

TEST(Random, TheKeptNormalOutlivesOtherDraws) {
  Generator g(77);
  expect_near(normal<float>(g, 3), kInter1);
  EXPECT_EQ(uniform<float>(g, 2), kInter2);
  expect_near(normal<double>(g, 2), kInter3);  // the first one was kept by the float32 draw
  auto block = normal<float>(g, 16);
  block.resize(3);
  EXPECT_EQ(block, kInter4);
  expect_near(normal<float>(g, 1), kInter5);  // kept since the float64 draw
  std::vector<std::int64_t> x(4), order(6);
  fill_randint(g, view(x), 0, 10);
  EXPECT_EQ(x, kInter6);
  fill_randperm(g, order.data(), 6);
  EXPECT_EQ(order, kInter7);
  expect_near(normal<float>(g, 2), kInter8);
  EXPECT_FALSE(g.kept_normal());
  EXPECT_EQ(hash(g), 0x19fb009052c14d28u);
}

// ---- Integers

// torch.empty(4, dtype=int64).random_(low, high, generator=G(1)); 2^28 is where 64-bit draws begin
TEST(Random, Integers) {
  using Ints = std::vector<std::int64_t>;
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min(), kMax = -(kMin + 1);
  auto draw = [](std::int64_t low, std::optional<std::int64_t> high) {
    return randint<std::int64_t>(1, 4, low, high);
  };
  EXPECT_EQ(draw(0, 10), (Ints{5, 9, 4, 8}));
  EXPECT_EQ(draw(-5, 7), (Ints{-4, 6, -5, 3}));
  EXPECT_EQ(draw(0, 268435455), (Ints{180483115, 256344314, 140980119, 247206998}));
  EXPECT_EQ(draw(0, 268435456), (Ints{256344299, 247206984, 13419401, 264314501}));
  EXPECT_EQ(draw(0, std::int64_t{1} << 32), (Ints{4282876139, 4005303368, 550290313, 4290846341}));
  EXPECT_EQ(draw(-(std::int64_t{1} << 40), std::int64_t{1} << 50),
            (Ints{925951987253483, 317264649524296, 981860138926985, 657284610989701}));
  EXPECT_EQ(draw(kMin, kMax),
            (Ints{-1530673954295414549, 4064269471072392264, -9221262077785750647, -3646320530140619131}));
  EXPECT_EQ(randint<std::int64_t>(1, 2, kMin, std::nullopt),
            (Ints{7692698082559361259, -5159102565782383544}));
  EXPECT_EQ(randint<float>(1, 6, 16777215, 16777219),
            (std::vector<float>{16777216, 16777218, 16777215, 16777215, 16777218, 16777216}));
  EXPECT_EQ(randint<float>(1, 3, -(std::int64_t{1} << 40), std::int64_t{1} << 50),
            (std::vector<float>{926410017341440, 318055850704896, 981860192616448}));
  EXPECT_EQ(randint<std::uint8_t>(1, 4, 5, std::nullopt), (std::vector<std::uint8_t>{10, 143, 102, 240}));
}

// torch.empty(4, dtype=...).random_(generator=G(1))
TEST(Random, UnboundedIntegers) {
  EXPECT_EQ(random<std::int64_t>(1), (std::vector<std::int64_t>{7692698082559361259, 4064269471072392264,
                                                                2109959069025161, 5577051506714156677}));
  EXPECT_EQ(random<std::int32_t>(1),
            (std::vector<std::int32_t>{1791095845, 2135392491, 946286476, 1857819720}));
  EXPECT_EQ(random<std::uint8_t>(1), (std::vector<std::uint8_t>{37, 235, 140, 72}));
  EXPECT_EQ(random<float>(1), (std::vector<float>{12710843, 4685804, 6762196, 12325722}));
  EXPECT_EQ(random<double>(1),
            (std::vector<double>{549919010553237, 2022607184203397, 2109959069025161, 1595168029482010}));
  bool flags[4];
  Generator g(1);
  fill_random(g, {flags, DType::Bool, {4}, {1}});
  EXPECT_EQ((std::vector<int>(flags, flags + 4)), (std::vector<int>{1, 1, 0, 0}));
}

// torch.randperm(12, generator=G(5))
TEST(Random, Permutations) {
  std::vector<std::int64_t> x(12);
  Generator g(5);
  fill_randperm(g, x.data(), 12);
  EXPECT_EQ(x, (std::vector<std::int64_t>{11, 0, 9, 6, 10, 3, 4, 5, 8, 7, 1, 2}));
  x.resize(5000);
  fill_randperm(g, x.data(), 5000);
  std::sort(x.begin(), x.end());
  for (std::int64_t i = 0; i < 5000; ++i) ASSERT_EQ(x[i], i);
}

// ---- Bernoulli, truncated normals

// torch.empty(16).bernoulli_(.3, generator=G(5)); torch.bernoulli(torch.linspace(0, 1, 16), ...) in
// float32 and float64
TEST(Random, Bernoulli) {
  const std::vector<float> want{0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0};
  std::vector<float> x(16), p(16);
  std::vector<double> p64(16);
  Generator g(5);
  fill_bernoulli(g, view(x), 0.3);
  EXPECT_EQ(x, want);
  bool flags[16];
  g.manual_seed(5);
  fill_bernoulli(g, {flags, DType::Bool, {8, 2}, {1, 8}}, 0.3);
  EXPECT_EQ(std::vector<float>(flags, flags + 16), want);
  for (int i = 0; i < 16; ++i) p[i] = static_cast<float>(p64[i] = i / 15.0);
  g.manual_seed(5);
  fill_bernoulli(g, view(x), view(p));
  EXPECT_EQ(x, (std::vector<float>{0, 0, 0, 0, 0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1}));
  g.manual_seed(5);
  fill_bernoulli(g, view(x), view(p64));
  EXPECT_EQ(x, (std::vector<float>{0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1}));
  // Draws follow the output's memory while p is read by index: a transposed pair gives the same.
  std::vector<float> y(16);
  const View pt{p64.data(), DType::Float64, {4, 4}, {1, 4}}, yt{y.data(), DType::Float32, {4, 4}, {1, 4}};
  g.manual_seed(5);
  fill_bernoulli(g, yt, pt);
  EXPECT_EQ(y, x);
}

// trunc_normal_(torch.empty(18), 0, 1, -1, 1, generator=G(5)): redrawn; float64, 0, 1, 2, 3: rejected;
// torch.empty(3, 8)[:, ::2]: scalar pairs first, then blocks or pairs by the dense copy's size
const std::vector<float> kTrunc32 = {0.4731221f,   0.51888716f, -0.33644935f, -0.9650602f,  -0.12966268f,
                                     -0.60176563f, 0.14499857f, -0.14982717f, -0.68610716f, -0.43402296f,
                                     -0.05833946f, 0.74258935f, -0.29967082f, 0.49403808f,  0.24921878f,
                                     -0.35767162f, 0.74477696f, 0.031656895f};
const std::vector<double> kTail64 = {2.3581188437742613, 2.3257221314777357, 2.0366898028197458,
                                     2.4458654480575714, 2.2661171387772723};
const std::vector<float> kTruncStep = {-0.48678076f, -0.6038216f, -0.55809623f, 0.6675243f,
                                       -0.1974151f,  0.76794153f, 0.05709266f,  -0.76255715f,
                                       0.6312134f,   -0.8991352f, -0.55779344f, 0.69071877f};

TEST(Random, TruncatedNormals) {
  Generator g(5);
  std::vector<float> x(18), gaps(24), got;
  fill_trunc_normal(g, view(x), 0, 1, -1, 1);
  EXPECT_EQ(x, kTrunc32);
  std::vector<double> tail(5);
  g.manual_seed(5);
  fill_trunc_normal(g, view(tail), 0, 1, 2, 3);
  expect_near(tail, kTail64);
  g.manual_seed(5);
  fill_trunc_normal(g, {gaps.data(), DType::Float32, {3, 4}, {8, 2}}, 0, 1, -1, 1);
  for (int i = 0; i < 24; i += 2) got.push_back(gaps[i]);
  expect_near(got, kTruncStep);
}

}  // namespace
}  // namespace unspool
