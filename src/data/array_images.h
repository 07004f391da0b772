#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/data/transform.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ddpm::data {

/// Images of one shape in memory, as IDX, CIFAR and NumPy files hold them.
struct ImageArray {
  std::string title;  ///< "IDX file x", for messages
  int64_t count = 0;
  ImageShape shape;
  std::function<torch::Tensor(int64_t index)> image;  ///< [C,H,W] of pixel_type; thread-safe
  torch::Dtype pixel_type = torch::kByte;             ///< as Dataset::pixel_type
  std::vector<int64_t> labels;                        ///< one per image, or empty
  std::vector<std::string> classes;                   ///< names of labels 0, 1, ...
  std::vector<std::filesystem::path> files;           ///< files read, for the fingerprint
  std::vector<std::string> remarks = {};              ///< as Dataset::remarks
};

/// Throws UsageError if the options ask for channels that the images cannot be turned into.
std::unique_ptr<Dataset> open_array(ImageArray array, const ImageOptions& options);

}  // namespace ddpm::data
