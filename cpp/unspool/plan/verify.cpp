// The second pass: two recordings of one function must be the same program. What differs is named with its
// line.
#include <algorithm>

#include "unspool/plan/recording.h"

namespace unspool {
namespace {

bool same_attr(const Attr& a, const Attr& b) { return a.kind == b.kind && a.i == b.i; }

class Comparison {
 public:
  Comparison(const Recording& a, const Recording& b) : a_(a), b_(b), partner_(a.buffers.size(), -1) {}

  std::string run() {
    for (std::size_t i = 0; i < a_.steps.size() && i < b_.steps.size(); ++i)
      if (std::string why = step(i); !why.empty()) return why;
    if (a_.steps.size() != b_.steps.size())
      return "the first call ran " + std::to_string(a_.steps.size()) + " operations, the second " +
             std::to_string(b_.steps.size());
    return gradients();
  }

 private:
  // Buffers are numbered as they are met, which state that one call made and the other found is not in the
  // same order: they are partners from their first use in a step on.
  bool same_buffer(int p, int q) {
    const int m = a_.places[static_cast<std::size_t>(p)].buffer,
              n = b_.places[static_cast<std::size_t>(q)].buffer;
    int& partner = partner_[static_cast<std::size_t>(m)];
    if (partner >= 0) return partner == n;
    partner = n;
    const Buffer &x = a_.buffer_of(p), &y = b_.buffer_of(q);
    if (x.kind == Buffer::Constant && x.alive() && y.kind == Buffer::External) return true;  // such state
    return x.kind == y.kind && (x.kind != Buffer::External || x.held->storage == y.held->storage);
  }
  bool same_place(int p, int q) {
    if (p < 0 || q < 0) return p < 0 && q < 0;
    const Place &x = a_.places[static_cast<std::size_t>(p)], &y = b_.places[static_cast<std::size_t>(q)];
    return same_buffer(p, q) && x.offset == y.offset && x.dtype == y.dtype && x.shape == y.shape &&
           x.strides == y.strides;
  }
  bool same_numbers(int p, int q) const {
    const Buffer &x = a_.buffer_of(p), &y = b_.buffer_of(q);
    return x.kind != Buffer::Constant || y.kind != Buffer::Constant || x.bits == y.bits;
  }
  static bool read_anew(const Recording& r, std::size_t step, int attr) {
    const std::pair setting{step, attr};
    return std::binary_search(r.settings.begin(), r.settings.end(), setting);
  }

  // What python_step calls is made anew in each call.
  static bool is_function(const Step& s, int attr) {
    return s.op->cls == Class::Update && s.attrs.v[attr].kind == Attr::Pointer;
  }

  std::string step(std::size_t number) {
    const Step &s = a_.steps[number], &t = b_.steps[number];
    if (s.op != t.op)
      return "the first call ran " + name_of(*s.op) + at_site(s.site) + " where the second ran " +
             name_of(*t.op) + at_site(t.site);
    const std::string name = name_of(*s.op) + at_site(t.site);
    if (s.in.size() != t.in.size() || s.n_out != t.n_out || s.attrs.n != t.attrs.n ||
        s.attrs.n_lists != t.attrs.n_lists || s.recording != t.recording)
      return name + " was called in another way in the second call than in the first";
    for (int i = 0; i < s.attrs.n; ++i)
      if (!same_attr(s.attrs.v[i], t.attrs.v[i]) && !read_anew(a_, number, i) && !is_function(s, i))
        return name + " was given another number in the second call than in the first";
    for (int i = 0; i < s.attrs.n_lists; ++i)
      if (!(s.attrs.lists[i] == t.attrs.lists[i]))
        return name + " was given another size in the second call than in the first";
    for (std::size_t i = 0; i < s.in.size(); ++i) {
      if (!same_place(s.in[i], t.in[i]))
        return name + " read another tensor in the second call than in the first";
      if (s.in[i] >= 0 && !same_numbers(s.in[i], t.in[i]))
        return name +
               " read a tensor that the function made of other numbers in the second call than in the first; "
               "give it to the function as an argument";
    }
    for (int i = 0; i < s.n_out; ++i)
      if (!same_place(s.out[i], t.out[i])) return name + " wrote to another tensor in the second call";
    if (!same_place(s.aux, t.aux)) return name + " saved something else in the second call";
    return {};
  }

  std::string gradients() const {
    bool same = a_.gradients.size() == b_.gradients.size();
    for (std::size_t i = 0; same && i < a_.gradients.size(); ++i) {
      const GradientSlot &g = a_.gradients[i], &h = b_.gradients[i];
      same = g.leaf.get() == h.leaf.get() && g.read == h.read && (g.before < 0) == (h.before < 0) &&
             (g.after < 0) == (h.after < 0);
    }
    return same ? "" : "a gradient was None in one call and not in the other";
  }

  const Recording &a_, &b_;
  std::vector<int> partner_;
};

}  // namespace

std::string difference(const Recording& a, const Recording& b) { return Comparison(a, b).run(); }

}  // namespace unspool
