#pragma once

#include <string>

namespace ddpm::cli {

/// Prints one line of a table with two columns: "images         10,000".
void print_row(const std::string& key, const std::string& value);

}  // namespace ddpm::cli
