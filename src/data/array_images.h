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

/// Images of one shape that lie in memory: what IDX, CIFAR and NumPy files have in common.
struct ImageArray {
  std::string title;  ///< "IDX file x", for people
  int64_t count = 0;
  ImageShape shape;
  std::function<torch::Tensor(int64_t index)> image;  ///< uint8 [C,H,W]; for many threads at once
  std::vector<int64_t> labels;                        ///< one an image, or empty
  std::vector<std::string> classes;                   ///< the names of labels 0, 1, ...
  std::vector<std::filesystem::path> files;           ///< what was read, for the fingerprint
};

std::unique_ptr<Dataset> open_array(ImageArray array, const ImageOptions& options);

}  // namespace ddpm::data
