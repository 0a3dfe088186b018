// Between fusion and layout: results that are needed again much later, as backward needs a layer's, are let
// go of and computed a second time from what is still there, by the same steps: so with the same bits.
//
// Nodes are the steps that may run again (recompute.h), in order. A choice is a sequence of cuts between
// them: what crosses a cut is kept, the segment between two is recomputed at once when the first later step
// wants one of its results, and its last node may be kept, too. On a chain, where each node reads the one
// before it, these are all choices of nodes to keep. The bytes alive at a moment are those that every choice
// has there, what is kept of earlier segments, and a term of the one segment that the moment belongs to: so
// dynamic programming over the cuts, with the bytes kept so far against the flops, finds the cheapest choice
// whose fullest moment is within a limit. From there choices are listed in the order of their flops, and the
// first is taken whose arena, as lay_out makes it, fits: best fit may leave holes. On other graphs several
// results may cross a cut and be wanted in another order than they were made; there the terms are estimates,
// and the arena alone decides.
#include "unspool/plan/budget.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <queue>
#include <tuple>

#include "unspool/plan/plan.h"
#include "unspool/plan/recompute.h"

namespace unspool {
namespace {

// Cuts, points of a front and open ends of choices; steps laid out to look at arenas; looks at other limits,
// with so few choices each, where the first look came to no end.
constexpr std::size_t kMostCuts = 512, kMostPoints = 512, kMostParts = std::size_t{1} << 20;
constexpr std::size_t kMostLaid = std::size_t{1} << 20, kFew = 8;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max() / 4, kStep = 64, kLooks = 64;

std::size_t index(int i) { return static_cast<std::size_t>(i); }

class Search {
 public:
  Search(const Recording& r, const std::vector<bool>& own)
      : r_(r), own_(own), repeats_(r, own), n_(static_cast<int>(r.steps.size())) {
    full_ = lay_out(r_, own_).bytes;
  }
  std::int64_t full() const { return full_; }

  struct Found {
    std::vector<bool> dropped;  // buffers
    std::int64_t arena = 0;
  };
  void prepare() {
    find_nodes();
    find_profile();
    find_cuts();
    find_edges();
    find_least();
  }
  // Of the choices whose arena is within the budget the one with the fewest flops.
  std::optional<Found> cheapest(std::int64_t budget) {
    std::optional<Found> found = look(std::max(budget, least_), budget, kMostLaid);
    saw_all_ = ended_;
    for (std::int64_t k = kLooks - 1; k >= 0 && !found && !ended_ && budget > least_; --k)
      found = look(least_ + (budget - least_) * k / kLooks, budget, kFew * r_.steps.size());
    return found;
  }
  // The choice with the smallest arena.
  Found smallest() {
    smallest_ = {std::vector<bool>(r_.buffers.size()), full_};
    for (std::int64_t k = 0; k < kLooks; ++k) {
      const std::int64_t limit = least_ + (full_ - least_) * k / kLooks;
      if (limit >= smallest_.arena) break;
      look(limit, least_, kFew * r_.steps.size());
    }
    while (smallest_.arena > least_ && cheapest(smallest_.arena - kStep)) {
    }
    return smallest_;
  }
  // Whether there can be no smaller one: the last search for it came to the end of its choices.
  bool is_smallest() const { return saw_all_ || smallest_.arena <= least_; }

 private:
  struct Node {
    int step = 0;
    int reader = -1;             // the last node that reads it
    int late = 0, early = 0;     // first step that wants it late, last step that reads it early
    std::int64_t held = 0;       // bytes of results that are wanted late
    std::int64_t passing = 0;    // of others, which nodes read
    std::int64_t bytes = 0;      // of all results
    std::int64_t source = 0;     // of what cannot be dropped and only this node may want again
    std::int64_t cost = 0;       // flops times the number of steps, and one
    std::int64_t forward = 0;    // most alive from the node before to this one
    std::int64_t forgotten = 0;  // the same, after the last early reader of the node before
    std::int64_t window = 0;     // most alive from its first late use to those of nodes before it
  };
  // Of the nodes between two cuts: none but what crosses the second cut is kept, or the last, too, or all.
  enum Keep : std::uint8_t { Crossing, Last, All };
  struct Edge {
    int from;  // state: twice the cut, and one where the node before it is kept
    Keep keep;
    std::int64_t need, add, cost;  // most alive and kept afterwards, on top of what was kept before; flops
  };
  struct Point {
    std::int64_t kept, cost;
  };
  using Front = std::vector<Point>;  // more bytes kept, less cost

