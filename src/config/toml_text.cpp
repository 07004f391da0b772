#include "toml_text.h"

#include "ddpm/base/utf8.h"

#include <algorithm>
#include <numeric>
#include <sstream>

#include <fmt/format.h>

namespace ddpm::config {
namespace {

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

// Levenshtein 1966: insertions, deletions and substitutions that turn a into b.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

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

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// Near enough to be the same word, or a part of it.
std::string nearest(const std::string& wrong, const std::vector<std::string>& known) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, wrong.size() / 3) + 1;
  for (const std::string& candidate : known) {
    size_t distance = edit_distance(wrong, candidate);
    const bool contained = wrong.size() >= 3 && (candidate.find(wrong) != std::string::npos ||
                                                 wrong.find(candidate) != std::string::npos);
    if (contained) distance = std::min<size_t>(distance, 2);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace ddpm::config
