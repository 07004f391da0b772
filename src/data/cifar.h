#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/data/transform.h"

#include <filesystem>
#include <memory>

namespace ddpm::data {

/// Whether the folder holds data_batch_1.bin (CIFAR-10) or train.bin (CIFAR-100), or their pickles
/// (cifar_pickle.h).
bool is_cifar_folder(const std::filesystem::path& folder);

/// The binary files of CIFAR-10 and CIFAR-100 (Krizhevsky 2009), held in memory. Records have one
/// label, or a coarse and a fine one (the fine one is used), and 3 planes of 32x32 bytes. `path` is
/// such a file, or a folder with data_batch_*.bin or train.bin. Class names are read from
/// batches.meta.txt or fine_label_names.txt beside them, else numbered. Throws IoError if files are
/// missing, truncated, or hold a label beyond the last class. A folder of pickles: see cifar_pickle.h.
std::unique_ptr<Dataset> open_cifar(const std::filesystem::path& path, const ImageOptions& options);

}  // namespace ddpm::data
