#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/data/transform.h"

#include <filesystem>
#include <memory>

namespace ddpm::data {

/// Is the name that of an IDX image file, "…images-idx3-ubyte" or "…images.idx3-ubyte", maybe with
/// ".gz"?
bool is_idx_image_name(const std::filesystem::path& path);

/// The IDX files of MNIST and its kin (LeCun et al. 1998), gzip-packed or not, held in memory.
/// `path` is an image file (labels are taken from the …labels-idx1-ubyte[.gz] beside it, where
/// there is one) or a folder, whose train-images… is taken, or else the only image file. Throws
/// IoError where files are missing, have another magic number, are truncated, or their counts
/// differ.
std::unique_ptr<Dataset> open_idx(const std::filesystem::path& path, const ImageOptions& options);

}  // namespace ddpm::data
