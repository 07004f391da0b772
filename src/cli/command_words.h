#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace ddpm::cli {

/// The subcommand of this name; nullptr if there is none.
const CLI::App* find_command(const CLI::App& app, const std::string& name);

/// The leading words of a command line that are the command: {"eval", "sweep"}.
std::vector<std::string> command_words(const CLI::App& app,
                                       const std::vector<std::string>& arguments);

/// Explains why the parser refused a command line, if it is a usual mistake: a misspelt command or
/// flag, a path without its flag, a flag without its value. Else "".
std::string explain_refusal(const CLI::App& app, const std::vector<std::string>& arguments);

}  // namespace ddpm::cli
