#pragma once

#include "catalogue.h"

#include <filesystem>
#include <vector>

namespace ddpm::data {

/// What a folder holds, sorted, not looking below. Throws IoError naming the folder if it cannot be
/// listed.
std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder);

/// All image files below a folder, with size and time. Links to folders are followed, but not those
/// that lead back up, which `remarks` name; a link to an image that does not exist is a file with a
/// problem. Throws IoError naming the folder that cannot be listed.
Catalogue list_images(const std::filesystem::path& folder);

}  // namespace ddpm::data
