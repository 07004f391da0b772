#include "help.h"

#include "command_words.h"
#include "ddpm/base/text.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::cli {
namespace {

constexpr int kWidth = 100;
constexpr int kNames = 26;  // columns of the flags' names

// "INT", also with the parser's addition ("INT:INT in [1 - 5]"), to "N"; "TEXT:{a,b}" to "a|b".
std::string shown_type(const std::string& type) {
  const size_t set = type.find(":{");
  if (set != std::string::npos) {
    std::string names = type.substr(set + 2, type.find('}') - set - 2);
    std::replace(names.begin(), names.end(), ',', '|');
    return names;
  }
  const std::string name = type.substr(0, type.find(':'));  // without what a check adds to it
  if (name == "INT" || name == "UINT") return "N";
  if (name == "FLOAT") return "X";
  return name == "TEXT" ? name : type;
}

class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() { column_width(kNames); }

  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_type_size() == 0) return "";      // no value
    const bool flag = !option->get_lnames().empty();  // it may be a positional as well
    const std::string value = flag ? shown_value(*option) : "";
    return fmt::format("{}{}", value.empty() ? "" : " " + value,
                       option->get_required() ? " (required)" : "");
  }

  std::string make_option_desc(const CLI::Option* option) const override {
    std::string text = option->get_description();
    if (const std::string value = shown_default(*option); !value.empty())
      text += fmt::format(" (default: {})", value);
    return lines(text, kWidth - kNames);
  }

  std::string make_subcommand(const CLI::App* command) const override {
    std::stringstream out;
    CLI::detail::format_help(out, command->get_display_name(true),
                             lines(command->get_description(), kWidth - kNames), kNames);
    return out.str();
  }

  std::string make_description(const CLI::App* command) const override {
    return lines(command->get_description(), kWidth) + "\n";
  }

 private:
  static std::string lines(const std::string& text, int width) {
    return fmt::format("{}", fmt::join(wrapped(text, width), "\n"));
  }
};

}  // namespace

std::string shown_value(const CLI::Option& option) {
  if (option.get_type_size() == 0) return "";
  const std::string type = shown_type(option.get_type_name());
  return type + (option.get_delimiter() != '\0' && !type.ends_with("...") ? ",..." : "");
}

std::string shown_default(const CLI::Option& option) {
  std::string value = option.get_default_str();
  if (value.starts_with('[')) value = value.substr(1, value.size() - 2);
  if (option.get_delimiter() != '\0') std::replace(value.begin(), value.end(), ' ', ',');
  return option.get_description().find("default:") == std::string::npos ? value : "";
}

std::shared_ptr<CLI::Formatter> help_formatter() { return std::make_shared<HelpFormatter>(); }

std::vector<std::string> with_help_flag(const CLI::App& app, std::vector<std::string> arguments) {
  if (!arguments.empty() && arguments[0] == "help") {
    arguments.erase(arguments.begin());
    // A misspelt command is an error, so it must not get the general help.
    if (command_words(app, arguments).size() == arguments.size()) arguments.emplace_back("--help");
    return arguments;
  }
  const size_t words = command_words(app, arguments).size();
  if (words > 0 && arguments.size() == words + 1 && arguments.back() == "help")
    arguments.back() = "--help";
  return arguments;
}

}  // namespace ddpm::cli
