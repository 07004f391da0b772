#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/data/transform.h"

#include <filesystem>
#include <memory>

namespace ddpm::data {

/// Whether the name is that of an IDX image file: "…images-idx3-ubyte" or "…images.idx3-ubyte",
/// maybe with ".gz".
bool is_idx_image_name(const std::filesystem::path& path);

/// IDX files as of MNIST (LeCun et al. 1998), gzip-packed or not, held in memory. `path` is an
/// image file, or a folder with train-images… or only one image file. Labels are read from the
/// …labels-idx1-ubyte[.gz] beside it, if that exists. Throws IoError if files are missing, have
/// another magic number, are truncated, or if their counts differ.
std::unique_ptr<Dataset> open_idx(const std::filesystem::path& path, const ImageOptions& options);

}  // namespace ddpm::data
