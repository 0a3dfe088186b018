// Between fusion and layout: results that are needed again much later, as backward needs a layer's, are let
// go of and computed a second time from what is still there, by the same steps: so with the same bits.
//
// The steps before the arena's fullest moment are cut into stages. A segment of stages is recomputed when the
// first later step wants one of its results; then what crosses its beginning must have been kept, and all its
// results are there at once. Which segments to recompute is decided by dynamic programming over (stage, bytes
// kept so far): of all cuts of a chain into kept stages and recomputed segments it finds the one with the
// fewest flops. Other graphs are cut in program order, where several results may cross; what crosses two cuts
// is counted twice, so that the choice is no longer always the best. Sizes are counted in 64ths of a target.
// Several targets are tried, and of the plans whose laid-out arena fits the cheapest is taken.
#include "unspool/plan/budget.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "unspool/plan/plan.h"

namespace unspool {
namespace {

constexpr int kMostStages = 96, kGrains = 64, kTargets = 48;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max() / 4;

std::size_t index(int i) { return static_cast<std::size_t>(i); }

class Search {
 public:
  Search(const Recording& r, const std::vector<bool>& own)
      : r_(r), own_(own), n_(static_cast<int>(r.steps.size())) {
    full_ = lay_out(r_, own_).bytes;
    find_uses();
    find_boundary();
    find_droppable();
    cut_stages();
  }
  std::int64_t full() const { return full_; }

  struct Found {
    Recording recording;
    std::int64_t arena;
    Recomputed recomputed;
  };
  // The cheapest within the budget; `smallest` becomes the least arena that was met.
  std::optional<Found> best(std::int64_t budget, std::int64_t& smallest) {
    std::optional<Found> best;
    smallest = full_;
    std::int64_t all = 0;
    for (const Stage& s : stages_) all += s.bytes;
    for (int t = kTargets; t > 0; --t) {
      const std::vector<bool> dropped = decide(std::max<std::int64_t>(all * t / kTargets, 1));
      if (std::none_of(dropped.begin(), dropped.end(), [](bool x) { return x; })) continue;
      Found f = transformed(dropped);
      smallest = std::min(smallest, f.arena);
      if (f.arena <= budget &&
          (!best || f.recomputed.extra_flops < best->recomputed.extra_flops ||
           (f.recomputed.extra_flops == best->recomputed.extra_flops && f.arena < best->arena)))
        best = std::move(f);
    }
    return best;
  }

 private:
  struct Stage {
    int first = 0, last = 0;    // steps [first, last)
    std::int64_t bytes = 0;     // of its results that may be dropped
    std::int64_t cost = 0;      // of computing them again
    std::int64_t crossing = 0;  // bytes that later stages need of this and earlier ones
  };
  struct Use {
    int maker = -1, early = -1, late = -1,
        last = -1;  // steps: last use before the boundary, first and last after
    int writers = 0;
    bool plain = true;  // written whole, as a result, by one step
  };

  int buffer(int place) const { return r_.places[index(place)].buffer; }
  std::int64_t size(int b) const { return (r_.buffers[index(b)].bytes + 63) / 64 * 64; }
  template <class F>
  static void reads(const Step& s, const F& f) {
    for (int p : s.in)
      if (p >= 0) f(p);
  }
  template <class F>
  static void results(const Step& s, const F& f) {
    for (int k = 0; k < s.n_out; ++k)
      if (s.out[k] >= 0) f(s.out[k]);
    if (s.aux >= 0) f(s.aux);
  }

