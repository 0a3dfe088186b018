// What an op is: one OpDef, one block, in the file of its subject (elementwise.h, reduce.cpp …).
// Start reading at OpDef. The door (door.cpp) runs one; the tape reads its derivative.
// No list of ops is kept here or anywhere but in table.cpp, which names the files.
#pragma once

#include <initializer_list>
#include <memory>
#include <span>
#include <string>

#include "unspool/tensor/tensor.h"

namespace unspool {

struct OpDef;

// ---- Attributes: the arguments of a call that are not tensors ------------------------------

struct Attr {
  enum Kind : std::uint8_t { None, Int, Float, Bool, DTypeKind, Pointer };
  Kind kind = None;
  union {
    std::int64_t i = 0;
    double f;
    void* p;
  };

  Attr() {}
  Attr(std::int64_t x) : kind(Int), i(x) {}
  Attr(int x) : kind(Int), i(x) {}
  Attr(double x) : kind(Float), f(x) {}
  Attr(bool x) : kind(Bool), i(x) {}
  Attr(DType d) : kind(DTypeKind), i(static_cast<std::int64_t>(d)) {}
  Attr(void* x) : kind(Pointer), p(x) {}

  bool given() const { return kind != None; }
  double number() const { return kind == Float ? f : static_cast<double>(i); }
  DType dtype() const { return static_cast<DType>(i); }
};

inline constexpr int kMaxAttrs = 8;
inline constexpr int kMaxLists = 4;

// In the order of the schema's parameters: numbers in one row, lists in another.
struct Attrs {
  int n = 0;
  int n_lists = 0;
  Attr v[kMaxAttrs];
  Dims lists[kMaxLists];

  Attrs() {}
  Attrs(std::initializer_list<Attr> attrs, std::initializer_list<Dims> dims = {}) {
    for (const Attr& a : attrs) v[n++] = a;
    for (const Dims& d : dims) lists[n_lists++] = d;
  }
};

// What rules and kernels read; points into Attrs or behind a node.
struct AttrsView {
  const Attr* v = nullptr;
  const Dims* lists = nullptr;
  int n = 0;
  int n_lists = 0;

  AttrsView() = default;
  AttrsView(const Attrs& a) : v(a.v), lists(a.lists), n(a.n), n_lists(a.n_lists) {}
  const Attr& operator[](int i) const { return v[i]; }
  std::int64_t i(int k) const { return v[k].i; }
  double f(int k) const { return v[k].number(); }
  bool given(int k) const { return v[k].given(); }
  // None travels as a list of ndim -1.
  const Dims& list(int k) const { return lists[k]; }
  bool list_given(int k) const { return lists[k].ndim >= 0; }
};
inline Dims no_list() {
  Dims d;
  d.ndim = -1;
  return d;
}

// ---- One call --------------------------------------------------------------------------------

inline constexpr int kMaxOutputs = 3;

struct Call {
  explicit Call(const OpDef& o) : op(&o) {}

  const OpDef* op;
  std::span<Tensor> in;
  AttrsView attrs;
  bool recording = false;  // backward may follow: fill aux
  bool inplace = false;    // result 0 is in[0], and its version is not counted up yet
  bool spends = false;     // nobody reads in[0] afterwards, a plan's: the kernel may write there
  int n_out = 1;
  Tensor out[kMaxOutputs];
  Tensor aux;
  Vector<Tensor>* list = nullptr;  // of a composite whose schema ends in `-> Tensor[]`

  // For shape functions: allocates result i (skipped where an in-place call has set it), in row-major order
  // or with strides.
  void allocate(int i, const Shape& shape, DType dtype);
  void allocate(int i, const Shape& shape, const Strides& strides, DType dtype);
  // In the order of the inputs' strides, as PyTorch lays out results of elementwise ops.
  void allocate_alike(int i, const Shape& shape, DType dtype);
};

// What a derivative rule sees of one recorded call. Tensors that `saves` does not name are null.
struct Record {
  const OpDef* op;
  AttrsView attrs;
  bool taped;  // the rule is itself recorded: use elementary ops, not fused backward ones
  int n_in;
  const Tensor* saved_in;
  Tensor y;
  Tensor aux;
  const bool* wanted;  // a gradient that is not needed is not computed
  const Shape* shapes_in;
  const DType* dtypes_in;
  Node* node = nullptr;  // the call itself, for a rule that is not written in ops

