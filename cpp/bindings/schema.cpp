#include "schema.h"

#include <cstdlib>
#include <stdexcept>

namespace unspool::python {
namespace {

std::string trim(const std::string& s) {
  const auto a = s.find_first_not_of(' '), b = s.find_last_not_of(' ');
  return a == std::string::npos ? "" : s.substr(a, b - a + 1);
}

// At commas outside of brackets.
std::vector<std::string> split(const std::string& s) {
  std::vector<std::string> parts;
  int depth = 0;
  std::string part;
  for (char c : s) {
    depth += (c == '{' || c == '[' || c == '(') - (c == '}' || c == ']' || c == ')');
    if (c == ',' && depth == 0) {
      parts.push_back(trim(part));
      part.clear();
    } else {
      part += c;
    }
  }
  if (!trim(part).empty()) parts.push_back(trim(part));
  return parts;
}

struct TypeName {
  const char* name;
  Kind kind;
  const char* stub;
};
constexpr TypeName kTypes[] = {
    {"Tensor", Kind::Tensor, "Tensor"},
    {"Operand", Kind::Operand, "Tensor | float"},
    {"Value", Kind::Value, "Tensor | float"},
    {"Scalar", Kind::Scalar, "float"},
    {"int", Kind::Int, "int"},
    {"float", Kind::Float, "float"},
    {"bool", Kind::Bool, "bool"},
    {"DType", Kind::DType, "dtype"},
    {"Generator", Kind::Generator, "Generator"},
    {"int[]", Kind::IntList, "Sequence[int]"},
    {"Tensor[]", Kind::TensorList, "Sequence[Tensor]"},
    {"MemoryFormat", Kind::MemoryFormat, "memory_format"},
};

void read_default(Param& p, const std::string& text) {
  p.has_default = true;
  p.default_text = text;
  if (text == "None" || text == "()") return;  // of lists: given(), or all
  switch (p.kind) {
    case Kind::Bool:
      p.value = Attr(text == "True");
      break;
    case Kind::Int:
      p.value = Attr(static_cast<std::int64_t>(std::strtoll(text.c_str(), nullptr, 10)));
      break;
    case Kind::Float:
      p.value = Attr(std::strtod(text.c_str(), nullptr));
      break;
    case Kind::Scalar:
      p.value = text.find('.') == std::string::npos
                    ? Attr(static_cast<std::int64_t>(std::strtoll(text.c_str(), nullptr, 10)))
                    : Attr(std::strtod(text.c_str(), nullptr));
      break;
    case Kind::Choice:
      for (std::size_t i = 0; i < p.choices.size(); ++i)
        if (text == "'" + p.choices[i] + "'") p.value = Attr(static_cast<std::int64_t>(i));
      break;
    default:
      throw std::logic_error("schema: no default is read for parameter " + p.name);
  }
}

Param read_param(std::string text) {
  Param p{};
  std::string default_text;
  if (const auto eq = text.find('='); eq != std::string::npos) {
    default_text = trim(text.substr(eq + 1));
    text = trim(text.substr(0, eq));
  }
  const auto space = text.rfind(' ');
  std::string type = trim(text.substr(0, space));
  p.name = text.substr(space + 1);
  if (type[0] == '{') {
    p.kind = Kind::Choice;
    p.optional = type.back() == '?';
    p.choices = split(type.substr(1, type.rfind('}') - 1));
  } else {
    if (type.back() == '*') {
      p.variadic = true;
      type.pop_back();
    }
    if (type.back() == '?') {
      p.optional = true;
      type.pop_back();
    }
    bool known = false;
    for (const TypeName& t : kTypes)
      if (type == t.name) {
        p.kind = t.kind;
        known = true;
      }
    if (!known) throw std::logic_error("schema: unknown type " + type);
  }
  if (!default_text.empty()) read_default(p, default_text);
  return p;
}

// What every constructor takes after its own parameters.
std::vector<Param> options() {
  std::vector<Param> all;
  for (const char* text :
       {"DType? dtype=None", "bool requires_grad=False", "MemoryFormat? memory_format=None"})
    all.push_back(read_param(text));
  for (const char* name : {"device", "layout", "pin_memory"}) {
    Param p{};
    p.kind = Kind::Ignored;
    p.name = name;
    p.has_default = p.optional = true;
    p.default_text = "None";
    all.push_back(p);
  }
  return all;
}

std::string stub_type(const Param& p) {
  std::string type = "object";
  if (p.kind == Kind::Choice) {
    type = "str";
  } else {
    for (const TypeName& t : kTypes)
      if (t.kind == p.kind) type = t.stub;
    // One dim stands for a list of one.
    if (p.kind == Kind::IntList && !p.variadic) type = "int | " + type;
  }
  return p.optional ? type + " | None" : type;
}

}  // namespace

Signature parse_schema(const OpDef& op) {
  Signature s{&op, {}, {}, {}, false};
  const std::string text = op.schema;
  const auto open = text.find('(');
  int depth = 0;
  std::size_t close = open;
  for (; close < text.size(); ++close) {
    depth += (text[close] == '(') - (text[close] == ')');
    if (depth == 0) break;
  }
  s.name = text.substr(0, open);
  bool keyword_only = false;
  for (const std::string& part : split(text.substr(open + 1, close - open - 1))) {
    if (part == "*") {
      keyword_only = true;
      continue;
    }
    if (part == "Options") {
      for (Param p : options()) {
        p.keyword_only = true;
        s.params.push_back(p);
      }
      continue;
    }
    s.params.push_back(read_param(part));
    s.params.back().keyword_only = keyword_only;
  }
  for (Param& p : s.params) p.key = PyUnicode_InternFromString(p.name.c_str());
  if (const auto arrow = text.find("-> (", close); arrow != std::string::npos)
    for (const std::string& result : split(text.substr(arrow + 4, text.rfind(')') - arrow - 4)))
      s.results.push_back(result == "Tensor" ? "" : result.substr(result.rfind(' ') + 1));
  s.list = text.find("-> Tensor[]", close) != std::string::npos;
  return s;
}

bool Signature::has_variadic() const {
  for (const Param& p : params)
    if (p.variadic) return true;
  return false;
}

std::string Signature::stub(bool method, bool variadic, bool out) const {
  std::string text;
  bool star = false;
  for (std::size_t i = 0; i < params.size(); ++i) {
    const Param& p = params[i];
    if (!text.empty()) text += ", ";
    if (method && i == 0) {
      text += "self";
      continue;
    }
    if (p.variadic && variadic) {
      text += "*" + p.name + ": int";
      star = true;
      continue;
    }
    if (p.keyword_only && !star) {
      text += "*, ";
      star = true;
    }
    // `from` is a keyword of Python: such a parameter is positional.
    text += (p.name == "from" ? "from_" : p.name) + ": " + stub_type(p);
    if (p.has_default) text += " = " + p.default_text;
  }
  if (out) {
    if (!text.empty()) text += ", ";
    text += std::string(star ? "" : "*, ") + "out: " + (results.empty() ? "Tensor" : "Sequence[Tensor]") +
            " | None = None";
  }
  std::string result = list ? "tuple[Tensor, ...]" : "Tensor";
  if (!results.empty()) {
    result = "tuple[Tensor, Tensor]";
    if (!results[0].empty()) {  // a class that make_stubs.py writes
      result.clear();
      for (const std::string& r : results) result += "_" + r;
    }
  }
  return "(" + text + ") -> " + result;
}

}  // namespace unspool::python
