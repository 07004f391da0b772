#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/data/transform.h"

#include <filesystem>
#include <memory>

namespace ddpm::data {

/// All images below a folder, in the order of their paths, labelled as in labels.h. Throws IoError.
std::unique_ptr<Dataset> open_image_folder(const std::filesystem::path& folder,
                                           const ImageOptions& options);

}  // namespace ddpm::data
