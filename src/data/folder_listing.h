#pragma once

#include "catalogue.h"

#include <filesystem>
#include <vector>

namespace ddpm::data {

/// Throws IoError unless `path` exists. The message says how to get the data: by a script if that
/// knows the path, else by data.path, if `has_config`.
void expect_exists(const std::filesystem::path& path, bool has_config = true);

/// The entries of a folder, sorted, not recursive. Throws IoError naming the folder if it cannot be
/// listed.
std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder);

/// All image files below a folder, with size and time. Links to folders are followed, except links
/// to a parent folder, which `remarks` name. A link to a missing image is a file with a problem.
/// Throws IoError naming the folder that cannot be listed.
Catalogue list_images(const std::filesystem::path& folder);

}  // namespace ddpm::data
