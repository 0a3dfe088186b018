// Exceptions of the engine. The bindings turn each kind into one Python type.
// Texts read `op: what is wrong; a has shape (2, 3), b has shape (4, 5)`, then the rule.
#pragma once

#include <stdexcept>
#include <string>

namespace unspool {

// The Python type that the bindings raise for each.
enum class ErrorKind {
  Runtime,         // RuntimeError
  Value,           // ValueError
  Type,            // TypeError
  Index,           // IndexError
  Shape,           // ShapeError: a ValueError and a RuntimeError
  DType,           // DTypeError: a TypeError and a RuntimeError
  NotImplemented,  // NotImplementedError
  Memory,          // MemoryError
  Plan,            // PlanError: a RuntimeError
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& what) : std::runtime_error(what), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

// Out of line and cold, so that a check on the hot path is a compare and a jump.
template <class... Parts>
[[noreturn, gnu::cold, gnu::noinline]] void fail(ErrorKind kind, const Parts&... parts) {
  std::string text;
  auto add = [&text](const auto& part) {
    if constexpr (requires { text += part; } && !std::is_arithmetic_v<std::remove_cvref_t<decltype(part)>>) {
      text += part;
    } else if constexpr (requires { part.str(); }) {
      text += part.str();
    } else {
      text += std::to_string(part);
    }
  };
  (add(parts), ...);
  throw Error(kind, text);
}

}  // namespace unspool
