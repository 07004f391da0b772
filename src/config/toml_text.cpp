#include "toml_text.h"

#include "ddpm/base/text.h"

#include <algorithm>
#include <numeric>
#include <sstream>

#include <fmt/format.h>

namespace ddpm::config {
namespace {

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

}  // namespace

std::string render(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : as_utf8(text)) {
    if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (is_control(c)) {
      quoted += c == '\n' ? "\\n" : c == '\t' ? "\\t" : fmt::format("\\u{:04X}", c);
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string render(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::string render(int64_t value) { return fmt::format("{}", value); }

std::string describe(const toml::node& node) {
  std::ostringstream value;
  if (const auto* text = node.as_string()) {
    value << render(text->get());
  } else {
    node.visit([&](const auto& n) { value << n; });
  }
  return fmt::format("{} ({})", value.str(),
                     toml::impl::node_type_friendly_names[static_cast<int>(node.type())]);
}

}  // namespace ddpm::config
