// How many CPUs this process may use: what the scheduler allows it, and what its cgroup pays for.
#pragma once

#include <string>

namespace unspool {

// CPUs of the affinity mask, at most the cgroup's quota, at least 1. Asked once.
int available_cpus();

// CPUs that the quotas of cgroups (v1 and v2) allow, rounded up; 0 where there is no quota. Reads
// root + "/proc/self/cgroup" and files below root + "/sys/fs/cgroup"; tests give another root than "".
int cgroup_cpus(const std::string& root);

}  // namespace unspool
