#include "unspool/plan/recompute.h"

#include <algorithm>

#include "unspool/plan/plan.h"

namespace unspool {
namespace {

std::size_t index(int i) { return static_cast<std::size_t>(i); }

}  // namespace

Repeats::Repeats(const Recording& r, const std::vector<bool>& own)
    : r_(r), own_(own), n_(static_cast<int>(r.steps.size())) {
  find_uses();
  find_boundary();
  find_droppable();
}

void Repeats::find_uses() {
  uses_.resize(r_.buffers.size());
  written_.resize(r_.buffers.size());
  for (int i = 0; i < n_; ++i) {
    const Step& s = r_.steps[index(i)];
    each_result(s, [&](int p) {
      Use& u = uses_[index(buffer_at(r_, p))];
      if (u.maker < 0) u.maker = i;
      if (u.maker != i) u.plain = false;
      written_[index(buffer_at(r_, p))].push_back(i);
    });
    for (int p : s.wrote) {
      uses_[index(buffer_at(r_, p))].plain = false;
      written_[index(buffer_at(r_, p))].push_back(i);
    }
    each_read(s, [&](int p) {
      Use& u = uses_[index(buffer_at(r_, p))];
      if (u.maker < 0 || (u.maker == i && s.inplace)) u.plain = false;
      u.last = i;
    });
  }
}

// Where most bytes that the forward made wait for backward, behind the last step of the forward there. Where
// no step was recorded for a backward: when most bytes are alive.
void Repeats::find_boundary() {
  const bool graph = std::any_of(r_.steps.begin(), r_.steps.end(), [](const Step& s) { return s.recording; });
  std::vector<int> end(uses_.size(), -1);
  for (int i = 0; i < n_; ++i)
    if (!graph || !r_.steps[index(i)].recording)
      each_read(r_.steps[index(i)], [&](int p) { end[index(buffer_at(r_, p))] = i; });
  std::vector<std::int64_t> change(index(n_) + 1);
  for (std::size_t b = 0; b < uses_.size(); ++b) {
    const int maker = uses_[b].maker;
    if (own_[b] || maker < 0 || end[b] <= maker || (graph && !r_.steps[index(maker)].recording)) continue;
    change[index(maker) + graph] += arena_bytes(r_.buffers[b]);
    change[index(end[b]) + 1] -= arena_bytes(r_.buffers[b]);
  }
  std::int64_t alive = 0, most = 0;
  bool at_most = false;
  for (int i = 0; i < n_; ++i) {
    alive += change[index(i)];
    at_most = alive > most || (at_most && alive == most);
    if (alive > most) {
      most = alive;
      boundary_ = i;
    }
    if (graph && at_most && r_.steps[index(i)].recording) boundary_ = i + 1;
  }
  for (int i = 0; i < n_; ++i)
    each_read(r_.steps[index(i)], [&](int p) {
      Use& u = uses_[index(buffer_at(r_, p))];
      if (i < boundary_)
        u.early = i;
      else if (u.late < 0)
        u.late = i;
    });
}

// Whether the step may run again until step `at`: it reads what it read then, and changes nothing else.
bool Repeats::repeatable(int i, int at) const {
  const Step& s = r_.steps[index(i)];
  if (s.op->cls == Class::Random || s.op->cls == Class::Update || s.whole || s.inplace || !s.wrote.empty() ||
      calls_out(s) || !s.parts.empty())
    return false;
  bool same = true;
  each_result(s, [&](int p) {
    same = same && uses_[index(buffer_at(r_, p))].plain && !own_[index(buffer_at(r_, p))];
  });
  each_read(s, [&](int p) {
    for (int w : written_[index(buffer_at(r_, p))]) same = same && (w <= i || w >= at);
  });
  return same;
}

void Repeats::find_droppable() {
  droppable_.resize(uses_.size());
  std::vector<int> wanted(uses_.size(), -1);  // until which step, for others
  for (int i = boundary_; i-- > 0;) {
    int own = n_, others = -1;
    each_result(r_.steps[index(i)], [&](int p) {
      if (const int late = uses_[index(buffer_at(r_, p))].late; late >= 0) own = std::min(own, late);
      others = std::max(others, wanted[index(buffer_at(r_, p))]);
    });
    const int at = own < n_ ? own : others;
    if (at < 0 || !repeatable(i, at)) continue;
    each_result(r_.steps[index(i)], [&](int p) { droppable_[index(buffer_at(r_, p))] = true; });
    each_read(r_.steps[index(i)], [&](int p) {
      int& w = wanted[index(buffer_at(r_, p))];
      w = std::max(w, at);
    });
  }
}

std::vector<int> Repeats::order(const std::vector<bool>& dropped) const {
  std::vector<int> order, todo;
  std::vector<bool> there(uses_.size());  // again
  const auto need = [&](int wanted) {
    todo.push_back(wanted);
    while (!todo.empty()) {
      const int b = todo.back(), maker = uses_[index(b)].maker;
      bool ready = true;
      if (!there[index(b)])
        each_read(r_.steps[index(maker)], [&](int p) {
          const int other = buffer_at(r_, p);
          if (other == b || there[index(other)] || !dropped[index(other)]) return;
          ready = false;
          todo.push_back(other);
        });
      if (!ready) continue;
      todo.pop_back();
      if (there[index(b)]) continue;
      each_result(r_.steps[index(maker)], [&](int p) { there[index(buffer_at(r_, p))] = true; });
      order.push_back(~maker);
    }
  };
  for (int i = 0; i < n_; ++i) {
    if (i >= boundary_)
      each_read(r_.steps[index(i)], [&](int p) {
        if (dropped[index(buffer_at(r_, p))]) need(buffer_at(r_, p));
      });
    order.push_back(i);
  }
  return order;
}

Recording Repeats::again(const std::vector<int>& order) const {
  Recording to = r_;
  to.steps.clear();
  std::vector<int> now(r_.buffers.size(), -1);  // the copy that stands for a buffer
  std::vector<std::size_t> moved(r_.steps.size());
  auto renamed = [&](int p) {
    if (p < 0) return p;
    const int copy = now[index(buffer_at(to, p))];
    if (copy < 0) return p;
    Place place = to.places[index(p)];
    place.buffer = copy;
    return to.add_place(place);
  };
  auto rename = [&](Step& s) {
    for (int& p : s.in) p = renamed(p);
    for (int& p : s.wrote) p = renamed(p);
    for (int k = 0; k < s.n_out; ++k) s.out[k] = renamed(s.out[k]);
    s.aux = renamed(s.aux);
  };
  for (int i : order) {
    Step s = r_.steps[index(i < 0 ? ~i : i)];
    s.again = i < 0;
    if (s.again)
      each_result(s, [&](int p) {
        now[index(buffer_at(r_, p))] = static_cast<int>(to.buffers.size());
        to.buffers.push_back(r_.buffer_of(p));
      });
    else
      moved[index(i)] = to.steps.size();
    rename(s);
    for (Step& part : s.parts) rename(part);
    to.steps.push_back(std::move(s));
  }
  for (auto& setting : to.settings) setting.first = moved[setting.first];
  return to;
}

}  // namespace unspool
