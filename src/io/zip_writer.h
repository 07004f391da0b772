#pragma once

#include "ddpm/io/file.h"

#include <string>
#include <vector>

namespace ddpm::io {

/// Writes a zip archive of uncompressed files, each aligned to 64 bytes, front to back (APPNOTE
/// 6.3.3). Less than 4 GiB in all: throws IoError beyond.
class ZipWriter {
 public:
  explicit ZipWriter(OutputFile& file) : file_(file) {}
  void add(const std::string& name, std::span<const uint8_t> content);
  /// Writes the directory, which ends the archive.
  void finish();

 private:
  struct Entry {
    std::string name;
    uint32_t crc32;
    uint32_t size;
    uint32_t offset;
  };
  void write(const std::string& bytes);
  void check_size(uint64_t more) const;

  OutputFile& file_;
  uint64_t position_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace ddpm::io
