// See pool.h. One job at a time: whoever finds the pool busy works alone, so two callers neither wait
// for each other nor put more threads to work than asked for.
//
// The caller offers the job to each worker through the worker's own word, does its share, and takes
// back the offers that nobody has taken up: it never waits for a thread that the system has not
// scheduled yet. Each participant has a share of neighbouring chunks, the same for each call of a shape,
// so that what one kernel wrote is in the cache of the thread that reads it in the next; who is done
// helps the others with theirs.
#include "unspool/base/pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "unspool/base/alloc.h"
#include "unspool/base/cpu_count.h"
#include "unspool/base/error.h"

namespace unspool {

std::int64_t parallel_threshold = kParallelWork;
LongWorkHooks long_work_hooks;

namespace {

constexpr int kMaxWorkers = 255;
// 30 to 50 µs: the pause between two kernels of a training step is shorter, and a sleeping worker's
// way back as long.
constexpr unsigned long long kSpinCycles = 100'000;

enum State : std::uint32_t {
  kIdle,     // spins
  kParked,   // sleeps
  kOffered,  // by the caller; only from kIdle and kParked
  kRunning,
  kAwaited,  // runs, and the caller sleeps until it is done
};

struct alignas(64) Share {
  std::atomic<std::int64_t> next{0};
  std::int64_t end = 0;
};

struct Job {
  ChunkFn f = nullptr;
  const void* context = nullptr;
  int participants = 1;  // the caller is number 0
  bool help = true;      // with the shares of others
  unsigned fp_mode = 0;  // workers take the caller's rounding and treatment of subnormals
  bool spin = false;
  std::atomic<std::int64_t> failed{std::numeric_limits<std::int64_t>::max()};
  std::mutex mutex;  // of `error`, the exception of chunk `failed`
  std::exception_ptr error;
  Share shares[kMaxWorkers + 1];

