#pragma once

#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace ddpm::cli {

/// Formats --help in lines of at most 100 columns, with every default.
std::shared_ptr<CLI::Formatter> help_formatter();

/// The value of a flag as help shows it: "N", "FILE", "a|b", "K,..."; "" if it takes none.
std::string shown_value(const CLI::Option& option);

/// Its default, unless its description names it.
std::string shown_default(const CLI::Option& option);

/// The command line with the word `help` (ddpm help, ddpm help train, ddpm train help) replaced by
/// --help.
std::vector<std::string> with_help_flag(const CLI::App& app, std::vector<std::string> arguments);

}  // namespace ddpm::cli
