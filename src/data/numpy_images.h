#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/data/transform.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace ddpm::data {

/// Interpretation of an array as images.
struct ArrayOptions {
  /// Of four axes: nhwc, nchw, or auto: the one with 1 to 4 channels, else the one with up to 16.
  std::string layout = "auto";
  /// Black and white, "LOW_HIGH": 0_1, -1_1, 0_4095, ...; auto: 0..255 of bytes, 0..65535 of uint16,
  /// and of floats 0_1, -1_1 or 0_255, by the smallest and the largest value.
  std::string range = "auto";
};

/// The allowed values of ArrayOptions::layout.
std::vector<std::string> array_layouts();
/// Why `range` is none, or "".
std::string problem_of_array_range(const std::string& range);

/// A NumPy array [N,H,W], [N,H,W,C] or [N,C,H,W] of uint8, bool, uint16, float16, float32 or
/// float64, and, with a range, of other integers. All but bytes are clamped to the range, made
/// levels of 0..255, and rounded unless options.depth is 16. The file is mapped into memory if its
/// bytes can be used directly. Throws IoError if it is not such an array, is truncated, has no
/// clear layout or range, or holds NaN or infinity.
std::unique_ptr<Dataset> open_npy(const std::filesystem::path& file, const ArrayOptions& array,
                                  const ImageOptions& options);

/// The same from an archive of arrays, held in memory: the images are "images", "data" or "arr_0"
/// (or the only array), the labels "labels", "label" or "y" (or "arr_1" beside "arr_0"), integers
/// [N] or [N,1] from 0. Throws IoError.
std::unique_ptr<Dataset> open_npz(const std::filesystem::path& file, const ArrayOptions& array,
                                  const ImageOptions& options);

}  // namespace ddpm::data
