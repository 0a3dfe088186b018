// The random engine: mt19937 as PyTorch's CPU generator runs it, word for word.
// Start at Generator::next32. How words become uniforms, normals and integers stands in
// ops/random_fill; nothing here knows a distribution or a Tensor.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>

namespace unspool {

// M. Matsumoto, T. Nishimura: "Mersenne Twister" (ACM TOMACS 8, 1998), the 2002 initialisation.
//
// A Generator is not locked: whoever draws from a shared one holds mutex() for the whole draw, so
// that one tensor's numbers are consecutive in the stream. A copy continues the same stream on its
// own and has its own mutex.
class Generator {
 public:
  static constexpr std::uint64_t kDefaultSeed = 67280421310721;  // PyTorch's
  static constexpr std::size_t kStateBytes = 5056;
  using State = std::array<std::uint8_t, kStateBytes>;

  explicit Generator(std::uint64_t seed = kDefaultSeed) { manual_seed(seed); }
  Generator(const Generator& o) { copy_stream(o); }
  Generator& operator=(const Generator& o) {
    copy_stream(o);
    return *this;
  }

  // Only the low 32 bits reach the engine; initial_seed() reports all 64. Forgets kept normals.
  void manual_seed(std::uint64_t seed);
  std::uint64_t initial_seed() const noexcept { return seed_; }
  // Seeds from the operating system with 53 bits (so that a double holds it) and returns the seed.
  std::uint64_t seed();

  std::uint32_t next32() {
    if (unread_ == 0) twist();
    --unread_;
    return temper(words_[next_++]);
  }
  // Two words, the high one first.
  std::uint64_t next64() {
    const std::uint64_t high = next32();
    return (high << 32) | next32();
  }
  // The same words as n calls of next32(), several times as fast.
  void fill32(std::uint32_t* out, std::int64_t n);

  // The second value of a Box-Muller pair waits here for the next scalar draw. PyTorch 2.13 draws
  // scalars of every floating type through the double one; the float one only travels in the state.
  std::optional<double> take_normal() noexcept {
    const std::optional<double> z = normal_;
    normal_.reset();
    return z;
  }
  void keep_normal(double z) noexcept { normal_ = z; }
  const std::optional<double>& kept_normal() const noexcept { return normal_; }
  const std::optional<float>& kept_normal_float() const noexcept { return normal_float_; }
  void keep_normal_float(std::optional<float> z) noexcept { normal_float_ = z; }

  // The bytes of torch.Generator.get_state(), interchangeable in both directions.
  // set_state throws RuntimeError on a wrong size or an impossible position, and changes nothing then.
  State get_state() const;
  void set_state(const void* bytes, std::size_t size);

  std::mutex& mutex() const noexcept { return mutex_; }

 private:
  static constexpr int kWords = 624;

  static std::uint32_t temper(std::uint32_t y) noexcept {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
  }
  void twist() noexcept;
  void copy_stream(const Generator& o);

  std::uint32_t words_[kWords];
  int next_ = 0;    // the word to read next
  int unread_ = 0;  // words left before the next twist; next_ + unread_ <= kWords always
  std::uint64_t seed_ = 0;
  std::optional<double> normal_;
  std::optional<float> normal_float_;
  mutable std::mutex mutex_;
};

// The generator that every random operation uses where none is passed. The operating system seeds it.
Generator& default_generator();

}  // namespace unspool
