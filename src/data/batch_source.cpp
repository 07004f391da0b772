#include "ddpm/data/batch_source.h"

#include <utility>
#include <vector>

#include <torch/utils.h>

namespace ddpm::data {

Batch read_batch(const Dataset& dataset, std::span<const int64_t> indices) {
  std::vector<torch::Tensor> images;
  std::vector<int64_t> labels;
  for (const int64_t index : indices) {
    Example example = dataset.get(index);
    images.push_back(std::move(example.image));
    labels.push_back(example.label);
  }
  return {torch::stack(images), torch::tensor(labels, torch::kLong),
          torch::tensor(at::ArrayRef<int64_t>(indices.data(), indices.size()), torch::kLong)};
}

}  // namespace ddpm::data