  void find_nodes() {
    std::vector<int> node_of(r_.buffers.size(), -1);
    std::vector<bool> read(r_.buffers.size());
    for (int i = 0; i < repeats_.boundary(); ++i) {
      const Step& s = r_.steps[index(i)];
      bool may = false;
      each_result(s, [&](int p) { may = may || repeats_.droppable(buffer_at(r_, p)); });
      if (!may) continue;
      const int number = static_cast<int>(nodes_.size());
      Node& node = nodes_.emplace_back();
      node.step = node.early = i;
      node.late = n_;
      node.cost = flops_of(r_, s) * (n_ + 1) + 1;
      each_read(s, [&](int p) {
        const int b = buffer_at(r_, p), maker = node_of[index(b)];
        const Use& u = repeats_.use(b);
        if (maker >= 0)
          nodes_[index(maker)].reader = number;
        else if (!own_[index(b)] && u.maker >= 0 && u.late < 0 && !read[index(b)])
          node.source += size(b);
        if (maker >= 0 && u.late < 0 && !read[index(b)]) nodes_[index(maker)].passing += size(b);
        read[index(b)] = true;
      });
      each_result(s, [&](int p) {
        const int b = buffer_at(r_, p);
        const Use& u = repeats_.use(b);
        node_of[index(b)] = number;
        node.bytes += size(b);
        node.early = std::max(node.early, u.early);
        if (u.late < 0) return;
        node.held += size(b);
        node.late = std::min(node.late, u.late);
      });
    }
    const int n = static_cast<int>(nodes_.size());
    ends_.resize(index(n));
    first_late_.assign(index(n) + 1, n_);
    crosses_.resize(index(n) + 1);
    int reader = -1;
    for (int j = 0; j < n; ++j) {
      const Node& node = nodes_[index(j)];
      if (node.reader >= 0) ends_[index(node.reader)].push_back(j);
      first_late_[index(j) + 1] = std::min(first_late_[index(j)], node.late);
      reader = std::max(reader, node.reader);
      crosses_[index(j) + 1] = reader > j;
    }
  }
  std::int64_t size(int b) const { return arena_bytes(r_.buffers[index(b)]); }

  // What is alive at each step whatever is chosen: a node's results while forward reads them, and from the
  // first late use on.
  void find_profile() {
    touched_.resize(index(n_));
    std::vector<int> late(r_.buffers.size(), -1);
    for (std::size_t b = 0; b < r_.buffers.size(); ++b)
      lives_.push_back({own_[b] ? 0 : size(static_cast<int>(b))});
    std::vector<Life> lives = lives_;
    for (int i = 0; i < n_; ++i) {
      const auto touch = [&](int p) {
        touched_[index(i)].push_back(buffer_at(r_, p));
        lives[index(buffer_at(r_, p))].touch(index(i));
      };
      each_read(r_.steps[index(i)], touch);
      each_result(r_.steps[index(i)], touch);
    }
    for (const Node& node : nodes_)
      each_result(r_.steps[index(node.step)], [&](int p) { late[index(buffer_at(r_, p))] = node.late; });
    alive_.resize(index(n_) + 1);
    across_.resize(index(n_) + 1);
    for (std::size_t b = 0; b < lives.size(); ++b) {
      const Life& life = lives[b];
      if (life.bytes == 0 || life.first >= index(n_)) continue;
      const auto live = [&](std::size_t from, std::size_t to) {
        alive_[from] += life.bytes;
        alive_[to + 1] -= life.bytes;
        across_[from] -= life.bytes;
      };
      const Use& u = repeats_.use(static_cast<int>(b));
      live(life.first, late[b] < 0 ? life.last : index(std::max(u.maker, u.early)));
      if (late[b] >= 0 && u.late >= 0) live(index(late[b]), life.last);
    }
    for (int i = 0; i < n_; ++i) {
      if (i) alive_[index(i)] += alive_[index(i) - 1];
      across_[index(i)] += alive_[index(i)];
    }
    for (int j = 0; j <= static_cast<int>(nodes_.size()); ++j) {
      const int from = j ? nodes_[index(j) - 1].step + 1 : 0;
      const int forgotten = j ? std::max(nodes_[index(j) - 1].early + 1, from) : from;
      if (j == static_cast<int>(nodes_.size())) {
        end_ = {.forward = most(from, repeats_.boundary()),
                .forgotten = most(forgotten, repeats_.boundary())};
        end_.window = most(repeats_.boundary(), first_late_[index(j)]);
        break;
      }
      Node& node = nodes_[index(j)];
      node.forward = most(from, node.step + 1);
      node.forgotten = most(forgotten, node.step + 1);
      node.window = most(node.late, first_late_[index(j)]);
    }
  }
  std::int64_t most(int from, int to) const {
    std::int64_t bytes = -kNever;
    for (int i = from; i < to; ++i) bytes = std::max(bytes, alive_[index(i)]);
    return bytes;
  }

