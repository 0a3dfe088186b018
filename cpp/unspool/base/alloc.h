// The engine's memory: a cache of blocks in size classes, 64-byte aligned.
// Tensors, storages, nodes and buffers all come from here, so that a training step in its
// steady state never asks the system. Start reading at allocate().
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

namespace unspool {

inline constexpr std::size_t kAlignment = 64;

// For variables of each thread that every operation reads: at a fixed place, not behind a call (240 calls a
// training step, measured). glibc keeps a few hundred bytes for this in libraries loaded late, and all
// thread_local variables of such a library take of it: none may be big.
#ifdef __GLIBC__
#define UNSPOOL_NEAR [[gnu::tls_model("initial-exec")]]
#else
#define UNSPOOL_NEAR
#endif

// Throws MemoryError where the system has no memory; never returns null (0 bytes get a block).
void* allocate(std::size_t bytes);
// `bytes` is what was asked of allocate.
void deallocate(void* block, std::size_t bytes) noexcept;

// Each thread counts for itself, and adds to the common count when it stops, asks for these, or is 64 KiB
// ahead. live_bytes is the sum over all; in the peak, as much of each other thread may be missing.
struct MemoryStats {
  std::int64_t live_bytes;    // in use now, rounded up to size classes
  std::int64_t cached_bytes;  // free blocks that the cache holds
  std::int64_t peak_bytes;    // the highest live_bytes since start or reset_peak
  std::int64_t system_calls;  // how often the system was asked for memory
};
MemoryStats memory_stats();
void reset_peak_memory_stats();

// Returns free blocks to the system (those in other threads' caches stay).
void empty_cache();

// A block that frees itself: workspace of one kernel call.
class Workspace {
 public:
  explicit Workspace(std::size_t bytes) : bytes_(bytes), data_(bytes ? allocate(bytes) : nullptr) {}
  ~Workspace() {
    if (data_) deallocate(data_, bytes_);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  void* data() const { return data_; }

 private:
  std::size_t bytes_;
  void* data_;
};

// A std::vector and a hash table in this memory, for what has no fixed size.
template <class T>
struct CacheAllocator {
  using value_type = T;
  CacheAllocator() = default;
  template <class U>
  CacheAllocator(const CacheAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(unspool::allocate(n * sizeof(T))); }
  void deallocate(T* p, std::size_t n) noexcept { unspool::deallocate(static_cast<void*>(p), n * sizeof(T)); }
  friend bool operator==(const CacheAllocator&, const CacheAllocator&) { return true; }
};
template <class T>
using Vector = std::vector<T, CacheAllocator<T>>;
template <class K, class V>
using Map = std::unordered_map<K, V, std::hash<K>, std::equal_to<K>, CacheAllocator<std::pair<const K, V>>>;

}  // namespace unspool
