// What one run of a function did, as a list of steps on buffers: the input of all passes of the plan.
// capture.cpp makes it, verify.cpp compares two, freeze.cpp turns one into a Plan (plan.h). No derivatives
// here: backward's calls are steps like others.
#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "unspool/ops/op.h"

namespace unspool {

struct Recording;

// Storage, as the function saw it.
struct Buffer {
  enum Kind : std::uint8_t {
    Input,      // of an argument, or a gradient that was there before: another one at every call
    External,   // was there before: parameters, state, data
    Constant,   // made in the function of the program's numbers
    Temporary,  // made by a step
    Unknown,    // made in the function, and nobody said how
  };
  Kind kind;
  std::int64_t bytes;
  Storage* storage;        // while it is alive
  Tensor held;             // of Input and External: keeps the storage
  std::vector<char> bits;  // of a Constant
  std::uint32_t site = 0;  // where it was first seen
  // Where the first of the arguments in it begins, in bytes: other calls have other parts of a storage.
  std::int64_t origin = 0;
  bool auxiliary = false;  // an op's own notes for its backward, such as a mask: no numbers of the program's
  bool alive() const { return storage != nullptr; }
};

// A tensor's place in a buffer.
struct Place {
  int buffer;
  std::int64_t offset;  // in bytes, from the buffer's origin
  DType dtype;
  Shape shape;
  Strides strides;
  friend bool operator==(const Place& a, const Place& b) = default;
};

// One call that ran a kernel. Numbers are those of places; -1 stands for no tensor.
struct Step {
  const OpDef* op = nullptr;
  Attrs attrs;
  std::vector<int> in;
  std::vector<int> wrote;  // of `in`, what the kernel writes without giving it back: running statistics
  int n_out = 0;
  int out[kMaxOutputs] = {-1, -1, -1};
  int aux = -1;
  bool recording = false;
  bool inplace = false;
  bool whole = false;       // a composite that is replayed as such: it draws random numbers
  int steps = 1;            // how many were made one
  bool again = false;       // computed a second time (budget.h)
  std::vector<Step> parts;  // of a chain (chain.h)
  std::uint32_t site = 0;
};

template <class F>
void each_place(const Step& s, const F& f) {
  for (int p : s.in)
    if (p >= 0) f(p);
  for (int i = 0; i < s.n_out; ++i)
    if (s.out[i] >= 0) f(s.out[i]);
  if (s.aux >= 0) f(s.aux);
}

// A leaf whose .grad the function reads or replaces.
struct GradientSlot {
  Tensor leaf;
  bool read;        // before it was replaced
  Tensor was{};     // until the function has returned: what was there before
  int before = -1;  // place of what was there, if that was read and there was something
  int input = -1;   // which of the inputs that is, if it is one
  int after = -1;   // what is there in the end
};

struct Recording {
  std::uint16_t number = 0;
  std::vector<Buffer> buffers;
  std::vector<Place> places;
  std::vector<Step> steps;
  std::vector<GradientSlot> gradients;
  std::vector<Tensor> leaves;  // external ones, as the function saw them: `.data =` moves their storage
  std::vector<std::pair<std::size_t, int>> settings;  // (step, attribute) that is read anew at each replay
  std::vector<int> inputs, outputs;                   // places
  std::vector<std::size_t> read_gradients;            // slots whose places are the last inputs
  std::string refusal;                                // why this cannot be frozen; empty where it can
  bool goes_on = false;                               // what cannot be frozen ends the capture, not the call

  int place_of(const Tensor& t);
  int add_place(const Place& p);
  Buffer& buffer_of(int place) {
    return buffers[static_cast<std::size_t>(places[static_cast<std::size_t>(place)].buffer)];
  }
  const Buffer& buffer_of(int place) const { return const_cast<Recording*>(this)->buffer_of(place); }
  bool is_argument(int buffer) const;
  void refuse(const std::string& why) {
    if (refusal.empty()) refusal = why;
  }

  // Until the function has returned: what memory from outside held before it was written.
  std::vector<std::pair<Tensor, std::vector<char>>> originals;
  std::unordered_set<const Storage*> kept;  // theirs

  std::unordered_map<const Storage*, int> at;          // of living buffers
  std::unordered_multimap<std::int64_t, int> numbers;  // of places, by buffer and offset
  std::unordered_set<const TensorImpl*> leaf_seen;
  std::unordered_map<const TensorImpl*, std::size_t> slot_of;
};

// Notes what this thread's calls do, until it ends. One at a time a thread.
class Capture {
 public:
  Capture(Recording& recording, const std::vector<Tensor>& inputs);
  ~Capture();
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
};
// After the function has returned: what it returned, and what became of gradients. `held`: by a graph that
// the caller keeps; null where the results may have none.
void finish(Recording& recording, const std::vector<Tensor>& outputs,
            const std::unordered_set<const Storage*>* held = nullptr);
Recording* current_recording();  // of this thread, or null
// From here on nothing is noted: the rest of the call runs as if it were not recorded.
void stop_capture(const std::string& why);
// Where the function did not return: memory from outside and gradients are as they were.
void undo(Recording& recording);
// Calls between are not noted.
struct Pause {
  Pause() : before(capturing) { capturing = false; }
  ~Pause() { capturing = before && current_recording(); }  // it may have been stopped
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;
  bool before;
};
void install_capture();

// How two recordings of one function differ; empty where they agree.
std::string difference(const Recording& a, const Recording& b);

}  // namespace unspool
