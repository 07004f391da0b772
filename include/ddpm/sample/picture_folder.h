#pragma once

#include "ddpm/io/png.h"

#include <cstdint>
#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::sample {

/// The images that one call is about to put into a folder. Texts are JSON objects.
struct PictureSet {
  int64_t count = 0;            ///< images 0..count-1
  std::string settings = "{}";  ///< all that decides what image i looks like
  std::string defaults = "{}";  ///< settings of a sampling.json that was written before their keys
                                ///< were known
  std::string source = "{}";    ///< files that were read, for people: compared by the checksums in
                                ///< settings (the file of "weights" by "weights_crc32c")
  std::vector<std::filesystem::path> beside;  ///< pictures that will be written outside the folder
};

/// The ending of the file of an image with so many channels: ".png", or ".npy" for more than 4.
std::string picture_ending(int64_t channels);

/// Sampled images on disk: FOLDER/000000.png, 000001.png, ... by image index, and sampling.json,
/// which says how they were sampled and which files are this program's. An image with more than 4
/// channels is a NumPy array [H,W,C] of uint8 or uint16, 000000.npy. So images of different
/// settings never stand side by side, and no file of anybody else's is overwritten or deleted. A
/// grid stands beside the folder: in it, other programs would read it as a sample.
class PictureFolder {
 public:
  explicit PictureFolder(std::filesystem::path folder, std::string ending = ".png")
      : folder_(std::move(folder)), ending_(std::move(ending)) {}

  const std::filesystem::path& path() const { return folder_; }
  std::filesystem::path file_of(int64_t image) const;
  /// FOLDER-WHAT.png, in the folder that this folder is in.
  std::filesystem::path beside(const std::string& what) const;

  /// Throws IoError, with the way out, if `set` cannot be put here: if the folder holds images of
  /// other settings or more images than these (unless `overwrite`), or any image that its
  /// sampling.json does not list. Changes nothing.
  void check(const PictureSet& set, bool overwrite) const;
  /// The same; then makes the folder, deletes the listed images that `overwrite` gives up, and
  /// writes sampling.json. Throws IoError.
  void prepare(const PictureSet& set, bool overwrite) const;

  /// Those of `images` whose file does not exist, is damaged or of another size than [channels,
  /// height, width].
  std::vector<int64_t> missing(const std::vector<int64_t>& images,
                               const std::vector<int64_t>& shape) const;
  /// pixels: [C,H,W], uint8, or int32 of 0..65535 for 16 bits. The file appears whole or not at all.
  /// texts: what a PNG says about itself.
  void write(int64_t image, const torch::Tensor& pixels,
             const std::vector<io::PngText>& texts = {}) const;
  /// A grid or the like, outside the folder: marked as ours, so that a later call may replace it.
  static void write_beside(const std::filesystem::path& file, const torch::Tensor& chw_u8,
                           const std::vector<io::PngText>& texts = {});
  /// The same with an encoded PNG, as io::encode_png or io::encode_apng makes it.
  static void write_beside(const std::filesystem::path& file, const std::vector<uint8_t>& png,
                           const std::vector<io::PngText>& texts = {});
  /// uint8 [C,H,W]; 16 bits are rounded. Throws IoError.
  torch::Tensor read(int64_t image) const;
  /// Images 0..count-1 in rows of `columns` (0: nearly square), enlarged if they are small: uint8
  /// [C,H',W']. Throws IoError.
  torch::Tensor grid(int64_t count, int64_t columns) const;

 private:
  std::filesystem::path folder_;
  std::string ending_;
};

/// Writes a batch of images into a folder in a thread of its own, while the next batch is sampled.
class PictureWriter {
 public:
  /// `folder` must outlive it.
  explicit PictureWriter(const PictureFolder& folder) : folder_(folder) {}
  /// Waits for the batch before, then starts. images: the indices of `pixels`, uint8 or int32
  /// [B,C,H,W] on the CPU, as PictureFolder::write takes them. texts: those of each picture, or none
  /// at all. Throws what writing the batch before threw.
  void write(std::vector<int64_t> images, const torch::Tensor& pixels,
             std::vector<std::vector<io::PngText>> texts = {});
  /// Returns when all is written. Throws what writing threw.
  void wait();

 private:
  const PictureFolder& folder_;
  std::future<void> under_way_;
};

}  // namespace ddpm::sample
