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

/// How much of an image file has been looked at.
enum class Check : uint8_t { kNone, kHeader, kDecoded };

/// An image file, and what is known of it.
struct FileRecord {
  std::string name;      ///< its path below the root, with '/'
  uint64_t size = 0;     ///< bytes
  int64_t modified = 0;  ///< nanoseconds since 1970; of an archive, for all that is in it
  Check check = Check::kNone;
  io::ImageInfo info = {};   ///< from kHeader on, if there is no problem
  std::string problem = {};  ///< why it cannot be read, or ""
  bool operator==(const FileRecord&) const = default;
};

/// The image files of a folder or an archive.
struct Catalogue {
  std::vector<FileRecord> files;               ///< sorted by name
  std::map<std::string, int64_t> passed_over;  ///< files of other endings: ".gif", or "" for none
  std::vector<std::string> remarks;            ///< links that were not followed: a sentence each
  bool operator==(const Catalogue&) const = default;
};

/// Counts a file that is no image, unless it is one that systems leave behind.
void pass_over(Catalogue& catalogue, const std::string& name);

/// Takes from `before` what it knows of files whose name, size and time have not changed. Returns
/// how many those are.
int64_t take_known(Catalogue& catalogue, const Catalogue& before);

/// A catalogue as bytes, with a checksum, for a file or another process.
std::vector<uint8_t> to_bytes(const Catalogue& catalogue);
/// None if the bytes are damaged, or of another version of the program.
std::optional<Catalogue> catalogue_of(std::span<const uint8_t> bytes);

/// Reads what write_catalogue has written. None if there is no such file, or it is of no use.
std::optional<Catalogue> read_catalogue(const std::filesystem::path& file);
/// Replaces the file as one step. Throws IoError.
void write_catalogue(const std::filesystem::path& file, const Catalogue& catalogue);

}  // namespace ddpm::data
