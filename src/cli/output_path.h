#pragma once

#include <filesystem>
#include <string>

namespace ddpm::cli {

/// Throws UsageError if the file that `flag` names is `input`, which is read, or lies in it: it
/// would destroy it, or be read as a part of it the next time. `what`: "the weights", ...
void expect_beside_input(const std::string& flag, const std::filesystem::path& output,
                         const std::string& what, const std::filesystem::path& input);

}  // namespace ddpm::cli
