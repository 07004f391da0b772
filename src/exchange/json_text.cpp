#include "json_text.h"

#include "ddpm/base/error.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/foreign_text.h"

#include <array>
#include <cmath>
#include <limits>
#include <span>

#include <fmt/format.h>

namespace ddpm::exchange {
namespace {

using nlohmann::json;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int kMaxDepth = 32;  // nesting that is searched; a config has 3 levels

struct Literal {
  std::string_view python;
  std::string_view marker;  // replaces `python` for the parser; no config contains it
  double value;
};
constexpr std::array<Literal, 3> kLiterals = {{{"-Infinity", "\x7f-Infinity", -kInfinity},
                                               {"Infinity", "\x7fInfinity", kInfinity},
                                               {"NaN", "\x7fNaN", kNaN}}};

const Literal* literal_at(std::string_view text) {
  for (const Literal& literal : kLiterals) {
    if (text.starts_with(literal.python)) return &literal;
  }
  return nullptr;
}

// Replaces the literals outside of strings by strings.
std::string with_markers(std::string_view text) {
  std::string out;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const Literal* literal = in_string ? nullptr : literal_at(text.substr(i));
    if (literal) {
      out += fmt::format("\"{}\"", literal->marker);
      i += literal->python.size() - 1;
      continue;
    }
    out += c;
    if (c == '"') in_string = !in_string;
    if (in_string && c == '\\' && i + 1 < text.size()) out += text[++i];
  }
  return out;
}

void set_literals_(json& value, int depth) {
  if (value.is_structured() && depth < kMaxDepth) {
    for (json& item : value) set_literals_(item, depth + 1);
  }
  if (!value.is_string()) return;
  for (const Literal& literal : kLiterals) {
    if (value == literal.marker) value = literal.value;
  }
}

}  // namespace

json parse_json_object(std::string_view text, const std::filesystem::path& path) {
  json value = json::parse(with_markers(text), nullptr, false);
  if (!value.is_object()) {
    io::refuse_foreign_text(path, io::bytes_of(text));
    throw IoError(path, "is no JSON object; is it damaged?");
  }
  set_literals_(value, 0);
  return value;
}

std::string shown(const json& value) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    const double number = value.get<double>();
    return std::isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity";
  }
  return value.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 80);
}

}  // namespace ddpm::exchange
