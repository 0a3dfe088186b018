// How often this thread has asked the C library for memory; operator new ends there. Counted in
// test_ops_engine.cpp, but not under sanitizers, which have an allocator of their own.
#pragma once

#include <cstdint>

namespace unspool {
bool mallocs_are_counted();
std::int64_t mallocs_so_far();
}  // namespace unspool
