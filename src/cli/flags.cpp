#include "flags.h"

#include "ddpm/base/text.h"

#include <algorithm>
#include <cmath>
#include <regex>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::cli {
namespace {

constexpr double kExact = 9007199254740992.0;  // 2^53: a double is exact for whole numbers up to it

// Removes leading zeros, and expands exponents. Hexadecimal (0x10) stays. Returns an error message.
std::string normalize(std::string& text) {
  static const std::regex digits("([+-]?)0*([0-9]+)");
  static const std::regex scaled("[+-]?[0-9]+(\\.[0-9]*)?([eE][+]?[0-9]{1,2})?");
  static const std::regex hexadecimal("[+-]?0[xX][0-9a-fA-F]+");
  std::smatch parts;
  if (std::regex_match(text, parts, digits)) {
    text = (parts[1] == "-" ? "-" : "") + parts[2].str();
    return "";
  }
  if (std::regex_match(text, scaled)) {
    const double value = std::stod(text);
    if (std::abs(value) <= kExact && std::floor(value) == value) {
      text = fmt::format("{}", static_cast<int64_t>(value));
      return "";
    }
  }
  if (std::regex_match(text, hexadecimal)) return "";
  return fmt::format("is {}; must be a whole number", text);
}

bool is_whole_number(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  return type.starts_with("INT") || type.starts_with("UINT");
}

}  // namespace

CLI::Validator whole(int64_t low, int64_t high) {
  const auto check = [low, high](const std::string& text) -> std::string {
    int64_t value = 0;
    if (!CLI::detail::lexical_cast(text, value))
      return fmt::format("is {}; must be a whole number, at most {}", text, with_commas(high));
    if (value < low) return fmt::format("is {}; must be at least {}", text, with_commas(low));
    if (value > high) return fmt::format("is {}; must be at most {}", text, with_commas(high));
    return "";
  };
  return {check, ""};
}

CLI::Validator real(double low, double high) {
  const auto check = [low, high](const std::string& text) -> std::string {
    double value = 0.0;
    if (CLI::detail::lexical_cast(text, value) && value >= low && value <= high) return "";
    return fmt::format("is {}; must be a number from {} to {}", text, low, high);
  };
  return {check, ""};
}

CLI::Validator one_of(std::vector<std::string> words) {
  const std::string description = fmt::format("{{{}}}", fmt::join(words, ","));
  const auto check = [words = std::move(words)](const std::string& text) -> std::string {
    return problem_of_choice(text, words);
  };
  return {check, description};
}

void read_whole_numbers_as_written(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (is_whole_number(*option)) option->transform(CLI::Validator(normalize, ""));
  }
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; }))
    read_whole_numbers_as_written(*command);
}

}  // namespace ddpm::cli
