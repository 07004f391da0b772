#include "given_flags.h"

#include "ddpm/base/text.h"

#include <algorithm>
#include <string_view>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::cli {
namespace {

std::vector<std::string> values_of(const CLI::Option& option) {
  if (option.get_items_expected_max() == 0) return {};
  const char delimiter = option.get_delimiter();
  if (delimiter == '\0') return option.results();
  return {fmt::format("{}", fmt::join(option.results(), std::string(1, delimiter)))};
}

std::string quoted(const std::string& word) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./,:=+@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  return single_quoted(word);
}

}  // namespace

GivenFlags given_flags(const CLI::App& command) {
  GivenFlags given{command.get_name(), {}};
  for (const CLI::Option* option : command.get_options()) {
    if (option->count() == 0 || option->get_lnames().empty()) continue;
    given.flags.push_back({option->get_lnames().front(), values_of(*option)});
  }
  return given;
}

std::string shell_line(const std::vector<std::string>& words) {
  std::vector<std::string> shown(words.size());
  std::transform(words.begin(), words.end(), shown.begin(), quoted);
  return fmt::format("{}", fmt::join(shown, " "));
}

}  // namespace ddpm::cli
