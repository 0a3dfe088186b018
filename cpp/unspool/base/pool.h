// The fork-join pool: chunks of one piece of work, run by the caller and by threads of ours.
// Start at run_chunks(). Which work is cut, and how, is the kernels' business (kernels/parallel.h).
//
// Chunks are cut by shape alone, and no chunk knows which thread runs it: results are the same bits
// for any number of threads. Workers are made on first use, spin briefly, then sleep; they never touch
// Python. They are left behind in a forked child, which makes its own.
#pragma once

#include <cstdint>

namespace unspool {

// Runs f(context, c) once for every c in [0, chunks), in no order, and returns when all are done.
// What chunks throw: the exception of the lowest of them is thrown again here; chunks above it may be
// left out. A call from inside a chunk, or while another thread has the pool, runs its chunks itself.
// `work` is an estimate of the whole, see kParallelWork.
using ChunkFn = void (*)(const void* context, std::int64_t chunk);
void run_chunks(std::int64_t chunks, std::int64_t work, ChunkFn f, const void* context);

// The unit of work is about a nanosecond of one core. Waking a sleeping worker costs the caller some
// microseconds, and the worker arrives some tens of them later (measured in a virtual machine).
inline constexpr std::int64_t kParallelWork = 50'000;
// Work below this is not worth the call; run_chunks itself does not look at it. Tests set 0, and then
// every worker that a call may use takes part in it, however late it arrives.
extern std::int64_t parallel_threshold;
void set_parallel_threshold(std::int64_t work);

// UNSPOOL_NUM_THREADS, or the CPUs that this process may use. Throws ValueError where the variable is
// no positive number; a later call then tries again.
int get_num_threads();
void set_num_threads(int n);  // n >= 1, the caller included

// What a layer above does around long work of the calling thread: Python lets other threads run.
// begin's result goes to end.
struct LongWorkHooks {
  void* (*begin)() = nullptr;
  void (*end)(void*) = nullptr;
};
extern LongWorkHooks long_work_hooks;
inline constexpr std::int64_t kLongWork = 2 * kParallelWork;

// The hooks around work of kLongWork and more. run_chunks has one; a kernel that calls run_chunks
// several times has one around them all.
class LongWork {
 public:
  explicit LongWork(std::int64_t work);
  ~LongWork();
  LongWork(const LongWork&) = delete;
  LongWork& operator=(const LongWork&) = delete;

 private:
  void* token_ = nullptr;
};

// While one lives, this thread's work does not let others run: for a step that must be whole, and
// for locks that others wait for without letting go of Python.
class Undivided {
 public:
  explicit Undivided(bool on = true) : on_(on) {
    if (on_) count(1);
  }
  ~Undivided() {
    if (on_) count(-1);
  }
  Undivided(const Undivided&) = delete;
  Undivided& operator=(const Undivided&) = delete;

 private:
  static void count(int n);
  bool on_;
};

// For tests: how many workers have run a chunk since start or reset.
int pool_workers_that_ran();
void reset_pool_workers_that_ran();

}  // namespace unspool
