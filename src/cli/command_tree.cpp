#include "command_tree.h"

#include "ddpm/bench/benchmark.h"
#include "ddpm/sample/methods.h"
#include "help.h"

#include <algorithm>
#include <cctype>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::cli {
namespace {

// Placeholders of paths.
bool is_path(const std::string& word) {
  return word == "FILE" || word == "FOLDER" || word == "PATH" || word == "FILE...";
}

// A placeholder stands for other words: FILE, cuda:N, ...
bool is_placeholder(const std::string& word) {
  return word == "..." || std::any_of(word.begin(), word.end(),
                                      [](unsigned char c) { return std::isupper(c) != 0; });
}

// "auto|never|PATH" in parts.
std::vector<std::string> alternatives(const std::string& value) {
  std::istringstream stream(value);
  std::vector<std::string> words;
  for (std::string word; std::getline(stream, word, '|');) words.push_back(word);
  return words;
}

// The words of flags whose values help names in another way.
std::vector<std::string> known_words(const CLI::Option& option, const std::string& value) {
  if (option.check_lname("what") && value.starts_with("PART")) return bench::part_names();
  if (!option.check_lname("method") || value != "NAME") return {};
  std::vector<std::string> names{"auto"};
  for (const sample::MethodEntry& method : sample::methods()) names.emplace_back(method.name);
  return names;
}

void add_value_(FlagInfo& flag, const CLI::Option& option) {
  flag.value = shown_value(option);
  const std::vector<std::string> words = alternatives(flag.value);
  for (const std::string& word : words) flag.path = flag.path || is_path(word);
  flag.choices = known_words(option, flag.value);
  if (words.size() < 2) return;
  std::copy_if(words.begin(), words.end(), std::back_inserter(flag.choices),
               [](const std::string& word) { return !is_placeholder(word); });
}

FlagInfo describe_option(const CLI::Option& option) {
  FlagInfo flag;
  for (const std::string& name : option.get_snames()) flag.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) flag.names.push_back("--" + name);
  flag.required = option.get_required();
  flag.group = option.get_group();
  flag.text = option.get_description();
  if (const std::string value = shown_default(option); !value.empty())
    flag.text += fmt::format(" (default: {})", value);
  add_value_(flag, option);
  return flag;
}

// The same as an argument without a flag. All of them are paths, but for words that are known.
FlagInfo describe_argument(const CLI::Option& option, const CLI::App& app) {
  FlagInfo argument = describe_option(option);
  argument.names = {option.get_name(true, false)};
  if (argument.value.starts_with("COMMAND")) {
    for (const CLI::App* command : app.get_parent()->get_subcommands({}))
      argument.choices.push_back(command->get_name());
  }
  argument.path = argument.choices.empty();
  return argument;
}

CommandInfo describe_below(const CLI::App& app, std::vector<std::string> words) {
  words.push_back(app.get_name());
  CommandInfo info{words, app.get_description(), app.get_footer(), {}, {}, {}};
  for (const CLI::Option* option : app.get_options({})) {
    const bool flag = !option->get_lnames().empty() || !option->get_snames().empty();
    if (flag) info.flags.push_back(describe_option(*option));
    if (option->get_positional()) info.arguments.push_back(describe_argument(*option, app));
  }
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    info.commands.push_back(describe_below(*command, words));
  return info;
}

}  // namespace

CommandInfo describe_command(const CLI::App& app) { return describe_below(app, {}); }

std::vector<const CommandInfo*> all_commands(const CommandInfo& command) {
  std::vector<const CommandInfo*> all{&command};
  for (const CommandInfo& below : command.commands) {
    const auto more = all_commands(below);
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

std::string name_below_program(const CommandInfo& command, const std::string& between) {
  return fmt::format("{}", fmt::join(command.words.begin() + 1, command.words.end(), between));
}

}  // namespace ddpm::cli
