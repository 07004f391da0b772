#pragma once

#include "ddpm/sample/picture_folder.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace ddpm::sample {

/// A folder's sampling.json: how its images were sampled, and which files are this program's.
struct PictureRecord {
  using Json = nlohmann::ordered_json;

  Json settings = Json::object();
  Json source = Json::object();
  int64_t images = 0;               ///< 000000.png .. of this many are listed
  std::vector<std::string> beside;  ///< listed pictures outside, relative to the folder

  /// Nothing is listed if there is no such file. Throws IoError if it cannot be understood.
  static PictureRecord read(const std::filesystem::path& folder);
  /// Replaces the file as one step. Throws IoError.
  void write(const std::filesystem::path& folder) const;

  bool lists_beside(const std::filesystem::path& folder, const std::filesystem::path& file) const;
};

/// The path as sampling.json has it.
std::string relative_to(const std::filesystem::path& folder, const std::filesystem::path& file);

/// The first setting on which the record and `set` disagree, as "steps 50, now 20"; "" if none.
std::string first_difference(const PictureRecord& record, const PictureSet& set);

}  // namespace ddpm::sample
