#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/data/transform.h"

#include <filesystem>
#include <memory>

namespace ddpm::data {

/// Whether the folder is an LMDB database, or holds such folders and no images.
bool is_lmdb_folder(const std::filesystem::path& folder);

/// All images in an LMDB database as LSUN ships them (keys to encoded images), or in all databases of
/// a folder; names then begin with the database's folder, which is the class. Ordered and labelled as
/// in a folder (image_folder.h). Throws IoError.
std::unique_ptr<Dataset> open_image_lmdb(const std::filesystem::path& path,
                                         const ImageOptions& options);

}  // namespace ddpm::data
