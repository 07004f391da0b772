#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace ddpm::cli {

/// A flag, or an argument without one, for pages and scripts made from the command line's own
/// definitions.
struct FlagInfo {
  std::vector<std::string> names;    ///< "-h", "--help"; an argument has one without hyphens
  std::string value;                 ///< "N", "auto|cpu", "FILE"; "" if it takes none
  std::vector<std::string> choices;  ///< the words that its value may be, if they are known
  bool path = false;                 ///< whether its value may be a file or folder
  bool required = false;
  std::string text;  ///< with the default
  std::string group;
};

/// A command, or the program itself.
struct CommandInfo {
  std::vector<std::string> words;  ///< {"ddpm", "eval", "sweep"}
  std::string text;
  std::string footer;
  std::vector<FlagInfo> flags, arguments;
  std::vector<CommandInfo> commands;
};

CommandInfo describe_command(const CLI::App& app);

/// The command and all below it, each before its own.
std::vector<const CommandInfo*> all_commands(const CommandInfo& command);

/// Its words after "ddpm", joined: "eval sweep".
std::string name_below_program(const CommandInfo& command, const std::string& between = " ");

}  // namespace ddpm::cli
