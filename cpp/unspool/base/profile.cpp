#include "unspool/base/profile.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <utility>

namespace unspool {

bool profiling = false;

namespace {

std::mutex mutex;
std::vector<ProfileEvent> events;
std::atomic<std::uint32_t> threads{0};

std::uint32_t this_thread() {
  thread_local const std::uint32_t number = threads.fetch_add(1);
  return number;
}
thread_local int replays = 0;

std::int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

void start_profile() {
  const std::lock_guard lock(mutex);
  events.clear();
  __atomic_store_n(&profiling, true, __ATOMIC_RELAXED);
}

std::vector<ProfileEvent> stop_profile() {
  __atomic_store_n(&profiling, false, __ATOMIC_RELAXED);
  const std::lock_guard lock(mutex);
  return std::exchange(events, {});
}

ProfileScope::ProfileScope(std::string name, const Shape& shape, bool replay)
    : event_{std::move(name), 0, 0, this_thread(), replays > 0, shape}, replay_(replay) {
  replays += replay_;
  event_.begin = now();
}
ProfileScope::~ProfileScope() {
  event_.end = now();
  replays -= replay_;
  const std::lock_guard lock(mutex);
  if (profiling) events.push_back(std::move(event_));
}

}  // namespace unspool
