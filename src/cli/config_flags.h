#pragma once

#include "ddpm/base/text.h"
#include "ddpm/config/document.h"

#include <filesystem>
#include <string>
#include <vector>

namespace ddpm::cli {

/// The config file with --set overrides applied in order.
config::Document load_config(const std::filesystem::path& path,
                             const std::vector<std::string>& overrides);

/// Prints one line of a table of facts: "images         10,000".
void print_row(const std::string& key, const std::string& value);

/// Uses `threads` CPU threads for tensor work; 0: all cores, or OMP_NUM_THREADS where it is set.
void set_threads(int64_t threads);

}  // namespace ddpm::cli
