#pragma once

#include "ddpm/io/torch_file.h"

#include <filesystem>

namespace ddpm::io {

/// Reads a file of Python's pickle.dump, protocol 2 or later. numpy's arrays of uint8 are tensors; all
/// else is as in torch_file.h, which says how that is safe. Throws IoError, also for a file above 1 GiB.
TorchValue read_pickle_file(const std::filesystem::path& path);

}  // namespace ddpm::io
