#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace ddpm::cli {

/// Accepts a whole number in low..high. Unlike CLI::Range it adds nothing to --help.
CLI::Validator whole(int64_t low, int64_t high);

/// Accepts a number in low..high; not NaN.
CLI::Validator real(double low, double high);

/// Accepts one of these words. The error lists them and suggests the nearest one.
CLI::Validator one_of(std::vector<std::string> words);

/// Makes every whole-number flag of the app and its subcommands read 010 as ten (not as eight) and
/// accept 1e6.
void read_whole_numbers_as_written(CLI::App& app);

}  // namespace ddpm::cli
