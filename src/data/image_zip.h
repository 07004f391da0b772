#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/data/transform.h"

#include <filesystem>
#include <memory>

namespace ddpm::data {

/// All images in a zip archive, ordered and labelled as in a folder (image_folder.h). Throws
/// IoError.
std::unique_ptr<Dataset> open_image_zip(const std::filesystem::path& archive,
                                        const ImageOptions& options);

}  // namespace ddpm::data
