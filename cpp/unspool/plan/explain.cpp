// The plan as text: an instruction a line, the same for the same program.
#include <algorithm>
#include <map>

#include "unspool/ops/fusions.h"
#include "unspool/plan/plan.h"

namespace unspool {

// Of products only: the rest is memory traffic.
std::int64_t flops_of(const Recording& r, const Step& s) {
  if (s.op == &linear_update_op) return flops_of(r, s.parts[0]);
  auto shape = [&](int p) -> const Shape& { return r.places[static_cast<std::size_t>(p)].shape; };
  auto numel = [&](int p) { return numel_of(shape(p), "plan"); };
  auto columns = [&](int p) { return shape(p).ndim ? shape(p)[shape(p).ndim - 1] : 1; };
  if (s.op == &linear_op || s.op == &linear_relu_op) return 2 * numel(s.out[0]) * columns(s.in[0]);
  if (s.op == &linear_backward_op) {
    const Dims& x = s.attrs.lists[0];
    const std::int64_t one = 2 * numel(s.in[0]) * x[x.ndim - 1];
    return (s.out[0] >= 0 ? one : 0) + (s.out[1] >= 0 ? one : 0);
  }
  if (s.op->cls == Class::Contraction && s.in.size() == 2 && s.out[0] >= 0)
    return 2 * numel(s.out[0]) * columns(s.in[0]);
  return 0;
}

std::int64_t bytes_of(const Instruction& i) {
  std::int64_t bytes = 0;
  auto add = [&](const Tensor& t) {
    if (t) bytes += t.numel() * static_cast<std::int64_t>(item_size(t.dtype()));
  };
  for (const Tensor& t : i.in) add(t);
  for (const Tensor& t : i.out) add(t);
  add(i.aux);
  if (i.update) bytes += bytes_of(*i.update);
  return bytes;
}

std::string label_of(const Instruction& i) {
  if (i.update) return name_of(*i.call.op) + "+" + name_of(*i.update->call.op);
  if (!i.chain) return name_of(*i.call.op);
  std::string label;
  for (const OpDef* part : i.parts) label += (label.empty() ? "" : "+") + name_of(*part);
  return label;
}

std::vector<DrawnStep> drawn(const Recording& r) {
  std::vector<DrawnStep> all;
  auto name = [](const Step& s) {
    if (s.parts.empty()) return name_of(*s.op);
    std::string label;
    for (const Step& part : s.parts) label += (label.empty() ? "" : "+") + name_of(*part.op);
    return label;
  };
  auto buffer = [&](int p) { return r.places[static_cast<std::size_t>(p)].buffer; };
  for (const Step& s : r.steps) {
    DrawnStep& d = all.emplace_back();
    d.name = name(s);
    d.site = s.site && sites.text ? sites.text(s.site) : "";
    int shown = -1;
    for (int k = s.n_out; k-- > 0;)
      if (s.out[k] >= 0) {
        d.writes.push_back(buffer(s.out[k]));
        shown = s.out[k];
      }
    for (int p : s.wrote) {
      d.writes.push_back(buffer(p));
      if (shown < 0) shown = p;
    }
    if (s.aux >= 0) d.writes.push_back(buffer(s.aux));
    for (int p : s.in)
      if (p >= 0 && (std::find(s.wrote.begin(), s.wrote.end(), p) == s.wrote.end() || s.parts.empty()))
        d.reads.push_back(buffer(p));
    if (shown >= 0) d.shape = r.places[static_cast<std::size_t>(shown)].shape.str();
  }
  return all;
}

std::string Plan::explain() const {
  // Tensors are named in the order in which they appear; p: from outside, x: arguments, c: constants.
  std::map<int, std::string> names;
  std::map<char, int> counts;
  std::map<const TensorImpl*, int> place_of;
  for (std::size_t p = 0; p < at_place_.size(); ++p)
    if (at_place_[p]) place_of[at_place_[p].get()] = static_cast<int>(p);
  auto name = [&](const Tensor& t) -> std::string {
    if (!t) return "-";
    const int buffer = r_.places[static_cast<std::size_t>(place_of.at(t.get()))].buffer;
    std::string& known = names[buffer];
    if (known.empty()) {
      const Buffer::Kind kind = r_.buffers[static_cast<std::size_t>(buffer)].kind;
      const char letter = kind == Buffer::Input      ? (r_.is_argument(buffer) ? 'x' : 'p')
                          : kind == Buffer::External ? 'p'
                          : kind == Buffer::Constant ? 'c'
                                                     : 't';
      known = letter + std::to_string(counts[letter]++);
    }
    return known + t.shape().str();
  };
  std::string text;
  std::int64_t flops = 0, bytes = 0;
  for (std::size_t k = 0; k < instructions_.size(); ++k) {
    const Instruction& i = *instructions_[k];
    const Step& s = r_.steps[k];
    std::string line = std::to_string(k) + ": ", results;
    auto result = [&](const Tensor& t) {
      if (t) results += (results.empty() ? "" : ", ") + name(t);
    };
    std::vector<Tensor> in = i.checks ? i.given : i.in;
    if (i.chain)  // whose results stand among what it reads
      std::erase_if(in, [&](const Tensor& t) {
        if (!t) return false;
        const int p = place_of.at(t.get());
        return std::find(s.wrote.begin(), s.wrote.end(), p) != s.wrote.end() &&
               names[r_.places[static_cast<std::size_t>(p)].buffer].empty();
      });
    for (const Tensor& t : i.out) result(t);
    for (int p : i.update ? s.parts[1].wrote : s.wrote)
      if (std::find(s.out, s.out + s.n_out, p) == s.out + s.n_out)
        result(at_place_[static_cast<std::size_t>(p)]);
    line += results + (results.empty() ? "" : " = ") + label_of(i) + "(";
    if (i.update)
      for (const Tensor& t : i.update->in)
        if (t.get() != i.out[1].get() && (!i.in[2] || t.get() != i.in[2].get())) in.push_back(t);
    for (std::size_t a = 0; a < in.size(); ++a) line += (a ? ", " : "") + name(in[a]);
    line += ')';
    if (i.fused > 1) line += "  of " + std::to_string(i.fused) + " operations";
    std::string again;  // of a chain's parts
    for (const Step& part : s.parts)
      if (part.again) again += (again.empty() ? "" : ", ") + name_of(*part.op);
    if (i.again || !again.empty()) line += "  " + (i.again ? "" : again + " ") + "a second time";
    if (i.flops) line += "  " + std::to_string(i.flops) + " flop";
    line += "  " + std::to_string(bytes_of(i)) + " bytes" + at_site(i.site);
    std::vector<std::uint32_t> more{i.site};
    for (const Step& part : s.parts)
      if (sites.text && part.site && std::find(more.begin(), more.end(), part.site) == more.end()) {
        line += ", " + sites.text(part.site);
        more.push_back(part.site);
      }
    flops += i.flops;
    bytes += bytes_of(i);
    text += line + "\n";
  }
  return text + std::to_string(instructions_.size()) + " instructions, " + std::to_string(flops) + " flop, " +
         std::to_string(bytes) + " bytes read and written; arena of " + std::to_string(layout_.bytes) +
         " bytes for temporaries of " + std::to_string(layout_.temporary) + "\n";
}

}  // namespace unspool
