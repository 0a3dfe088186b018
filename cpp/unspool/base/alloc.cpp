// Blocks up to kSmallMax are cut from aligned slabs and cached per thread; larger ones come from
// the system one by one and wait in one global list a class. A thread that holds more than
// kBatch*2 free blocks of a class hands kBatch of them to the global list, where any thread
// finds them: memory that one thread allocates and another frees does not pile up.
#include "unspool/base/alloc.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "unspool/base/error.h"

namespace unspool {
namespace {

#if defined(__SANITIZE_ADDRESS__)
#define UNSPOOL_NO_CACHE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNSPOOL_NO_CACHE 1
#endif
#endif
#ifdef UNSPOOL_NO_CACHE
constexpr bool kCache = false;  // a cached block would hide a use after free
#else
constexpr bool kCache = true;
#endif

constexpr int kClasses = 4 * 41;
constexpr std::size_t kSmallMax = 1024;
constexpr std::size_t kThreadMax = 32 * 1024;  // larger blocks are not kept per thread
constexpr std::size_t kSlab = 256 * 1024;
constexpr int kBatch = 64;

// Four classes per doubling: 64, 80, 96, 112, 128, 160, … rounded up to multiples of 64 below 256.
int class_of(std::size_t bytes) {
  if (bytes <= 64) return 0;
  const std::size_t b = bytes - 1;
  const int log = std::bit_width(b) - 1;                       // 2^log <= b < 2^(log+1)
  const int quarter = static_cast<int>((b >> (log - 2)) & 3);  // which quarter of the doubling
  return (log - 6) * 4 + quarter + 1;
}

std::size_t class_bytes(int c) {
  if (c == 0) return 64;
  const int log = (c - 1) / 4 + 6;
  const std::size_t quarter = (c - 1) % 4 + 1;
  const std::size_t size = (std::size_t{1} << log) + (quarter << (log - 2));
  return (size + kAlignment - 1) / kAlignment * kAlignment;
}

struct Free {
  Free* next;
};

struct List {
  Free* head = nullptr;
  std::int64_t count = 0;
  void push(void* p) {
    Free* f = static_cast<Free*>(p);
    f->next = head;
    head = f;
    ++count;
  }
  void* pop() {
    Free* f = head;
    head = f->next;
    --count;
    return f;
  }
};

struct Slab {  // the header at the start of each aligned slab
  std::int64_t blocks;
  std::int64_t free;  // scratch of empty_cache
};

struct ThreadCache;

struct Global {
  std::mutex mutex;
  List lists[kClasses];
  std::vector<Slab*> slabs;
  ThreadCache* caches = nullptr;  // of all threads that have one
};

Global& global();

// A fork waits until the lists are whole, so that the child finds them so, and the lock free.
void lock_for_fork() { global().mutex.lock(); }
void unlock_after_fork() { global().mutex.unlock(); }

// Never destroyed: tensors may outlive every static, at interpreter exit.
Global& global() {
  static Global* g = [] {
    auto* fresh = new Global;
    if (pthread_atfork(lock_for_fork, unlock_after_fork, unlock_after_fork) != 0) throw std::bad_alloc();
    return fresh;
  }();
  return *g;
}
// When the library is loaded: a fork beside the first call would leave the child the lock without the
// handler, or a half-made object.
[[maybe_unused]] const Global& made_at_load = global();

std::atomic<std::int64_t> live{0};
std::atomic<std::int64_t> peak{0};
std::atomic<std::int64_t> reserved{0};
std::atomic<std::int64_t> system_calls{0};

struct ThreadCache {
  List lists[kClasses];
  // Since the last add_up(): the change of live, and how far it was up in between. Others read it, none
  // else writes it.
  std::atomic<std::int64_t> change{0};
  std::int64_t high = 0;
  ThreadCache *previous = nullptr, *next = nullptr;
  ThreadCache();
  ~ThreadCache();
};

UNSPOOL_NEAR thread_local ThreadCache* cache_of_thread = nullptr;
UNSPOOL_NEAR thread_local bool thread_ended = false;

struct CacheOwner {  // by a pointer, since the room for variables of threads is small: UNSPOOL_NEAR
  std::unique_ptr<ThreadCache> cache = std::make_unique<ThreadCache>();
  CacheOwner() { cache_of_thread = cache.get(); }
  ~CacheOwner() {
    cache_of_thread = nullptr;
    thread_ended = true;
  }
};

ThreadCache* thread_cache() {
  if (cache_of_thread) return cache_of_thread;
  if (thread_ended) return nullptr;
  thread_local CacheOwner owner;
  return owner.cache.get();
}

void count_peak(std::int64_t bytes) {
  std::int64_t before = peak.load(std::memory_order_relaxed);
  while (before < bytes && !peak.compare_exchange_weak(before, bytes, std::memory_order_relaxed)) {
  }
}

void add_up(ThreadCache& cache) {
  const std::int64_t before = live.fetch_add(cache.change.load(std::memory_order_relaxed));
  count_peak(before + cache.high);
  cache.change.store(0, std::memory_order_relaxed);
  cache.high = 0;
}

// Atomic additions at each block would cost as much as the rest of allocate().
void count_live(ThreadCache* cache, std::int64_t bytes) {
  constexpr std::int64_t kAhead = 64 * 1024;
  if (!cache) {
    count_peak(live.fetch_add(bytes, std::memory_order_relaxed) + bytes);
    return;
  }
  const std::int64_t change = cache->change.load(std::memory_order_relaxed) + bytes;
  cache->change.store(change, std::memory_order_relaxed);
  if (change > cache->high) cache->high = change;
  if (change >= kAhead || change <= -kAhead) add_up(*cache);
}

ThreadCache::ThreadCache() {
  Global& g = global();
  std::lock_guard lock(g.mutex);
  next = g.caches;
  if (next) next->previous = this;
  g.caches = this;
}

ThreadCache::~ThreadCache() {
  Global& g = global();
  std::lock_guard lock(g.mutex);
  add_up(*this);
  (previous ? previous->next : g.caches) = next;
  if (next) next->previous = previous;
  for (int c = 0; c < kClasses; ++c)
    while (lists[c].head) g.lists[c].push(lists[c].pop());
}

[[noreturn, gnu::cold]] void out_of_memory(std::size_t bytes) {
  fail(ErrorKind::Memory, "allocate: the system has no ", bytes, " bytes of memory");
}

// Large blocks ask for huge pages, of which a step over 16 MB of weights and as much momentum misses fewer.
constexpr std::size_t kHugePage = std::size_t{2} << 20;

void* from_system(std::size_t bytes, std::size_t alignment) {
  if (bytes >= kHugePage) alignment = kHugePage;
  void* p = nullptr;
  if (posix_memalign(&p, alignment, bytes) != 0) {
    empty_cache();
    if (posix_memalign(&p, alignment, bytes) != 0) out_of_memory(bytes);
  }
#ifdef MADV_HUGEPAGE
  if (alignment == kHugePage) madvise(p, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);  // or it does not
#endif
  system_calls.fetch_add(1, std::memory_order_relaxed);
  reserved.fetch_add(static_cast<std::int64_t>(bytes), std::memory_order_relaxed);
  return p;
}

void carve_slab(int c, List& list) {
  const std::size_t size = class_bytes(c);
  auto* slab = static_cast<Slab*>(from_system(kSlab, kSlab));
  char* p = reinterpret_cast<char*>(slab) + kAlignment;
  char* end = reinterpret_cast<char*>(slab) + kSlab;
  slab->blocks = (end - p) / static_cast<std::ptrdiff_t>(size);
  for (std::int64_t i = slab->blocks - 1; i >= 0; --i) list.push(p + static_cast<std::size_t>(i) * size);
  Global& g = global();
  std::lock_guard lock(g.mutex);
  g.slabs.push_back(slab);
}

void* slow_allocate(int c, ThreadCache* cache) {
  const std::size_t size = class_bytes(c);
  Global& g = global();
  const bool keep = cache && size <= kThreadMax;
  {
    std::lock_guard lock(g.mutex);
    List& list = g.lists[c];
    if (list.head) {
      if (keep)
        for (int i = 1; i < kBatch && list.count > 1; ++i) cache->lists[c].push(list.pop());
      return list.pop();
    }
  }
  if (size > kSmallMax) return from_system(size, kAlignment);
  // The thread takes a batch of the new blocks, and leaves the others where any thread finds them.
  List fresh;
  carve_slab(c, fresh);
  void* p = fresh.pop();
  for (int i = 0; cache && fresh.head && i < kBatch; ++i) cache->lists[c].push(fresh.pop());
  std::lock_guard lock(g.mutex);
  while (fresh.head) g.lists[c].push(fresh.pop());
  return p;
}

}  // namespace

void* allocate(std::size_t bytes) {
  if (bytes >> 46) out_of_memory(bytes);
  const int c = class_of(bytes);
  ThreadCache* cache = thread_cache();
  void* const p = !kCache                         ? from_system(class_bytes(c), kAlignment)
                  : cache && cache->lists[c].head ? cache->lists[c].pop()
                                                  : slow_allocate(c, cache);
  count_live(cache, static_cast<std::int64_t>(class_bytes(c)));
  return p;
}

void deallocate(void* block, std::size_t bytes) noexcept {
  const int c = class_of(bytes);
  const std::size_t size = class_bytes(c);
  ThreadCache* cache = thread_cache();
  count_live(cache, -static_cast<std::int64_t>(size));
  if constexpr (!kCache) {
    reserved.fetch_sub(static_cast<std::int64_t>(size), std::memory_order_relaxed);
    std::free(block);
    return;
  }
  if (cache && size <= kThreadMax) {
    List& list = cache->lists[c];
    list.push(block);
    if (list.count < 2 * kBatch) return;
    Global& g = global();
    std::lock_guard lock(g.mutex);
    for (int i = 0; i < kBatch; ++i) g.lists[c].push(list.pop());
    return;
  }
  Global& g = global();
  std::lock_guard lock(g.mutex);
  g.lists[c].push(block);
}

MemoryStats memory_stats() {
  if (ThreadCache* cache = thread_cache()) add_up(*cache);
  Global& g = global();
  std::lock_guard lock(g.mutex);
  std::int64_t l = live.load(std::memory_order_relaxed);
  for (const ThreadCache* c = g.caches; c; c = c->next) l += c->change.load(std::memory_order_relaxed);
  return {l, reserved.load(std::memory_order_relaxed) - l, std::max(l, peak.load(std::memory_order_relaxed)),
          system_calls.load(std::memory_order_relaxed)};
}

void reset_peak_memory_stats() { peak.store(memory_stats().live_bytes); }

void empty_cache() {
  if constexpr (!kCache) return;
  ThreadCache* const cache = thread_cache();  // it may be new, and then asks for the lock itself
  Global& g = global();
  std::lock_guard lock(g.mutex);
  if (cache)
    for (int c = 0; c < kClasses; ++c)
      while (cache->lists[c].head) g.lists[c].push(cache->lists[c].pop());

  auto slab_of = [](Free* f) {
    return reinterpret_cast<Slab*>(reinterpret_cast<std::uintptr_t>(f) & ~(kSlab - 1));
  };
  for (Slab* slab : g.slabs) slab->free = 0;
  for (int c = 0; c < kClasses; ++c) {
    const std::size_t size = class_bytes(c);
    if (size <= kSmallMax) {
      for (Free* f = g.lists[c].head; f; f = f->next) ++slab_of(f)->free;
      continue;
    }
    while (g.lists[c].head) {
      std::free(g.lists[c].pop());
      reserved.fetch_sub(static_cast<std::int64_t>(size), std::memory_order_relaxed);
    }
  }
  for (int c = 0; c < kClasses && class_bytes(c) <= kSmallMax; ++c) {
    List kept;
    while (g.lists[c].head) {
      auto* f = static_cast<Free*>(g.lists[c].pop());
      if (slab_of(f)->free != slab_of(f)->blocks) kept.push(f);
    }
    g.lists[c] = kept;
  }
  std::erase_if(g.slabs, [](Slab* slab) {
    if (slab->free != slab->blocks) return false;
    std::free(slab);
    reserved.fetch_sub(static_cast<std::int64_t>(kSlab), std::memory_order_relaxed);
    return true;
  });
}

}  // namespace unspool
