#include "command_words.h"

#include "ddpm/base/text.h"

#include <filesystem>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

bool any_command(const CLI::App*) { return true; }

const CLI::Option* find_flag(const CLI::App& command, const std::string& name) {
  const auto found =
      command.get_options([&](const CLI::Option* option) { return option->check_lname(name); });
  return found.empty() ? nullptr : found.front();
}

std::vector<std::string> flag_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options({})) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

size_t positional_count(const CLI::App& command) {
  return command.get_options([](const CLI::Option* o) { return o->get_positional(); }).size();
}

bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// The part of a command line that was understood so far.
struct Understood {
  const CLI::App* command;
  std::string words;  // "ddpm eval sweep"
  size_t positionals = 0;
  std::set<const CLI::Option*> given = {};
};

std::string unknown_flag(const Understood& u, const std::string& argument) {
  const std::string name = argument.substr(0, argument.find('='));
  const std::string wanted = "--" + name.substr(name.find_first_not_of('-'));
  const std::string near = nearest(wanted, flag_names(*u.command));
  return fmt::format("{}: unknown flag {}{} ({} --help lists the flags)", u.words, name,
                     near.empty() ? "" : fmt::format("; did you mean {}?", near), u.words);
}

std::string unknown_command(const Understood& u, const std::string& word) {
  std::vector<std::string> names;
  for (const CLI::App* command : u.command->get_subcommands(any_command))
    names.push_back(command->get_name());
  const std::string near = nearest(word, names);
  std::string meant;
  if (word.ends_with(".toml")) {
    meant = fmt::format("; did you mean ddpm train --config {}?", word);
  } else if (exists(word)) {
    meant = fmt::format("; did you mean ddpm sample --ckpt {0}, or ddpm info {0}?", word);
  } else if (!near.empty()) {
    meant = fmt::format("; did you mean {} {}?", u.words, near);
  }
  return fmt::format("unknown command \"{}\"{} ({} --help lists the commands)", word, meant,
                     u.words);
}

// A word that is not a flag's value, and none is expected.
std::string unexpected(const Understood& u, const std::string& word) {
  const bool has_config = find_flag(*u.command, "config") != nullptr;
  std::string meant;
  if (has_config && word.ends_with(".toml")) {
    meant = fmt::format("; did you mean --config {}?", word);
  } else if (find_flag(*u.command, "ckpt") != nullptr && exists(word)) {
    meant = fmt::format("; did you mean --ckpt {}?", word);
  } else if (has_config && exists(word)) {
    meant =
        fmt::format("; for your own images: --config configs/folder.toml --set data.path={}", word);
  } else if (!u.command->get_subcommands(any_command).empty()) {
    return unknown_command(u, word);
  }
  return fmt::format("{}: unexpected argument {}{} ({} --help lists the flags)", u.words, word,
                     meant, u.words);
}

// The number of arguments after a flag that are its values.
size_t values_after(const CLI::Option& flag, const std::vector<std::string>& arguments, size_t i) {
  if (flag.get_items_expected_max() == 0 || arguments[i].find('=') != std::string::npos) return 0;
  if (!flag.get_allow_extra_args()) return 1;
  size_t count = 1;
  while (i + count + 1 < arguments.size() && !arguments[i + count + 1].starts_with('-')) ++count;
  return count;
}

}  // namespace

const CLI::App* find_command(const CLI::App& app, const std::string& name) {
  const auto found =
      app.get_subcommands([&](const CLI::App* command) { return command->get_name() == name; });
  return found.empty() ? nullptr : found.front();
}

std::vector<std::string> command_words(const CLI::App& app,
                                       const std::vector<std::string>& arguments) {
  std::vector<std::string> words;
  const CLI::App* command = &app;
  for (const std::string& argument : arguments) {
    command = find_command(*command, argument);
    if (command == nullptr) break;
    words.push_back(argument);
  }
  return words;
}

std::string explain_refusal(const CLI::App& app, const std::vector<std::string>& arguments) {
  Understood u{&app, app.get_name()};
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") return "";
    if (argument.starts_with("--")) {
      const CLI::Option* flag = find_flag(*u.command, argument.substr(2, argument.find('=') - 2));
      if (flag == nullptr) return unknown_flag(u, argument);
      const size_t values = values_after(*flag, arguments, i);
      if (values > 0 && (i + 1 == arguments.size() || arguments[i + 1].starts_with("--")))
        return fmt::format("{}: {} needs a value", u.words, argument);
      i += values;
      if (flag->get_positional()) ++u.positionals;  // a positional may also be given by its flag
      const bool again = !u.given.insert(flag).second;
      if (again && values > 0 && flag->get_items_expected_max() == 1)
        return fmt::format("{}: {} is given twice", u.words, argument);
    } else if (argument.starts_with('-') && argument.size() > 1) {
      return unknown_flag(u, argument);
    } else if (const CLI::App* next = find_command(*u.command, argument)) {
      u = {next, u.words + " " + argument};
    } else if (u.positionals < positional_count(*u.command)) {
      ++u.positionals;
    } else {
      return u.command == &app ? unknown_command(u, argument) : unexpected(u, argument);
    }
  }
  return "";
}

}  // namespace ddpm::cli
