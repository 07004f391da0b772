#pragma once

#include <filesystem>
#include <vector>

namespace ddpm::data {

/// The image files directly in a folder, hidden ones aside, in natural order ("2" before "10").
/// Throws IoError naming the folder if it cannot be listed.
std::vector<std::filesystem::path> image_files_in(const std::filesystem::path& folder);

}  // namespace ddpm::data
