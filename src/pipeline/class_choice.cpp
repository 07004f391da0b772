#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/pipeline/choices.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

namespace ddpm::pipeline {
namespace {

bool is_number(const std::string& text) { return text.size() < 10 && is_digits(text); }

std::optional<int64_t> place_of(const std::string& name, const std::vector<std::string>& names) {
  const auto found = std::find(names.begin(), names.end(), name);
  return found == names.end() ? std::nullopt : std::optional<int64_t>(found - names.begin());
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escaped =
        text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == ',' || text[i + 1] == '\\');
    if (escaped) {
      parts.back() += text[++i];
    } else if (text[i] == ',') {
      parts.emplace_back();
    } else {
      parts.back() += text[i];
    }
  }
  return parts;
}

std::string listed(const std::vector<std::string>& names) {
  constexpr size_t kShown = 20;
  std::vector<std::string> shown(names.begin(), names.begin() + std::min(kShown, names.size()));
  // A message is one line, so the list must have no line breaks.
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  for (std::string& name : shown) std::replace_if(name.begin(), name.end(), is_control, ' ');
  return fmt::format("{}{}", fmt::join(shown, ", "),
                     names.size() > kShown ? fmt::format(", ... ({} in all)", names.size()) : "");
}

int64_t class_of(const std::string& text, const std::vector<std::string>& names, int64_t count,
                 const std::string& key) {
  if (const auto place = place_of(text, names)) {
    const int64_t number = is_number(text) ? std::stoll(text) : *place;
    if (number != *place && number < count) {
      spdlog::info("{2} {0} is the class named {0}, number {1}; #{0} is class number {0}", text,
                   *place, key);
    }
    return *place;
  }
  const bool marked = text.starts_with('#');
  const std::string number = marked ? text.substr(1) : text;
  const bool in_range = is_number(number) && std::stoll(number) < count;
  if (in_range && !marked && std::any_of(names.begin(), names.end(), is_number)) {
    throw UsageError(
        fmt::format("{3} {0}: no class has this name, and classes named by numbers are chosen by "
                    "name ({1}); #{0} is class number {0}, \"{2}\"",
                    text, listed(names), names[std::stoll(number)], key));
  }
  if (in_range) return std::stoll(number);
  throw UsageError(fmt::format("{} {}: the network knows 0 to {}{}", key, text, count - 1,
                               names.empty() ? "" : fmt::format(" ({})", listed(names))));
}

}  // namespace

std::vector<int64_t> chosen_classes(const std::vector<std::string>& texts,
                                    const std::vector<std::string>& names, int64_t count,
                                    const std::string& key) {
  std::vector<int64_t> classes;
  for (const std::string& given : texts) {
    const std::string text = as_utf8(given);  // like the names
    const auto parts = place_of(text, names) ? std::vector{text} : split_at_commas(text);
    for (const std::string& part : parts) classes.push_back(class_of(part, names, count, key));
  }
  return classes;
}

}  // namespace ddpm::pipeline