  void find_uses() {
    uses_.resize(r_.buffers.size());
    written_.resize(r_.buffers.size());
    for (int i = 0; i < n_; ++i) {
      const Step& s = r_.steps[index(i)];
      results(s, [&](int p) {
        Use& u = uses_[index(buffer(p))];
        if (u.maker < 0) u.maker = i;
        if (u.maker != i) u.plain = false;
        ++u.writers;
        written_[index(buffer(p))].push_back(i);
      });
      for (int p : s.wrote) {
        uses_[index(buffer(p))].plain = false;
        written_[index(buffer(p))].push_back(i);
      }
      reads(s, [&](int p) {
        Use& u = uses_[index(buffer(p))];
        if (u.maker < 0 || (u.maker == i && s.inplace)) u.plain = false;
        u.last = i;
      });
    }
  }
  // The first step of what comes late: after the moment when most bytes are alive.
  void find_boundary() {
    std::vector<std::int64_t> change(index(n_) + 1);
    for (std::size_t b = 0; b < uses_.size(); ++b)
      if (!own_[b] && uses_[b].maker >= 0) {
        change[index(uses_[b].maker)] += size(static_cast<int>(b));
        change[index(std::max(uses_[b].last, uses_[b].maker)) + 1] -= size(static_cast<int>(b));
      }
    std::int64_t alive = 0, most = -1;
    for (int i = 0; i < n_; ++i) {
      alive += change[index(i)];
      if (alive > most) {
        most = alive;
        boundary_ = i;
      }
    }
    for (int i = 0; i < n_; ++i)
      reads(r_.steps[index(i)], [&](int p) {
        Use& u = uses_[index(buffer(p))];
        if (i < boundary_)
          u.early = i;
        else if (u.late < 0)
          u.late = i;
      });
  }
  // Whether the step may run again at step `at`: it reads what it read then, and changes nothing else.
  bool repeatable(int i, int at) const {
    const Step& s = r_.steps[index(i)];
    if (s.op->cls == Class::Random || s.op->cls == Class::Update || s.whole || s.inplace ||
        !s.wrote.empty() || calls_out(s) || !s.parts.empty())
      return false;
    bool same = true;
    results(s, [&](int p) { same = same && uses_[index(buffer(p))].plain && !own_[index(buffer(p))]; });
    reads(s, [&](int p) {
      for (int w : written_[index(buffer(p))]) same = same && (w <= i || w >= at);
    });
    return same;
  }
  void find_droppable() {
    droppable_.resize(uses_.size());
    // Results that are wanted late, and what has to be computed for them where it is not kept.
    for (int i = boundary_; i-- > 0;) {
      int wanted = -1;
      results(r_.steps[index(i)], [&](int p) {
        for (int at : {uses_[index(buffer(p))].late, wanted_[index(buffer(p))]})
          if (at >= 0) wanted = wanted < 0 ? at : std::min(wanted, at);
      });
      if (wanted < 0 || !repeatable(i, wanted)) continue;
      results(r_.steps[index(i)], [&](int p) { droppable_[index(buffer(p))] = true; });
      reads(r_.steps[index(i)], [&](int p) {
        int& w = wanted_[index(buffer(p))];
        w = w < 0 ? wanted : std::min(w, wanted);
      });
    }
  }
  void cut_stages() {
    const int count = std::min(kMostStages, boundary_);
    for (int k = 0; k < count; ++k) {
      Stage s;
      s.first = static_cast<int>(static_cast<std::int64_t>(boundary_) * k / count);
      s.last = static_cast<int>(static_cast<std::int64_t>(boundary_) * (k + 1) / count);
      for (int i = s.first; i < s.last; ++i) {
        bool again = false;
        results(r_.steps[index(i)], [&](int p) {
          if (!droppable_[index(buffer(p))]) return;
          again = true;
          if (uses_[index(buffer(p))].late >= 0) s.bytes += size(buffer(p));
        });
        if (again) s.cost += flops_of(r_, r_.steps[index(i)]) + 1;
      }
      stages_.push_back(s);
    }
    // What a stage needs of those before it: read by a step that may be repeated.
    for (std::size_t b = 0; b < uses_.size(); ++b) {
      if (!droppable_[b] || uses_[b].maker < 0) continue;
      int reader = -1;
      for (int i = uses_[b].maker + 1; i <= uses_[b].early; ++i) {
        bool repeats = false;
        results(r_.steps[index(i)], [&](int p) { repeats = repeats || droppable_[index(buffer(p))]; });
        if (!repeats) continue;
        reads(r_.steps[index(i)], [&](int p) {
          if (buffer(p) == static_cast<int>(b)) reader = i;
        });
      }
      for (Stage& s : stages_)
        if (uses_[b].maker < s.last && reader >= s.last) s.crossing += size(static_cast<int>(b));
    }
  }

  // Which buffers to drop so that what is kept, with any one segment, is about `target` bytes.
  std::vector<bool> decide(std::int64_t target) const {
    const int n = static_cast<int>(stages_.size());
    const auto grains = [&](std::int64_t bytes) {
      return static_cast<int>((bytes * kGrains + target - 1) / target);
    };
    struct State {
      std::int64_t cost = kNever;
      int from = -1, kept = 0;  // the stage before, and the grains there
      bool recomputed = false;
    };
    std::vector<std::vector<State>> v(index(n) + 1, std::vector<State>(kGrains + 1));
    v[0][0].cost = 0;
    for (int i = 0; i < n; ++i)
      for (int s = 0; s <= kGrains; ++s) {
        const std::int64_t cost = v[index(i)][index(s)].cost;
        if (cost >= kNever) continue;
        auto reach = [&](int to, std::int64_t kept, std::int64_t price, bool recomputed) {
          if (kept > kGrains) return;
          State& next = v[index(to)][static_cast<std::size_t>(kept)];
          if (price < next.cost) next = {price, i, s, recomputed};
        };
        reach(i + 1, s + grains(stages_[index(i)].bytes), cost, false);
        std::int64_t bytes = 0, price = cost;
        for (int j = i + 1; j <= n; ++j) {
          bytes += stages_[index(j - 1)].bytes;
          price += stages_[index(j - 1)].cost;
          if (s + grains(bytes) > kGrains) break;
          reach(j, s + (j < n ? grains(stages_[index(j - 1)].crossing) : 0), price, true);
        }
      }
    std::vector<bool> dropped(uses_.size());
    int s = 0;
    for (int k = 1; k <= kGrains; ++k)
      if (v[index(n)][index(k)].cost < v[index(n)][index(s)].cost) s = k;
    if (v[index(n)][index(s)].cost >= kNever) return dropped;
    for (int j = n; j > 0;) {
      const State& state = v[index(j)][index(s)];
      if (state.recomputed) drop_segment(state.from, j, dropped);
      j = state.from;
      s = state.kept;
    }
    return dropped;
  }
  void drop_segment(int from, int to, std::vector<bool>& dropped) const {
    const int end = stages_[index(to - 1)].last;
    for (int i = stages_[index(from)].first; i < end; ++i)
      results(r_.steps[index(i)], [&](int p) {
        const int b = buffer(p);
        if (droppable_[index(b)] && !(to < static_cast<int>(stages_.size()) && read_between(b, end)))
          dropped[index(b)] = true;
      });
  }
  // Whether a step from `end` to the boundary that may be repeated reads the buffer.
  bool read_between(int b, int end) const {
    for (int i = end; i <= uses_[index(b)].early; ++i) {
      bool repeats = false, found = false;
      results(r_.steps[index(i)], [&](int p) { repeats = repeats || droppable_[index(buffer(p))]; });
      reads(r_.steps[index(i)], [&](int p) { found = found || buffer(p) == b; });
      if (repeats && found) return true;
    }
    return false;
  }

