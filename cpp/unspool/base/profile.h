// What ran when: events of the operations of all threads, while somebody wants to know. Python's
// unspool.profile() starts and stops it; run_kernel() and the plan make the events.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "unspool/base/shape.h"

namespace unspool {

struct ProfileEvent {
  std::string name;
  std::int64_t begin, end;  // ns, of a steady clock
  std::uint32_t thread;     // numbered as they are met
  bool frozen;              // within a replay of a plan
  Shape shape;              // of the first result
};

extern bool profiling;  // read by every operation; written by start and stop alone
void start_profile();
std::vector<ProfileEvent> stop_profile();

// An event from here to the end of the block; only made while `profiling`.
class ProfileScope {
 public:
  ProfileScope(std::string name, const Shape& shape, bool replay = false);
  ~ProfileScope();
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  ProfileEvent event_;
  bool replay_;
};

}  // namespace unspool
