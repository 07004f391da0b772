#pragma once

#include "ddpm/io/file.h"

#include <cstdint>
#include <filesystem>
#include <limits>
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

/// A file's content, unpacked if it begins like a gzip file (whatever its name), and at most the
/// first `most` bytes of it. Throws IoError if the file is missing, or is a gzip file that is
/// truncated or damaged.
std::vector<uint8_t> read_file_maybe_gzip(const std::filesystem::path& path,
                                          uint64_t most = std::numeric_limits<uint64_t>::max());

}  // namespace ddpm::io
