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
  std::function<torch::Tensor(int64_t index)> image;  ///< uint8 [C,H,W]; thread-safe
  std::vector<int64_t> labels;                        ///< one per image, or empty
  std::vector<std::string> classes;                   ///< names of labels 0, 1, ...
  std::vector<std::filesystem::path> files;           ///< files read, for the fingerprint
};

std::unique_ptr<Dataset> open_array(ImageArray array, const ImageOptions& options);

}  // namespace ddpm::data
