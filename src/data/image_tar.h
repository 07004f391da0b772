#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/data/transform.h"

#include <filesystem>
#include <memory>

namespace ddpm::data {

/// Whether the folder holds .tar files, but neither images nor folders: then it is read as shards.
bool is_tar_folder(const std::filesystem::path& folder);

/// All images in a tar archive, or in all .tar files of a folder (the shards of a WebDataset; names
/// then begin with the shard's). Ordered and labelled as in a folder (image_folder.h). Throws
/// IoError.
std::unique_ptr<Dataset> open_image_tar(const std::filesystem::path& path,
                                        const ImageOptions& options);

}  // namespace ddpm::data
