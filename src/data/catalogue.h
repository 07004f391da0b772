#pragma once

#include "ddpm/io/image.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace ddpm::data {

/// How much of an image file has been checked.
enum class Check : uint8_t { kNone, kHeader, kDecoded };

/// An image file and its known properties.
struct FileRecord {
  std::string name;      ///< path below the root, with '/'
  uint64_t size = 0;     ///< bytes
  int64_t modified = 0;  ///< nanoseconds since 1970; in an archive: that of the archive
  Check check = Check::kNone;
  io::ImageInfo info = {};   ///< set from kHeader on, if there is no problem
  std::string problem = {};  ///< why it cannot be read, or ""
  bool operator==(const FileRecord&) const = default;
};

/// The image files of a folder or an archive.
struct Catalogue {
  std::vector<FileRecord> files;  ///< sorted by name
  /// Counts of other files by ending: ".gif", "" for none.
  std::map<std::string, int64_t> passed_over;
  std::vector<std::string> remarks;  ///< links that were not followed, one sentence each
  bool operator==(const Catalogue&) const = default;
};

/// Counts a file that is not an image, unless it is hidden or a system's own.
void pass_over(Catalogue& catalogue, const std::string& name);

/// Adds a file of the archive: to `files` if it is an image by its name, else to `passed_over`.
/// modified: see time_of_archive.
void add_archived_(Catalogue& catalogue, const std::string& name, uint64_t size, int64_t modified);
/// The modification time of an archive as FileRecord has it, which every file in it gets.
int64_t time_of_archive(const std::filesystem::path& archive);

/// Copies from `before` the records of files with the same name, size and time. Returns their
/// number.
int64_t take_known(Catalogue& catalogue, const Catalogue& before);

/// Serialises a catalogue, with a checksum, for a file or another process.
std::vector<uint8_t> to_bytes(const Catalogue& catalogue);
/// None if the bytes are damaged, or from another version of the program.
std::optional<Catalogue> catalogue_of(std::span<const uint8_t> bytes);

/// Reads a file of write_catalogue. None if it does not exist, or is not usable.
std::optional<Catalogue> read_catalogue(const std::filesystem::path& file);
/// Replaces the file atomically. Throws IoError.
void write_catalogue(const std::filesystem::path& file, const Catalogue& catalogue);

}  // namespace ddpm::data
