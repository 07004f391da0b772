#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/data/transform.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace ddpm::data {

/// How the numbers of an array are images.
struct ArrayOptions {
  std::string layout =
      "auto";                  ///< of four axes: nhwc, nchw, or auto: where one has 1 to 4 channels
  std::string range = "auto";  ///< what is black and white in floats: 0_1, -1_1, 0_255, or auto: by
                               ///< the smallest and the largest value
};

/// The values that ArrayOptions may have.
std::vector<std::string> array_layouts();
std::vector<std::string> array_ranges();

/// A NumPy array [N,H,W], [N,H,W,C] or [N,C,H,W] of uint8, bool, float16, float32 or float64.
/// Floats are rounded to the nearest of 0..255, those outside of the range taken as its ends. The
/// file is mapped into memory, not read, where its bytes can be used as they lie. Throws IoError
/// where it is no such array, cut short, of no clear layout or range, or holds NaN or infinity.
std::unique_ptr<Dataset> open_npy(const std::filesystem::path& file, const ArrayOptions& array,
                                  const ImageOptions& options);

/// The same from an archive of arrays, held in memory: the images are "images", "data" or "arr_0"
/// (or the only array), the labels "labels", "label" or "y" (or "arr_1" beside "arr_0"), integers
/// [N] or [N,1] from 0. Throws IoError.
std::unique_ptr<Dataset> open_npz(const std::filesystem::path& file, const ArrayOptions& array,
                                  const ImageOptions& options);

}  // namespace ddpm::data
