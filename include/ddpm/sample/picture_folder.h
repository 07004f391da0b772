#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::sample {

/// Drawn images on disk: FOLDER/000000.png, 000001.png, ... by image index, and sampling.json,
/// which says how they were drawn, so that pictures drawn in different ways never stand side by
/// side.
class PictureFolder {
 public:
  /// What becomes of pictures that were drawn into the folder before.
  enum class Before {
    kReplace,  ///< removed where sampling.json has other settings
    kKeep,     ///< kept; other settings are an error
  };

  /// Makes the folder. `settings`: a JSON object of all that decides what image i looks like.
  /// Throws IoError where the folder cannot be made or written, or where kKeep finds pictures that
  /// were drawn with other settings (the message names one of them).
  PictureFolder(std::filesystem::path folder, const std::string& settings, Before before);

  const std::filesystem::path& path() const { return folder_; }
  std::filesystem::path file_of(int64_t image) const;
  /// Those of `images` whose file is not there, damaged or of another size than [channels, height,
  /// width].
  std::vector<int64_t> missing(const std::vector<int64_t>& images,
                               const std::vector<int64_t>& shape) const;
  /// chw_u8: uint8 [C,H,W]. The file appears whole or not at all.
  void write(int64_t image, const torch::Tensor& chw_u8) const;
  /// uint8 [C,H,W]. Throws IoError.
  torch::Tensor read(int64_t image) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace ddpm::sample
