// The fourth pass: lifetimes, and offsets in the arena. Buffers are taken in the order of their first step,
// each from the smallest free block that holds it; what dies is joined with its free neighbours. Linear in
// the number of steps but for the logarithm of looking up a block.
#include <algorithm>
#include <map>
#include <set>

#include "unspool/plan/plan.h"

namespace unspool {
namespace {

constexpr std::int64_t kAlign = 64;

class Blocks {
 public:
  std::int64_t take(std::int64_t bytes) {
    auto fit = by_size_.lower_bound({bytes, 0});
    if (fit == by_size_.end()) {  // at the end, over what is free there
      std::int64_t at = end_;
      if (!by_offset_.empty())
        if (auto last = std::prev(by_offset_.end()); last->first + last->second == end_) {
          at = last->first;
          by_size_.erase({last->second, at});
          by_offset_.erase(last);
        }
      end_ = at + bytes;
      return at;
    }
    const auto [size, at] = *fit;
    by_size_.erase(fit);
    by_offset_.erase(at);
    if (size > bytes) add(at + bytes, size - bytes);
    return at;
  }
  void give(std::int64_t at, std::int64_t bytes) {
    auto next = by_offset_.lower_bound(at);
    if (next != by_offset_.end() && at + bytes == next->first) {
      bytes += next->second;
      by_size_.erase({next->second, next->first});
      next = by_offset_.erase(next);
    }
    if (next != by_offset_.begin())
      if (auto before = std::prev(next); before->first + before->second == at) {
        at = before->first;
        bytes += before->second;
        by_size_.erase({before->second, before->first});
        by_offset_.erase(before);
      }
    add(at, bytes);
  }
  std::int64_t end() const { return end_; }

 private:
  void add(std::int64_t at, std::int64_t bytes) {
    by_offset_[at] = bytes;
    by_size_.insert({bytes, at});
  }
  std::map<std::int64_t, std::int64_t> by_offset_;
  std::set<std::pair<std::int64_t, std::int64_t>> by_size_;
  std::int64_t end_ = 0;
};

}  // namespace

std::int64_t arena_bytes(const Buffer& b) {
  return std::max((b.bytes + kAlign - 1) / kAlign * kAlign, kAlign);
}

Layout lay_out(const std::vector<Life>& lives, std::size_t steps) {
  std::vector<std::vector<std::size_t>> born(steps), dead(steps);
  for (std::size_t b = 0; b < lives.size(); ++b)
    if (lives[b].bytes > 0 && lives[b].first < steps) {
      born[lives[b].first].push_back(b);
      dead[lives[b].last].push_back(b);
    }
  Layout layout{std::vector<std::int64_t>(lives.size(), -1)};
  Blocks blocks;
  for (std::size_t i = 0; i < steps; ++i) {
    for (std::size_t b : born[i]) {
      layout.offset[b] = blocks.take(lives[b].bytes);
      layout.temporary += lives[b].bytes;
    }
    for (std::size_t b : dead[i]) blocks.give(layout.offset[b], lives[b].bytes);
  }
  layout.bytes = blocks.end();
  return layout;
}

Layout lay_out(const Recording& r, const std::vector<bool>& own) {
  std::vector<Life> lives;
  for (std::size_t b = 0; b < r.buffers.size(); ++b)
    lives.push_back({own[b] ? 0 : arena_bytes(r.buffers[b])});
  for (std::size_t i = 0; i < r.steps.size(); ++i) {
    const Step& s = r.steps[i];
    auto use = [&](int place) {
      if (place >= 0)
        lives[static_cast<std::size_t>(r.places[static_cast<std::size_t>(place)].buffer)].touch(i);
    };
    for (int place : s.in) use(place);
    for (int k = 0; k < s.n_out; ++k) use(s.out[k]);
    use(s.aux);
  }
  return lay_out(lives, r.steps.size());
}

}  // namespace unspool