  void run(std::int64_t c) noexcept {
    if (c > failed.load(std::memory_order_relaxed)) return;
    try {
      f(context, c);
    } catch (...) {
      std::lock_guard lock(mutex);
      if (c > failed.load(std::memory_order_relaxed)) return;
      failed.store(c, std::memory_order_relaxed);
      error = std::current_exception();
    }
  }
  void take_part(int number) noexcept {
    for (int i = 0; i < (help ? participants : 1); ++i) {
      Share& share = shares[(number + i) % participants];
      for (std::int64_t c; (c = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;) run(c);
    }
  }
};

struct alignas(64) Worker {
  std::atomic<std::uint32_t> state{kIdle};
  std::atomic<bool> ran{false};
  int number = 0;  // from 1
  Job* job = nullptr;
};

struct Pool {
  std::atomic<bool> busy{false};
  Job job;
  std::unique_ptr<Worker> workers[kMaxWorkers];
  std::atomic<int> size{0};
};

std::atomic<Pool*> pool{nullptr};
std::atomic<int> num_threads{0};  // 0: not decided yet
UNSPOOL_NEAR thread_local bool inside_chunk = false;
UNSPOOL_NEAR thread_local int undivided = 0;

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t while_it_is) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, while_it_is, nullptr, nullptr, 0);
}
void futex_wake(std::atomic<std::uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

// Whether the word changes from `value` within the time that is worth waiting awake.
bool spin_while(const std::atomic<std::uint32_t>& word, std::uint32_t value) {
  const unsigned long long start = __rdtsc();
  do {
    if (word.load(std::memory_order_acquire) != value) return true;
    _mm_pause();
  } while (__rdtsc() - start < kSpinCycles);
  return false;
}

void wait_for_offer(Worker& w, bool spin) {
  if (spin && spin_while(w.state, kIdle)) return;
  std::uint32_t idle = kIdle;
  if (!w.state.compare_exchange_strong(idle, kParked, std::memory_order_acq_rel)) return;
  while (w.state.load(std::memory_order_acquire) == kParked) futex_wait(w.state, kParked);
}

void* work(void* argument) {
  Worker& w = *static_cast<Worker*>(argument);
  inside_chunk = true;
  for (bool spin = false;;) {
    wait_for_offer(w, spin);
    std::uint32_t offered = kOffered;
    if (!w.state.compare_exchange_strong(offered, kRunning, std::memory_order_acq_rel)) continue;
    _mm_setcsr(w.job->fp_mode);
    w.ran.store(true, std::memory_order_relaxed);
    spin = w.job->spin;
    w.job->take_part(w.number);
    // The job may be gone from here on.
    if (w.state.exchange(kIdle, std::memory_order_acq_rel) == kAwaited) futex_wake(w.state);
  }
  return nullptr;
}

// Signals are for the program's own threads.
bool start_thread(Worker* w) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const bool started = pthread_create(&thread, nullptr, work, w) == 0;
  if (started) {
    pthread_setname_np(thread, "unspool");
    pthread_detach(thread);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

// What another thread may be counting during the fork would stay half counted in the child.
void count_before_fork() { available_cpus(); }

// The child has this thread alone: it forgets the parent's pool, whatever state that was in.
void forget_pool() {
  pool.store(nullptr, std::memory_order_relaxed);
  inside_chunk = false;
}

// When the library is loaded, not with the first pool: of handlers registered while a fork is on its
// way, the C library runs none in the child, and the child would go on with the parent's pool.
const bool forgets_in_child = pthread_atfork(count_before_fork, nullptr, forget_pool) == 0;

Pool* the_pool() {
  Pool* p = pool.load(std::memory_order_acquire);
  if (p) return p;
  if (!forgets_in_child) return nullptr;
  auto fresh = std::make_unique<Pool>();
  if (pool.compare_exchange_strong(p, fresh.get(), std::memory_order_acq_rel)) p = fresh.release();
  return p;
}

// The pool for this thread alone, with `helpers` workers if the system gives so many; null where
// another thread has it. What is not null goes back by `busy`.
Pool* acquire(int helpers) {
  Pool* p = the_pool();
  if (!p || p->busy.load(std::memory_order_relaxed) || p->busy.exchange(true, std::memory_order_acquire))
    return nullptr;
  for (int i = p->size.load(std::memory_order_relaxed); i < std::min(helpers, kMaxWorkers); ++i) {
    p->workers[i] = std::make_unique<Worker>();
    p->workers[i]->number = i + 1;
    p->workers[i]->job = &p->job;
    if (!start_thread(p->workers[i].get())) break;
    p->size.store(i + 1, std::memory_order_release);
  }
  return p;
}

void offer(Worker& w) {
  if (w.state.exchange(kOffered, std::memory_order_acq_rel) == kParked) futex_wake(w.state);
}

// Takes back the offer, or waits until the worker is done.
void settle(Worker& w, const Job& job) {
  std::uint32_t seen = kOffered;
  if (job.help && w.state.compare_exchange_strong(seen, kIdle, std::memory_order_acq_rel)) return;
  for (;;) {
    seen = w.state.load(std::memory_order_acquire);
    if (seen == kIdle || seen == kParked) return;
    if (job.spin && spin_while(w.state, seen)) continue;
    if (seen == kOffered) {  // tests alone wait here
      sched_yield();
    } else if (seen == kAwaited ||
               w.state.compare_exchange_strong(seen, kAwaited, std::memory_order_acq_rel)) {
      futex_wait(w.state, kAwaited);
    }
  }
}

void run_together(Pool& p, int helpers, std::int64_t chunks, ChunkFn f, const void* context) {
  Job& job = p.job;
  job.f = f;
  job.context = context;
  job.participants = helpers + 1;
  job.help = __atomic_load_n(&parallel_threshold, __ATOMIC_RELAXED) > 0;
  job.fp_mode = _mm_getcsr();
  job.spin = helpers < available_cpus();
  for (int i = 0; i <= helpers; ++i) {
    job.shares[i].next.store(chunks * i / (helpers + 1), std::memory_order_relaxed);
    job.shares[i].end = chunks * (i + 1) / (helpers + 1);
  }
  job.failed.store(std::numeric_limits<std::int64_t>::max(), std::memory_order_relaxed);
  for (int i = 0; i < helpers; ++i) offer(*p.workers[i]);
  inside_chunk = true;
  job.take_part(0);
  for (int i = 0; i < helpers; ++i) settle(*p.workers[i], job);
  inside_chunk = false;
  const std::exception_ptr error = std::exchange(job.error, nullptr);
  p.busy.store(false, std::memory_order_release);
  if (error) std::rethrow_exception(error);
}

int threads_asked() {
  const char* asked = std::getenv("UNSPOOL_NUM_THREADS");
  if (asked == nullptr || *asked == '\0') return available_cpus();
  char* end = nullptr;
  const long n = std::strtol(asked, &end, 10);
  if (*end != '\0' || n < 1 || n > std::numeric_limits<int>::max())
    fail(ErrorKind::Value, "UNSPOOL_NUM_THREADS: must be a positive integer, got '", asked, "'");
  return static_cast<int>(n);
}

}  // namespace

void run_chunks(std::int64_t chunks, std::int64_t work, ChunkFn f, const void* context) {
  if (chunks <= 0) return;
  const LongWork others_run(work);
  const auto threads = static_cast<int>(std::min<std::int64_t>(get_num_threads(), chunks));
  if (threads > 1 && !inside_chunk) {
    if (Pool* p = acquire(threads - 1)) {
      const int helpers = std::min(threads - 1, p->size.load(std::memory_order_relaxed));
      return run_together(*p, helpers, chunks, f, context);
    }
  }
  for (std::int64_t c = 0; c < chunks; ++c) f(context, c);
}

void set_parallel_threshold(std::int64_t work) {
  __atomic_store_n(&parallel_threshold, work, __ATOMIC_RELAXED);
}

int get_num_threads() {
  int n = num_threads.load(std::memory_order_relaxed);
  if (n == 0) {
    n = threads_asked();
    int undecided = 0;
    if (!num_threads.compare_exchange_strong(undecided, n)) n = undecided;
  }
  return n;
}

void set_num_threads(int n) { num_threads.store(n, std::memory_order_relaxed); }

LongWork::LongWork(std::int64_t work) {
  const bool tests = __atomic_load_n(&parallel_threshold, __ATOMIC_RELAXED) <= 0;
  if ((work >= kLongWork || tests) && undivided == 0 && !inside_chunk && long_work_hooks.begin)
    token_ = long_work_hooks.begin();
}
LongWork::~LongWork() {
  if (token_) long_work_hooks.end(token_);
}

void Undivided::count(int n) { undivided += n; }

int pool_workers_that_ran() {
  int n = 0;
  if (Pool* p = pool.load(std::memory_order_acquire))
    for (int i = 0; i < p->size.load(std::memory_order_acquire); ++i)
      n += p->workers[i]->ran.load(std::memory_order_relaxed) ? 1 : 0;
  return n;
}

void reset_pool_workers_that_ran() {
  if (Pool* p = pool.load(std::memory_order_acquire))
    for (int i = 0; i < p->size.load(std::memory_order_acquire); ++i) p->workers[i]->ran = false;
}

}  // namespace unspool
