#pragma once

#include "ddpm/io/file.h"

#include <string>
#include <vector>

namespace ddpm::io {

/// Writes a zip archive of uncompressed files sequentially, each aligned to 64 bytes (APPNOTE
/// 6.3.3). Throws IoError if the archive would be larger than 4 GiB.
class ZipWriter {
 public:
  explicit ZipWriter(OutputFile& file) : file_(file) {}
  void add(const std::string& name, std::span<const uint8_t> content);
  /// Writes the directory at the end of the archive.
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