  void find_cuts() {
    const int n = static_cast<int>(nodes_.size());
    cuts_.push_back(0);
    for (int q = 1; q <= n; ++q) {
      // In a long chain no cut where the next node, no larger and without a product, is as good to keep.
      const Node& node = nodes_[index(q) - 1];
      const bool useless = nodes_.size() > kMostCuts && q < n && node.held == 0 && node.reader == q &&
                           nodes_[index(q)].bytes <= node.bytes && nodes_[index(q)].cost == 1;
      if (!useless) cuts_.push_back(q);
    }
    const std::size_t stages = cuts_.size() - 1;
    if (stages <= kMostCuts) return;
    for (std::size_t k = 0; k <= kMostCuts; ++k) cuts_[k] = cuts_[stages * k / kMostCuts];
    cuts_.resize(kMostCuts + 1);
  }
  void find_edges() {
    const int n = static_cast<int>(cuts_.size());
    edges_.resize(2 * cuts_.size());
    for (int from = 0; from < 2 * n - 2; ++from) {
      const int a = from / 2;
      if (a == 0 && from > 0) continue;
      for (int b = a + 1; b < n; ++b) {
        const int q = cuts_[index(b)];
        const auto add = [&](Keep keep) {
          const Edge e = edge(from, b, keep);
          if (e.need < full_) edges_[index(2 * b + (keep != Crossing))].push_back(e);
        };
        add(Last);
        if (nodes_[index(q) - 1].reader < q) add(Crossing);
        if (b == a + 1 && q > cuts_[index(a)] + 1) add(All);
        if (!crosses_[index(q)]) break;  // the next segment is recomputed on its own
      }
    }
  }
  bool kept(int j, int q, Keep keep) const {
    return (keep == All && nodes_[index(j)].held > 0) || nodes_[index(j)].reader >= q ||
           (keep == Last && j == q - 1);
  }
  Edge edge(int from, int to, Keep keep) const {
    const int p = cuts_[index(from / 2)], q = cuts_[index(to)];
    const bool has_top = from % 2;
    const Node top = has_top ? nodes_[index(p) - 1] : Node{};
    Edge e{from, keep, 0, 0, 0};
    int last = -1, when = n_;  // the last node that is recomputed, and before which step
    for (int j = p; j < q; ++j)
      if (!kept(j, q, keep) && nodes_[index(j)].held > 0) {
        last = j;
        when = std::min(when, nodes_[index(j)].late);
      }
    const auto again = [&](int j) { return j <= last && !kept(j, q, keep); };
    if (last < 0 && has_top && top.held == 0) e.need = kNever;  // the same as to drop it

    // Forward. `more` is what is kept on top; what a node before still reads is in the profile.
    const std::int64_t passing = last >= 0 ? top.passing : 0;
    std::int64_t more = -top.held, next = top.held + passing;
    for (int j = p; j < q; ++j) {
      const Node& node = nodes_[index(j)];
      e.need = std::max({e.need, node.forward + more, node.forgotten + more + next});
      more += next + (again(j) ? node.source : 0);
      next = kept(j, q, keep) ? node.held + (j < q - 1 ? node.passing : 0) : 0;
    }
    e.add = more + next;

    // While it is recomputed.
    std::int64_t above = 0, sources = 0;
    for (int j = p; j < q; ++j) {
      if (kept(j, q, keep) && nodes_[index(j)].late >= when) above += nodes_[index(j)].held;
      if (again(j)) sources += nodes_[index(j)].source;
    }
    std::int64_t made = passing + sources;
    for (int j = p; j <= last; ++j) {
      const Node& node = nodes_[index(j)];
      if (!again(j)) continue;
      e.cost += node.cost;
      e.need = std::max(e.need, across_[index(when)] + above + made + node.bytes);
      made += node.held - node.source + (node.reader <= last ? node.passing : 0);
      for (int x : ends_[index(j)])
        if ((x >= p && again(x)) || (x == p - 1 && has_top)) made -= nodes_[index(x)].passing;
    }
    // Late, from where each is wanted first to where those before it are.
    std::int64_t waiting = 0, copies = 0;
    for (int j = p; j < q; ++j) {
      const Node& node = nodes_[index(j)];
      if (node.held == 0) continue;
      e.need = std::max(e.need, node.window + waiting + (node.late >= when ? copies : passing + sources));
      (kept(j, q, keep) ? waiting : copies) += node.held;
    }
    return e;
  }
  std::int64_t need_at_end(int state) const {
    const std::int64_t held = state % 2 && !nodes_.empty() ? nodes_.back().held : 0;
    return std::max({end_.forward - held, end_.forgotten, end_.window});
  }

