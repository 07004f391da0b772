#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace ddpm::cli {

/// The subcommand of this name; nullptr if there is none.
const CLI::App* find_command(const CLI::App& app, const std::string& name);

/// The leading words of a command line that name a command: {"eval", "sweep"}.
std::vector<std::string> command_words(const CLI::App& app,
                                       const std::vector<std::string>& arguments);

/// What is wrong with a command line that the parser refused, if it is a slip that people make: a
/// misspelt command or flag, a path without its flag, a flag without its value. Else "".
std::string explain_refusal(const CLI::App& app, const std::vector<std::string>& arguments);

}  // namespace ddpm::cli
