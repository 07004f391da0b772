#pragma once

#include "ddpm/io/file.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace ddpm::checkpoint {

constexpr const char* kManifestName = "MANIFEST";

/// One file of a checkpoint when it was written.
struct CheckpointFile {
  std::string name;
  io::FileSum sum;
  bool operator==(const CheckpointFile&) const = default;
};

/// The list of a checkpoint's files. It is written last, as text:
///   ddpm-checkpoint 1
///   step 12000
///   file 143005184 9ae0daaf model.safetensors      (size in bytes, CRC32C, name)
///   crc32c 1c291ca3                                (of the lines above)
struct Manifest {
  int64_t step = 0;
  std::vector<CheckpointFile> files;
};

std::string to_text(const Manifest& manifest);

/// Throws IoError, naming `path`, if the text differs in any byte from the output of to_text.
Manifest parse_manifest(const std::filesystem::path& path, std::string_view text);

/// Whether a checkpoint's file may have this name: letters, digits and "._-", no leading dot, and
/// not MANIFEST.
bool is_checkpoint_file_name(std::string_view name);

}  // namespace ddpm::checkpoint