  // The recording with the dropped buffers made again before their first late use.
  Found transformed(const std::vector<bool>& dropped) const {
    Found f{r_, 0, {}};
    Recording& to = f.recording;
    to.steps.clear();
    std::vector<int> now(r_.buffers.size(), -1);  // the copy that stands for a dropped buffer
    std::vector<std::size_t> moved(r_.steps.size());
    auto renamed = [&](int p) {
      if (p < 0) return p;
      const int copy = now[index(buffer(p))];
      if (copy < 0) return p;
      Place place = to.places[index(p)];
      place.buffer = copy;
      return to.add_place(place);
    };
    auto rename_one = [&](Step& s) {
      for (int& p : s.in) p = renamed(p);
      for (int& p : s.wrote) p = renamed(p);
      for (int k = 0; k < s.n_out; ++k) s.out[k] = renamed(s.out[k]);
      s.aux = renamed(s.aux);
    };
    auto rename = [&](Step& s) {
      rename_one(s);
      for (Step& part : s.parts) rename_one(part);
    };
    auto need = [&](int wanted) {
      std::vector<int> todo{wanted};
      while (!todo.empty()) {
        const int b = todo.back();
        const int maker = uses_[index(b)].maker;
        if (now[index(b)] >= 0) {
          todo.pop_back();
          continue;
        }
        bool ready = true;
        reads(r_.steps[index(maker)], [&](int p) {
          const int other = buffer(p);
          if (other == b || now[index(other)] >= 0 || !dropped[index(other)]) return;
          ready = false;
          todo.push_back(other);
        });
        if (!ready) continue;
        todo.pop_back();
        Step copy = r_.steps[index(maker)];
        results(copy, [&](int p) {
          const int made = buffer(p);
          now[index(made)] = static_cast<int>(to.buffers.size());
          Buffer again = to.buffers[index(made)];
          to.buffers.push_back(std::move(again));
        });
        rename(copy);
        copy.again = true;
        f.recomputed.extra_flops += flops_of(to, copy);
        ++f.recomputed.steps;
        to.steps.push_back(std::move(copy));
      }
    };
    for (int i = 0; i < n_; ++i) {
      Step s = r_.steps[index(i)];
      if (i >= boundary_) {
        reads(s, [&](int p) {
          if (dropped[index(buffer(p))]) need(buffer(p));
        });
        rename(s);
      }
      moved[index(i)] = to.steps.size();
      to.steps.push_back(std::move(s));
    }
    for (auto& setting : to.settings) setting.first = moved[setting.first];
    std::vector<bool> own = own_;
    own.resize(to.buffers.size());
    f.arena = lay_out(to, own).bytes;
    f.recomputed.saved = full_ - f.arena;
    return f;
  }

  const Recording& r_;
  const std::vector<bool>& own_;
  int n_, boundary_ = 0;
  std::int64_t full_ = 0;
  std::vector<Use> uses_;
  std::vector<std::vector<int>> written_;  // by which steps
  std::vector<bool> droppable_;
  std::vector<int> wanted_ = std::vector<int>(r_.buffers.size(), -1);  // from which step on, for others
  std::vector<Stage> stages_;
};

}  // namespace

Recomputed fit_budget(Recording& r, const std::vector<bool>& own, std::int64_t budget) {
  Search search(r, own);
  if (search.full() <= budget) return {};
  std::int64_t smallest = 0;
  std::optional<Search::Found> found = search.best(budget, smallest);
  if (!found)
    fail(ErrorKind::Plan, "compile: memory_budget of ", budget,
         " bytes cannot be met; the smallest that can is ", smallest, ", and ", search.full(),
         " are used where nothing is computed twice");
  r = std::move(found->recording);
  return found->recomputed;
}

}  // namespace unspool
