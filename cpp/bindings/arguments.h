// The argument parser of every op: a call's objects become tensors and attributes as its signature says.
// Start at bind().
#pragma once

#include <span>
#include <string>

#include "handle.h"
#include "schema.h"

namespace unspool::python {

inline constexpr int kMaxParams = 16;
inline constexpr int kInlineTensors = 6;

// The arguments of one call, converted.
struct Bound {
  Tensor inline_tensors[kInlineTensors];
  Vector<Tensor> list;  // of a Tensor[] parameter
  int n_tensors = 0;
  bool listed = false;
  Attrs attrs;

  std::span<Tensor> tensors() {
    if (listed) return list;
    return {inline_tensors, static_cast<std::size_t>(n_tensors)};
  }
};

struct Arguments {
  PyObject* const* v;  // positional, then the values of keywords
  Py_ssize_t n;        // positional
  PyObject* keywords;  // their names, or null
};

// An object in a complaint: its repr is taken only where the text is wanted.
struct Shown {
  PyObject* object;
  std::string str() const { return object ? short_repr(object) : "nothing"; }
};

// What is wrong with a call, built only when every overload has refused.
struct Complaint {
  std::string text;
  bool wanted = false;
  template <class... Parts>
  bool operator()(const Parts&... parts) {
    if (wanted) {
      try {
        fail(ErrorKind::Type, parts...);
      } catch (const Error& e) {
        text = e.what();
      }
    }
    return false;
  }
};

// Whether the call fits the signature; what its arguments are goes into `b`, and why it does not fit into
// `complain`. `strict`, where there are other overloads: a tensor of one element is no number. Throws what no
// overload can take: an int beyond int64, a choice that is none.
bool bind(const Signature& s, const Arguments& a, bool strict, Bound& b, Complaint& complain);

}  // namespace unspool::python
