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

}  // namespace

pipeline::GivenFlags given_flags(const CLI::App& command) {
  pipeline::GivenFlags given{command.get_name(), {}};
  for (const CLI::Option* option : command.get_options()) {
    if (option->count() == 0 || option->get_lnames().empty()) continue;
    given.flags.push_back({option->get_lnames().front(), values_of(*option)});
  }
  return given;
}

}  // namespace ddpm::cli
