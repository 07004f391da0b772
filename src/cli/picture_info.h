#pragma once

#include <filesystem>

namespace ddpm::cli {

/// Prints how a PNG was made, and the command that makes it again (`ddpm info picture.png`). Returns
/// the exit status. Throws IoError if the PNG does not say it.
int print_picture(const std::filesystem::path& file, bool json);

}  // namespace ddpm::cli
