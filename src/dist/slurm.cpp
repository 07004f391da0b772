#include "slurm.h"

#include "ddpm/base/error.h"

#include <charconv>

#include <fmt/format.h>

namespace ddpm::dist {
namespace {

[[noreturn]] void refuse(const char* what, const std::string& text) {
  throw UsageError(
      fmt::format("{} \"{}\" cannot be read; set MASTER_ADDR to rank 0's machine, and RANK and "
                  "WORLD_SIZE, by hand",
                  what, text));
}

int64_t number(const std::string& digits, const char* what, const std::string& whole) {
  int64_t value = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || value < 0)
    refuse(what, whole);
  return value;
}

// Splits at the commas outside brackets.
std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts{""};
  int depth = 0;
  for (const char c : text) {
    depth += c == '[' ? 1 : c == ']' ? -1 : 0;
    if (c == ',' && depth == 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// One part without commas outside brackets, as "rack[1-2]node[01,03]": expands its first bracket,
// and the rest by recursion.
void expand(const std::string& part, const std::string& whole, std::vector<std::string>& names) {
  constexpr const char* kWhat = "the SLURM node list";
  const size_t open = part.find('['), close = part.find(']');
  if (open == std::string::npos && close == std::string::npos) {
    names.push_back(part);
    return;
  }
  if (open == std::string::npos || close == std::string::npos || close < open) refuse(kWhat, whole);
  const std::string head = part.substr(0, open), tail = part.substr(close + 1);
  for (const std::string& range : split(part.substr(open + 1, close - open - 1))) {
    const size_t dash = range.find('-');
    const std::string first = range.substr(0, dash);
    const std::string last = dash == std::string::npos ? first : range.substr(dash + 1);
    const int64_t low = number(first, kWhat, whole), high = number(last, kWhat, whole);
    if (high < low || high - low > 100000) refuse(kWhat, whole);
    for (int64_t i = low; i <= high; ++i)
      expand(fmt::format("{}{:0{}}{}", head, i, first.size(), tail), whole, names);
  }
}

}  // namespace

std::vector<std::string> expand_nodelist(const std::string& text) {
  std::vector<std::string> names;
  for (const std::string& part : split(text)) expand(part, text, names);
  return names;
}

std::vector<int64_t> expand_tasks_per_node(const std::string& text) {
  constexpr const char* kWhat = "the SLURM tasks per node";
  std::vector<int64_t> counts;
  for (const std::string& part : split(text)) {
    const size_t open = part.find("(x");
    int64_t times = 1;
    if (open != std::string::npos) {
      if (part.back() != ')') refuse(kWhat, text);
      times = number(part.substr(open + 2, part.size() - open - 3), kWhat, text);
    }
    if (times > 100000) refuse(kWhat, text);
    counts.insert(counts.end(), static_cast<size_t>(times),
                  number(part.substr(0, open), kWhat, text));
  }
  return counts;
}

}  // namespace ddpm::dist