  // The least limit that a choice's fullest moment may have.
  void find_least() {
    const auto within = [&](std::int64_t limit) {
      std::vector<std::int64_t> kept(edges_.size(), kNever);
      kept[0] = 0;
      for (std::size_t to = 2; to < edges_.size(); ++to)
        for (const Edge& e : edges_[to])
          if (const std::int64_t before = kept[index(e.from)]; before + e.need <= limit)
            kept[to] = std::min(kept[to], before + e.add);
      for (std::size_t s = edges_.size() - 2; s < edges_.size(); ++s)
        if (kept[s] + need_at_end(static_cast<int>(s)) <= limit) return true;
      return false;
    };
    std::int64_t low = 0, high = full_ / kStep;
    while (low < high) {
      const std::int64_t middle = (low + high) / 2;
      if (within(middle * kStep))
        high = middle;
      else
        low = middle + 1;
    }
    least_ = low * kStep;
  }

  // Of all ways to each state within the limit the best.
  std::vector<Front> fronts(std::int64_t limit) const {
    std::vector<Front> all(edges_.size());
    all[0].push_back({0, 0});
    Front both;
    for (std::size_t to = 2; to < edges_.size(); ++to) {
      Front& front = all[to];
      for (const Edge& e : edges_[to]) {
        const Front& before = all[index(e.from)];
        auto a = front.begin();
        auto b = before.begin();
        both.clear();
        while (true) {
          const bool more = b != before.end() && b->kept + e.need <= limit;
          if (a == front.end() && !more) break;
          Point next{};
          if (more && (a == front.end() || b->kept + e.add < a->kept)) {
            next = {b->kept + e.add, b->cost + e.cost};
            ++b;
          } else {
            next = *a++;
          }
          if (!both.empty() && both.back().cost <= next.cost) continue;
          if (!both.empty() && both.back().kept == next.kept) both.pop_back();
          both.push_back(next);
        }
        front.swap(both);
      }
      const std::size_t n = front.size();
      if (n <= kMostPoints) continue;
      for (std::size_t k = 0; k < kMostPoints; ++k) front[k] = front[(n - 1) * k / (kMostPoints - 1)];
      front.resize(kMostPoints);
    }
    return all;
  }

  // Of the recording that runs in this order, as lay_out would make it.
  std::int64_t arena(const std::vector<int>& order) const {
    std::vector<Life> lives = lives_;
    std::vector<int> now(lives.size(), -1);  // the copy that stands for a buffer
    for (std::size_t k = 0; k < order.size(); ++k) {
      const int step = order[k] < 0 ? ~order[k] : order[k];
      if (order[k] < 0)
        each_result(r_.steps[index(step)], [&](int p) {
          now[index(buffer_at(r_, p))] = static_cast<int>(lives.size());
          lives.push_back(lives_[index(buffer_at(r_, p))]);
        });
      for (int b : touched_[index(step)]) lives[index(now[index(b)] < 0 ? b : now[index(b)])].touch(k);
    }
    return lay_out(lives, order.size()).bytes;
  }

