// What may run a second time, and the recording where some of it does. See budget.cpp for the choice.
#pragma once

#include "unspool/plan/recording.h"

namespace unspool {

// When a buffer is made and read, by numbers of steps; -1 where none does.
struct Use {
  int maker = -1, early = -1, late = -1, last = -1;  // last read before the boundary; first and last after
  bool plain = true;                                 // written whole, as a result, by one step
};

// A buffer is droppable where backward reads it, or needs it for what it reads, and its step may run again
// then.
class Repeats {
 public:
  // `own`: buffers with memory of their own.
  Repeats(const Recording& r, const std::vector<bool>& own);
  int boundary() const { return boundary_; }  // the first step of what comes late, as backward does
  const Use& use(int buffer) const { return uses_[static_cast<std::size_t>(buffer)]; }
  bool droppable(int buffer) const { return droppable_[static_cast<std::size_t>(buffer)]; }

  // The order of steps where dropped buffers are made again before their first late use: ~i is step i again.
  std::vector<int> order(const std::vector<bool>& dropped) const;
  // The recording that runs so.
  Recording again(const std::vector<int>& order) const;

 private:
  void find_uses();
  void find_boundary();
  void find_droppable();
  bool repeatable(int step, int at) const;

  const Recording& r_;
  const std::vector<bool>& own_;
  int n_, boundary_ = 0;
  std::vector<Use> uses_;
  std::vector<std::vector<int>> written_;  // by which steps
  std::vector<bool> droppable_;
};

inline int buffer_at(const Recording& r, int place) {
  return r.places[static_cast<std::size_t>(place)].buffer;
}
template <class F>
void each_read(const Step& s, const F& f) {
  for (int p : s.in)
    if (p >= 0) f(p);
}
template <class F>
void each_result(const Step& s, const F& f) {
  for (int k = 0; k < s.n_out; ++k)
    if (s.out[k] >= 0) f(s.out[k]);
  if (s.aux >= 0) f(s.aux);
}

}  // namespace unspool
