#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

struct zip;

namespace ddpm::io {

/// Reads the files in a zip archive.
class ZipReader {
 public:
  /// Throws IoError if the file is missing or not a zip archive.
  explicit ZipReader(const std::filesystem::path& path);
  ~ZipReader();
  ZipReader(const ZipReader&) = delete;
  ZipReader& operator=(const ZipReader&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// The files in it (not the folders), sorted.
  const std::vector<std::string>& names() const { return names_; }
  /// The unpacked size that the archive states for a file. Throws IoError if it is not in it.
  uint64_t size_of(const std::string& name) const;
  /// The content of one file, with its CRC-32 checked. Thread-safe. Throws
  /// IoError("archive.zip/name", ...) if it is not in the archive, encrypted or damaged, or if its
  /// stated size is impossible for its packed size.
  std::vector<uint8_t> read(const std::string& name) const;
  /// The first `count` bytes of one file, or all of a shorter one. Like read, without the checksum.
  std::vector<uint8_t> read_beginning(const std::string& name, uint64_t count) const;

 private:
  struct Close {
    void operator()(zip* archive) const;
  };
  uint64_t entry_of(const std::string& name) const;
  std::vector<uint8_t> read_entry(const std::string& name, uint64_t count, bool whole) const;
  std::filesystem::path path_;
  std::unique_ptr<zip, Close> archive_;
  uint64_t bytes_;            ///< of the archive file
  mutable std::mutex mutex_;  ///< a libzip handle serves one thread at a time
  std::vector<std::string> names_;
  std::vector<uint64_t> entries_;  ///< names_[i] is entry entries_[i] of the archive
};

}  // namespace ddpm::io
