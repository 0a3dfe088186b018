// Which instruction sets this process may use. Start at chosen_isa().
// What runs on each is the kernels layer's business, not this file's.
#pragma once

namespace unspool {

// In ascending order: a CPU that has one has those before it.
enum class Isa { Generic, Avx2, Avx512 };
inline constexpr int kNumIsas = 3;

// CPU and operating system both: the registers must be saved across a context switch.
bool cpu_has(Isa isa);

// The best available, unless the environment variable UNSPOOL_ISA (generic, avx2, avx512) asks for
// another. Decided at first use. Throws ValueError where the variable names what is unknown or absent;
// a later call then tries again.
Isa chosen_isa();

const char* isa_name(Isa isa);

// Subnormal results and inputs count as 0 while this lives; the previous mode comes back with its
// end. For optimizer updates: the momentum of a unit that is dead decays to the smallest subnormal
// and stays there (0.9 of it rounds to itself), and each later step would cost 8 times as much.
class FlushSubnormals {
 public:
  FlushSubnormals();
  ~FlushSubnormals();
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;

 private:
  unsigned previous_;
};

}  // namespace unspool
