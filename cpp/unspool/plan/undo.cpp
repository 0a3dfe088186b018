// What a replay takes back where one of its instructions raises, such as a loss that is given a label out of
// range: memory from outside that was written by then, gradients, and streams of random numbers. Plans
// without such an instruction keep nothing, and of the others it is little: losses come before updates.
#include <algorithm>
#include <cstring>
#include <map>

#include "unspool/base/pool.h"
#include "unspool/plan/plan.h"

namespace unspool {
namespace {

// Places that a step writes.
void each_written(const Step& s, const auto& f) {
  for (int k = 0; k < s.n_out; ++k)
    if (s.out[k] >= 0) f(s.out[k]);
  for (int p : s.wrote)
    if (p >= 0) f(p);
  for (const Step& part : s.parts) each_written(part, f);
}

std::int64_t end_of(const Place& p) {
  std::int64_t last = 0;
  for (int d = 0; d < p.shape.ndim; ++d) {
    if (p.shape[d] == 0) return p.offset;
    last += (p.shape[d] - 1) * p.strides[d];
  }
  return p.offset + (last + 1) * static_cast<std::int64_t>(item_size(p.dtype));
}

Generator* stream_of(const Step& s) {
  for (int i = 0; i < s.attrs.n; ++i)
    if (s.attrs.v[i].kind == Attr::Pointer) return static_cast<Generator*>(s.attrs.v[i].p);
  return &default_generator();
}

}  // namespace

// A division raises for whole numbers alone.
bool raises(const Recording& r, const Step& s) {
  return s.op->refuses &&
         (s.op->map < 0 ||
          std::any_of(
              s.in.begin(), s.in.end(),
              [&](int p) { return p >= 0 && !is_floating(r.places[static_cast<std::size_t>(p)].dtype); }));
}

void Plan::find_undone() {
  std::size_t last = r_.steps.size();
  while (last > 0 && !raises(r_, r_.steps[last - 1])) --last;
  if (last == 0) return;
  raises_last_ = &r_.steps[last - 1];
  for (Moving& m : moving_)  // which a replay begins with filling
    m.undone = r_.buffers[static_cast<std::size_t>(m.buffer)].kind == Buffer::Constant;
  struct Range {
    int first;
    std::int64_t end;
  };
  std::map<int, Range> ranges;  // by buffer
  for (const Step* s = r_.steps.data(); s != raises_last_; ++s) {
    each_written(*s, [&](int p) {
      const Place& place = r_.places[static_cast<std::size_t>(p)];
      const Buffer& buffer = r_.buffer_of(p);
      if (buffer.kind == Buffer::External || buffer.kind == Buffer::Input) {
        Range& range = ranges.try_emplace(place.buffer, Range{p, end_of(place)}).first->second;
        if (place.offset < r_.places[static_cast<std::size_t>(range.first)].offset) range.first = p;
        range.end = std::max(range.end, end_of(place));
      } else if (const int m = moving_of_[static_cast<std::size_t>(place.buffer)]; m >= 0) {
        moving_[static_cast<std::size_t>(m)].undone = true;
      }
    });
    if (draws(*s) && std::none_of(streams_.begin(), streams_.end(),
                                  [&](const auto& known) { return known.first == stream_of(*s); }))
      streams_.emplace_back(stream_of(*s), Generator(0));
  }
  for (const auto& [buffer, range] : ranges) {
    const auto begin = r_.places[static_cast<std::size_t>(range.first)].offset;
    undone_.push_back(
        {tensor_at(range.first), std::vector<char>(static_cast<std::size_t>(range.end - begin))});
  }
}

void Plan::keep_undone() {
  for (Before& b : undone_)
    if (!b.bytes.empty()) std::memcpy(b.bytes.data(), b.at->data, b.bytes.size());
  for (auto& [generator, before] : streams_) {
    const Undivided whole;  // others may wait for the lock, and hold Python meanwhile
    const std::lock_guard lock(generator->mutex());
    before = *generator;
  }
}

void Plan::put_back_undone() {
  for (const Before& b : undone_)
    if (!b.bytes.empty()) std::memcpy(b.at->data, b.bytes.data(), b.bytes.size());
  for (const auto& [generator, before] : streams_) {
    const Undivided whole;
    const std::lock_guard lock(generator->mutex());
    *generator = before;
  }
}

bool Plan::raises_last_in(const void* function) const {
  return raises_last_ && calls_out(*raises_last_) && raises_last_->attrs.v[0].p == function;
}

}  // namespace unspool