  const Tensor& x(int i) const { return saved_in[i]; }
  const Shape& shape(int i) const { return shapes_in[i]; }
  DType dtype(int i) const { return dtypes_in[i]; }
  bool needs(int i) const { return wanted[i]; }
};

// g has one tensor per output (null where nothing flowed), dx one per input. Gradients may come
// in the broadcast shape of the call: the engine sums them down.
using Vjp = void (*)(const Record& r, const Tensor* g, Tensor* gx);
using Jvp = void (*)(const Record& r, const Tensor* dx, Tensor* dy);

enum Saves : std::uint32_t {
  kSaveNothing = 0,
  kSaveIn0 = 1,
  kSaveIn1 = 2,
  kSaveIn2 = 4,
  kSaveAllIn = 0xff,
  kSaveOut = 0x100,
  kSaveAux = 0x200,
};

struct Derivative {
  Vjp vjp = nullptr;
  Jvp jvp = nullptr;
  // What the gradient of input 0, 1, and of any later one, reads.
  std::uint32_t saves[3] = {kSaveNothing, kSaveNothing, kSaveNothing};
  const char* none = nullptr;  // why there is no derivative, where there is none
};

constexpr Derivative custom(Vjp vjp, Jvp jvp, std::uint32_t saves = kSaveNothing) {
  return {vjp, jvp, {saves, saves, saves}, nullptr};
}
constexpr Derivative none(const char* reason) { return {nullptr, nullptr, {}, reason}; }
// An op that is linear in its one tensor: the tangent goes through the op itself.
void linear_jvp(const Record& r, const Tensor* dx, Tensor* dy);
constexpr Derivative linear(Vjp transpose) { return {transpose, linear_jvp, {}, nullptr}; }

// ---- The op ------------------------------------------------------------------------------------

enum class Class : std::uint8_t { Map, Reduction, Contraction, Fused, Update, View, Random };

// How the door brings the inputs to one dtype before the kernel runs.
enum class Promote : std::uint8_t {
  None,        // the op looks after itself
  Common,      // result_type of all inputs
  Floating,    // the same, integers become the default floating dtype
  Arithmetic,  // Common, but bool is refused (a hint names the logical op)
  Difference,  // Common, but no input may be bool
};

enum Surface : std::uint8_t {
  kInternal = 0,
  kFunction = 1,
  kMethod = 2,
  kInplace = 4,  // also `name_`, which writes into its first input
  kBoth = kFunction | kMethod,
};

// Where the tests may draw inputs: away from poles, kinks and ties.
enum class Domain : std::uint8_t { Real, Positive, NonZero };

class UpdateParts;  // ops/update.h

// A call whose operands keep their dtypes and layouts, and lie where they lie at each run: a plan's.
// `update`: of the weight by the gradient that is result 1, part by part as it is made, or null.
struct Bound {
  virtual ~Bound() = default;
  virtual void run(const UpdateParts* update) = 0;
};

struct OpDef {
  // "name(Tensor input, Operand other, *, Scalar alpha=1)"; bindings/schema.h lists the types.
  const char* schema;
  const char* doc = "";
  const char* grad_name = "";  // the name that grad_fn shows; empty, of a composite: its last part's
  std::uint8_t surface = kInternal;
  Class cls = Class::Map;
  Promote promote = Promote::None;
  int map = -1;                                     // Class::Map: index into the map kernels
  void (*shape)(Call&) = nullptr;                   // from inputs and attributes to outputs, or throws
  void (*forward)(Call&) = nullptr;                 // a kernel call into the outputs
  std::unique_ptr<Bound> (*bind)(Call&) = nullptr;  // the same again and again
  // Instead of these: the op written in other ops, which are recorded in its place.
  void (*composite)(Call&) = nullptr;
  Derivative derivative = none("it has no derivative rule");
  const char* doctest = nullptr;  // ">>> …" lines
  Domain domain = Domain::Real;
  bool takes_halves = false;  // runs on float16 and bfloat16 as they are: see halves.h
  bool refuses = false;       // raises for some numbers of its inputs, before it has written anything
  bool wide = false;  // a composite that passes through numbers too large for float16: float32 throughout
  // A fusion of two ops, second(first(inputs)), without attributes, of which `second` saves aux alone. Who
  // looks at the graph finds both (tape/split.cpp).
  const OpDef* first = nullptr;
  const OpDef* second = nullptr;
};

// forward and bind of an op whose kernel is a class: made of all of the call but where its operands lie.
template <class W>
void run_once(Call& c) {
  W(c).run(c, nullptr);
}
template <class W>
std::unique_ptr<Bound> bound(Call& c) {
  struct Kept final : Bound {
    explicit Kept(Call& own) : call(own), work(own) {}
    void run(const UpdateParts* update) override { work.run(call, update); }
    Call& call;
    W work;
  };
  return std::make_unique<Kept>(c);
}

// ---- The door ----------------------------------------------------------------------------------

// Runs one op on `inputs`. Every operation of the engine, from Python or from a derivative rule,
// passes here. call() returns the first result.
void call(Call& c, std::span<Tensor> inputs, AttrsView attrs);
Tensor call(const OpDef& op, std::span<Tensor> inputs, AttrsView attrs);
Tensor call(const OpDef& op, std::initializer_list<Tensor> inputs, const Attrs& attrs = {});
// In place: the result is written into inputs[0], which is checked first. Nothing changes on error.
void call_inplace(const OpDef& op, std::span<Tensor> inputs, AttrsView attrs);

// The tape installs these.
struct Recorder {
  bool (*wants)(const OpDef&, std::span<Tensor>) = nullptr;
  void (*record)(Call&) = nullptr;
  void (*check_inplace)(const Call&) = nullptr;
  void (*record_inplace)(Call&, const Tensor& target) = nullptr;  // counts the write, too
  void (*view)(const Tensor& base, const Tensor& view) = nullptr;
};
extern Recorder recorder;

// A capture installs these (plan/capture.cpp); they are asked while `capturing` is on for the thread.
struct Tracer {
  void (*run)(Call&) = nullptr;                                     // runs the kernel, and notes the call
  void (*composite)(Call&) = nullptr;                               // runs a composite
  void (*copied)(const Tensor& target, const Tensor& y) = nullptr;  // by copy_, without a call
  void (*constant)(const Tensor& t) = nullptr;              // what it holds is the program's own number
  void (*gradient)(TensorImpl* leaf, bool read) = nullptr;  // its slot is about to be read, or replaced
};
extern Tracer tracer;
UNSPOOL_NEAR extern constinit thread_local bool capturing;
// What a tensor holds was made of numbers that the program, not a tensor, has.
inline Tensor made_of_numbers(Tensor t) {
  if (capturing) [[unlikely]]
    tracer.constant(t);
  return t;
}
inline void note_gradient(TensorImpl* leaf, bool read) {
  if (capturing) [[unlikely]]
    tracer.gradient(leaf, read);
}
// The op's kernel on the inputs and results of the call.
void run_kernel(Call& c);

// Where the program is: an opaque number that the bindings make, and its text.
struct Sites {
  std::uint32_t (*here)() = nullptr;
  std::string (*text)(std::uint32_t site) = nullptr;
};
extern Sites sites;
// " at file:line", or nothing.
inline std::string at_site(std::uint32_t site) {
  return site && sites.text ? " at " + sites.text(site) : std::string();
}

// Counts a write, and notes what made it.
inline void note_write(const Tensor& t, const OpDef& op) {
  bump_version(t);
  t->version->writer = &op;
  t->version->site = sites.here ? sites.here() : 0;
}

bool grad_enabled();
bool set_grad_enabled(bool on);  // returns the previous

struct GradMode {
  explicit GradMode(bool on) : previous(set_grad_enabled(on)) {}
  ~GradMode() { set_grad_enabled(previous); }
  bool previous;
};

// ---- The table ---------------------------------------------------------------------------------

// What one recorded call must keep: the union over the inputs that need a gradient.
inline std::uint32_t saves_of(const OpDef& op, std::span<Tensor> in) {
  std::uint32_t saves = 0;
  for (std::size_t i = 0; i < in.size(); ++i)
    if (in[i] && in[i].requires_grad()) saves |= op.derivative.saves[i < 2 ? i : 2];
  return saves;
}

std::span<const OpDef* const> op_table();
extern const OpDef as_strided_scatter_op;  // the tape rewrites a base's history with it
extern const OpDef copy_op;                // captures and plans copy with it
std::string name_of(const OpDef& op);      // the schema up to its parenthesis

}  // namespace unspool
