#pragma once

#include "ddpm/io/file.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace ddpm::io {

/// Reads the regular files in a tar archive: POSIX ustar and pax, and GNU's long names. Reading the
/// list visits every header once; a file is then read at its place.
class TarReader {
 public:
  /// Throws IoError if the file is missing, compressed, damaged or cut off, and if it holds a sparse
  /// file.
  explicit TarReader(const std::filesystem::path& path);

  const std::filesystem::path& file() const { return file_.path(); }
  /// The files in it, sorted. Of two of the same name only the later one, as when unpacking.
  const std::vector<std::string>& names() const { return names_; }
  /// Whether the archive has the file.
  bool contains(const std::string& name) const;
  /// In bytes. Throws IoError("archive.tar/name", ...) if it is not in the archive.
  uint64_t size_of(const std::string& name) const;
  /// The content of one file, or its first `count` bytes. Thread-safe. Throws IoError.
  std::vector<uint8_t> read(const std::string& name) const;
  std::vector<uint8_t> read_beginning(const std::string& name, uint64_t count) const;

 private:
  struct Entry {
    std::string name;
    uint64_t offset = 0, size = 0;
  };
  void list_entries();
  const Entry& entry_of(const std::string& name) const;

  InputFile file_;
  std::vector<Entry> entries_;      // as names_
  std::vector<std::string> names_;  // sorted
};

}  // namespace ddpm::io
