// A byte budget for the arena: what is kept for backward, and what is computed a second time. See budget.cpp.
#pragma once

#include "unspool/plan/recording.h"

namespace unspool {

struct Recomputed {
  std::int64_t saved = 0;        // bytes of the arena, against the plan without
  std::int64_t extra_flops = 0;  // of products
  int steps = 0;                 // that run a second time
};

// Makes the recording's arena at most `budget` bytes, with as few more flops as it can; throws a PlanError
// that states the smallest budget that can be met. `own`: buffers with memory of their own.
Recomputed fit_budget(Recording& r, const std::vector<bool>& own, std::int64_t budget);

}  // namespace unspool
