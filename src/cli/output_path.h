#pragma once

#include <filesystem>
#include <string>

namespace ddpm::cli {

/// Throws UsageError if the output file of `flag` is the input or lies in it: it would overwrite
/// the input, or be read as a part of it the next time. `what` names the input: "the weights", ...
void expect_beside_input(const std::string& flag, const std::filesystem::path& output,
                         const std::string& what, const std::filesystem::path& input);

/// Throws IoError if the picture cannot be written there (a folder, or none to hold it), or if a file
/// is there that no command of this program wrote. To be called before the work.
void expect_own_picture(const std::string& flag, const std::filesystem::path& file);
/// The same of a .safetensors; this program's holds the tensor of this name alone.
void expect_own_tensors(const std::string& flag, const std::filesystem::path& file,
                        const std::string& tensor);

}  // namespace ddpm::cli
