#pragma once

#include <filesystem>
#include <string>

namespace ddpm::cli {

/// Throws UsageError if the output file of `flag` is the input or lies in it: it would overwrite
/// the input, or be read as a part of it the next time. `what` names the input: "the weights", ...
void expect_beside_input(const std::string& flag, const std::filesystem::path& output,
                         const std::string& what, const std::filesystem::path& input);

}  // namespace ddpm::cli
