#include "ddpm/data/loader.h"

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
  Batch batch{torch::stack(images), torch::tensor(labels, torch::kLong),
              torch::tensor(at::ArrayRef<int64_t>(indices.data(), indices.size()), torch::kLong)};
  if (const torch::Tensor vectors = dataset.vectors(); vectors.defined())
    batch.vectors = vectors.index_select(0, batch.ids);
  return batch;
}

}  // namespace ddpm::data
