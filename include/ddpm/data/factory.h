#pragma once

#include "ddpm/config/document.h"
#include "ddpm/data/dataset.h"
#include "ddpm/data/transform.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace ddpm::data {

struct DataConfig {
  std::string kind = "auto";            ///< auto (from the path), procedural, idx, folder or zip
  std::filesystem::path path;           ///< file, folder or archive; not used by procedural
  std::optional<ImageSize> image_size;  ///< pixels; none: as in the files (procedural: 32x32)
  int64_t channels = 0;                 ///< 1 or 3; 0: as in the first file (procedural: 3)
  int64_t size = 50000;                 ///< number of procedural images
  bool flip = false;                    ///< mirror images left to right with probability 1/2
  int64_t workers = 2;                  ///< decoding threads
  int64_t cache_mb = 4096;              ///< keep the decoded images in memory up to this size, MiB
};

/// Reads [data]. Throws ConfigError.
DataConfig read_data_config(config::Reader& reader);

/// Opens what the config describes; `seed` makes the procedural images. Throws UsageError where no
/// path is given, IoError where files are missing, damaged or not of one size.
std::unique_ptr<Dataset> open_dataset(const DataConfig& config, uint64_t seed);

/// The kind that "auto" stands for at `path`. Throws IoError where it is none.
std::string kind_of_path(const std::filesystem::path& path);

}  // namespace ddpm::data
