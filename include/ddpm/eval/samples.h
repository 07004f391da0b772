#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/eval/images.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace ddpm::eval {

/// A set of images to measure.
struct Samples {
  ImageSource source;
  std::vector<int64_t> indices;
  data::ImageShape shape;
  std::vector<int64_t> classes = {};  ///< one per image; empty if they are unknown: see make_groups
};

/// `num` of the images at `path` (folder, zip, .npz, ...) that represent them all; none: all of
/// them. Their classes are their labels, or, in a folder of `ddpm sample`, what its record says.
/// Warns if that sampling was interrupted. Throws IoError, and UsageError if there are fewer.
Samples samples_at(const std::filesystem::path& path, std::optional<int64_t> num);

/// The class of each image if `period` classes are sampled in turn; empty if there is one or none.
std::vector<int64_t> classes_in_turn(const std::vector<int64_t>& images, int64_t period);

}  // namespace ddpm::eval
