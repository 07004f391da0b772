#pragma once

#include "array_images.h"

#include <filesystem>

namespace ddpm::data {

/// Whether the folder holds data_batch_1 (CIFAR-10), or train and meta (CIFAR-100): the files of the
/// "Python version".
bool is_cifar_pickle_folder(const std::filesystem::path& folder);

/// Reads data_batch_*, or train, of such a folder: pickles of a dict with `data`, bytes [N, 3072] of 3
/// planes of 32x32, and `labels` or `fine_labels`; class names from batches.meta or meta, else
/// numbers. Throws IoError.
ImageArray read_cifar_pickles(const std::filesystem::path& folder);

}  // namespace ddpm::data
