// The recurrence, the seeding and PyTorch's state layout.
#include "unspool/base/random.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "unspool/base/error.h"

namespace unspool {
namespace {

constexpr int kShift = 397;

std::uint32_t mix(std::uint32_t high, std::uint32_t low) noexcept {
  const std::uint32_t y = (high & 0x80000000u) | (low & 0x7fffffffu);
  return (y >> 1) ^ ((0u - (low & 1u)) & 0x9908b0dfu);
}

// torch.get_rng_state() as measured on PyTorch 2.13 (x86-64): in the host's byte order, words
// widened to 64 bits. `left` is the unread words + 1, so a fresh engine has left 1, next 0.
struct StateLayout {
  std::uint64_t seed;
  std::int32_t left;
  std::int32_t seeded;
  std::uint64_t next;
  std::uint64_t words[624];
  double normal_x;  // 0, kept from an older format
  double normal_y;  // the kept normal itself
  double normal_rho;
  std::int32_t normal_is_valid;
  std::int32_t padding;
  float normal_float;
  std::uint8_t normal_float_is_valid;
  std::uint8_t padding_float[3];
};
static_assert(sizeof(StateLayout) == Generator::kStateBytes);

}  // namespace

void Generator::manual_seed(std::uint64_t seed) {
  seed_ = seed;
  words_[0] = static_cast<std::uint32_t>(seed);
  for (int j = 1; j < kWords; ++j)
    words_[j] = 1812433253u * (words_[j - 1] ^ (words_[j - 1] >> 30)) + static_cast<std::uint32_t>(j);
  next_ = unread_ = 0;
  normal_.reset();
  normal_float_.reset();
}

std::uint64_t Generator::seed() {
  std::random_device device;
  const std::uint64_t high = device();
  manual_seed(((high << 32) | device()) & ((std::uint64_t{1} << 53) - 1));
  return seed_;
}

// Three loops instead of one with `% 624`: each reads only words that it has not yet written, or
// wrote at least 227 words ago, so the compiler vectorises them.
void Generator::twist() noexcept {
  constexpr int kTail = kWords - kShift;  // 227
  std::uint32_t* p = words_;
  for (int j = 0; j < kTail; ++j) p[j] = p[j + kShift] ^ mix(p[j], p[j + 1]);
  for (int j = kTail; j < kWords - 1; ++j) p[j] = p[j - kTail] ^ mix(p[j], p[j + 1]);
  p[kWords - 1] = p[kShift - 1] ^ mix(p[kWords - 1], p[0]);
  next_ = 0;
  unread_ = kWords;
}

void Generator::fill32(std::uint32_t* out, std::int64_t n) {
  while (n > 0) {
    if (unread_ == 0) twist();
    const int count = static_cast<int>(std::min<std::int64_t>(n, unread_));
    const std::uint32_t* from = words_ + next_;
    for (int i = 0; i < count; ++i) out[i] = temper(from[i]);
    next_ += count;
    unread_ -= count;
    out += count;
    n -= count;
  }
}

Generator::State Generator::get_state() const {
  StateLayout s{};
  s.seed = seed_;
  s.left = unread_ + 1;
  s.seeded = 1;
  s.next = static_cast<std::uint64_t>(next_);
  std::copy(words_, words_ + kWords, s.words);
  if (normal_) {
    s.normal_y = *normal_;
    s.normal_is_valid = 1;
  }
  if (normal_float_) {
    s.normal_float = *normal_float_;
    s.normal_float_is_valid = 1;
  }
  State bytes;
  std::memcpy(bytes.data(), &s, sizeof s);
  return bytes;
}

void Generator::set_state(const void* bytes, std::size_t size) {
  if (size != kStateBytes)
    fail(ErrorKind::Runtime, "set_state: expected a generator state of ", kStateBytes,
         " bytes, but found one of ", size);
  StateLayout s;
  std::memcpy(&s, bytes, sizeof s);
  // `left + next` is at most kWords + 1; beyond it a draw would read behind the words.
  if (s.seeded == 0 || s.left < 1 || s.left > kWords || s.next > static_cast<std::uint64_t>(kWords) ||
      s.left + static_cast<int>(s.next) > kWords + 1)
    fail(ErrorKind::Runtime, "set_state: Invalid mt19937 state; seeded is ", s.seeded, ", left is ", s.left,
         ", next is ", s.next);
  seed_ = s.seed;
  unread_ = s.left - 1;
  next_ = static_cast<int>(s.next);
  for (int j = 0; j < kWords; ++j) words_[j] = static_cast<std::uint32_t>(s.words[j]);
  normal_ = s.normal_is_valid ? std::optional<double>(s.normal_y) : std::nullopt;
  normal_float_ = s.normal_float_is_valid ? std::optional<float>(s.normal_float) : std::nullopt;
}

void Generator::copy_stream(const Generator& o) {
  std::copy(o.words_, o.words_ + kWords, words_);
  next_ = o.next_;
  unread_ = o.unread_;
  seed_ = o.seed_;
  normal_ = o.normal_;
  normal_float_ = o.normal_float_;
}

Generator& default_generator() {
  // Never destroyed: a thread that still draws while the process ends must find it.
  static Generator* const generator = [] {
    auto* g = new Generator;
    g->seed();  // as PyTorch: runs differ until manual_seed
    return g;
  }();
  return *generator;
}

}  // namespace unspool
