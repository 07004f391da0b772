#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace ddpm::cli {

/// A whole number of low..high. Unlike CLI::Range it adds nothing to --help.
CLI::Validator whole(int64_t low, int64_t high);

/// A number of low..high; not NaN.
CLI::Validator real(double low, double high);

/// One of these words; an error names them, and the one that may have been meant.
CLI::Validator one_of(std::vector<std::string> words);

/// Makes every flag of a whole number, of the app and its subcommands, read 010 as ten (not as
/// eight) and take 1e6.
void read_whole_numbers_as_written(CLI::App& app);

}  // namespace ddpm::cli