  // The choices whose fullest moment is within the limit, by cost, until the arena of one is within the
  // budget. `most` steps are laid out; ended_ becomes whether these were all choices. From the last cut
  // backwards: what the rest of a choice costs at least is known from the fronts.
  std::optional<Found> look(std::int64_t limit, std::int64_t budget, std::size_t most) {
    struct Part {
      int state, after;  // part
      Keep keep;         // of the segment up to there
      std::int64_t need, cost;
    };
    const std::vector<Front> best = fronts(limit);
    std::vector<Part> parts;
    std::priority_queue<std::tuple<std::int64_t, int, int>> open;  // cost, state and part; negative
    const auto add = [&](const Part& part) {
      const Front& front = best[index(part.state)];
      const auto end = std::upper_bound(front.begin(), front.end(), limit - part.need,
                                        [](std::int64_t kept, const Point& p) { return kept < p.kept; });
      if (end == front.begin()) return;
      open.emplace(-part.cost - std::prev(end)->cost, -part.state, -static_cast<int>(parts.size()));
      parts.push_back(part);
    };
    for (int s = static_cast<int>(edges_.size()) - 2; s < static_cast<int>(edges_.size()); ++s)
      add({s, -1, Crossing, need_at_end(s), 0});
    std::size_t laid = 0;
    ended_ = false;
    while (!open.empty() && laid < most && parts.size() < kMostParts) {
      const int number = -std::get<2>(open.top());
      open.pop();
      const Part part = parts[index(number)];
      if (part.state > 0) {
        for (const Edge& e : edges_[index(part.state)])
          add({e.from, number, e.keep, std::max(e.need, part.need + e.add), part.cost + e.cost});
        continue;
      }
      Found found{std::vector<bool>(r_.buffers.size()), 0};
      for (const Part* x = &part; x->after >= 0;) {
        const Part* next = &parts[index(x->after)];
        const int q = cuts_[index(next->state / 2)];
        for (int j = cuts_[index(x->state / 2)]; j < q; ++j)
          if (!kept(j, q, x->keep))
            each_result(r_.steps[index(nodes_[index(j)].step)],
                        [&](int p) { found.dropped[index(buffer_at(r_, p))] = true; });
        x = next;
      }
      const std::vector<int> order = repeats_.order(found.dropped);
      found.arena = arena(order);
      laid += order.size();
      if (found.arena < smallest_.arena) smallest_ = found;
      if (found.arena <= budget) return found;
    }
    ended_ = open.empty();
    return {};
  }

 public:
  // The recording that a choice makes, and what it costs.
  std::pair<Recording, Recomputed> made(const Found& found) const {
    const std::vector<int> order = repeats_.order(found.dropped);
    Recomputed cost{full_ - found.arena};
    for (int i : order)
      if (i < 0) {
        cost.extra_flops += flops_of(r_, r_.steps[index(~i)]);
        ++cost.steps;
      }
    return {repeats_.again(order), cost};
  }

 private:
  const Recording& r_;
  const std::vector<bool>& own_;
  const Repeats repeats_;
  int n_;
  std::int64_t full_ = 0, least_ = 0;
  std::vector<Life> lives_;                // of the buffers, before any step
  std::vector<std::vector<int>> touched_;  // buffers, by each step
  std::vector<Node> nodes_;
  Node end_;                                  // of the forward: what a node after the last would have
  std::vector<std::vector<int>> ends_;        // of each node, those that it reads last
  std::vector<int> first_late_;               // of all nodes before each
  std::vector<bool> crosses_;                 // whether a node reads one of those before each
  std::vector<std::int64_t> alive_, across_;  // at each step, and of that what was alive before it
  std::vector<int> cuts_;                     // nodes before each
  std::vector<std::vector<Edge>> edges_;      // that lead to each state
  Found smallest_;
  bool ended_ = false, saw_all_ = false;
};

}  // namespace

Recomputed fit_budget(Recording& r, const std::vector<bool>& own, std::int64_t budget) {
  Search search(r, own);
  if (search.full() <= budget) return {};
  search.prepare();
  std::optional<Search::Found> found = search.cheapest(budget / kStep * kStep);
  if (!found) found = search.smallest();
  if (found->arena > budget)
    fail(ErrorKind::Plan, "compile: memory_budget of ", budget,
         " bytes cannot be met; the smallest that can is ", found->arena,
         search.is_smallest() ? "" : ", of the many that were tried", ", and ", search.full(),
         " are used where nothing is computed twice");
  auto [to, cost] = search.made(*found);
  r = std::move(to);
  return cost;
}

}  // namespace unspool
