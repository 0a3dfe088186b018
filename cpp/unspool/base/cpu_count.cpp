// See cpu_count.h. A quota may stand at any level between the process's own group and the root, so
// all of them are asked. In a container /proc/self/cgroup often names a path of the host that is not
// mounted; its parents, down to the mount itself, then answer.
#include "unspool/base/cpu_count.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

namespace unspool {
namespace {

// quota / period in whole CPUs, or 0 where it is none.
int cpus_of(double quota, double period) {
  if (!(quota > 0) || !(period > 0)) return 0;
  const double cpus = quota / period;
  if (cpus >= 1 << 20) return 0;
  const int whole = static_cast<int>(cpus);
  return std::max(1, cpus > whole ? whole + 1 : whole);
}

double number_in(const std::string& path) {
  std::ifstream file(path);
  double x = 0;
  return file >> x ? x : 0;
}

int quota_v1(const std::string& group) {
  return cpus_of(number_in(group + "/cpu.cfs_quota_us"), number_in(group + "/cpu.cfs_period_us"));
}

int quota_v2(const std::string& group) {  // "max 100000" or "150000 100000"
  std::ifstream file(group + "/cpu.max");
  double quota = 0, period = 0;
  return file >> quota >> period ? cpus_of(quota, period) : 0;
}

int lower(int a, int b) { return a == 0 || (b != 0 && b < a) ? b : a; }

// The lowest quota of mount + path and of its parents.
int lowest(const std::string& mount, std::string path, int (*quota)(const std::string&)) {
  int cpus = 0;
  for (;;) {
    while (!path.empty() && path.back() == '/') path.pop_back();
    cpus = lower(cpus, quota(mount + path));
    if (path.empty()) return cpus;
    const std::size_t slash = path.rfind('/');
    path.resize(slash == std::string::npos ? 0 : slash);
  }
}

bool has_cpu(const std::string& controllers) {
  std::istringstream names(controllers);
  for (std::string name; std::getline(names, name, ',');)
    if (name == "cpu") return true;
  return false;
}

int count() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // The mask is too small where the machine has more than CPU_SETSIZE CPUs.
  int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                         : static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  const int quota = cgroup_cpus("");
  if (quota > 0) cpus = std::min(cpus, quota);
  return std::max(cpus, 1);
}

}  // namespace

int cgroup_cpus(const std::string& root) {
  const std::string mount = root + "/sys/fs/cgroup";
  std::ifstream groups(root + "/proc/self/cgroup");
  int cpus = 0;
  for (std::string line; std::getline(groups, line);) {  // hierarchy:controllers:path
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      for (const char* unified : {"", "/unified"})
        cpus = lower(cpus, lowest(mount + unified, path, quota_v2));
    } else if (has_cpu(controllers)) {
      cpus = lower(cpus, lowest(mount + "/cpu", path, quota_v1));
      const std::string joint = std::string(mount).append("/").append(controllers);  // "cpu,cpuacct"
      if (controllers != "cpu") cpus = lower(cpus, lowest(joint, path, quota_v1));
    }
  }
  return cpus;
}

int available_cpus() {
  static const int cpus = count();
  return cpus;
}

}  // namespace unspool
