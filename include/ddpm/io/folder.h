#pragma once

#include <filesystem>
#include <string>

namespace ddpm::io {

/// Makes a folder and those above it, where they are missing. Throws IoError "cannot be made: ...",
/// with `way_out` behind it where there is one.
void make_folder(const std::filesystem::path& folder, const std::string& way_out = "");

}  // namespace ddpm::io
