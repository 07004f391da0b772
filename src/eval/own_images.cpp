#include "own_images.h"

#include "ddpm/diffusion/image_range.h"
#include "ddpm/eval/images.h"
#include "ddpm/sample/generate.h"
#include "unknown.h"

#include <cmath>

namespace ddpm::eval {

OwnImages::OwnImages(const std::vector<int64_t>& images, int64_t batch, const dist::World& world)
    : places_(sample::images_of_rank(sample::image_range(0, std::ssize(images)), batch,
                                     world.rank(), world.size())),
      batch_(batch) {
  for (const int64_t place : places_) own_.push_back(images[static_cast<size_t>(place)]);
}

void OwnImages::visit(const data::Dataset& dataset, const torch::Device& device, torch::Dtype dtype,
                      const std::function<void(const Batch&)>& sink) const {
  const torch::Tensor vectors = dataset.vectors();
  visit_examples(dataset, own_, batch_,
                 [&](int64_t first, const torch::Tensor& pixels, const torch::Tensor& labels) {
                   const auto begin = own_.begin() + first;
                   const torch::Tensor ids = torch::tensor(
                       std::vector<int64_t>(begin, begin + pixels.size(0)), torch::kLong);
                   const torch::Tensor own =
                       vectors.defined() ? vectors.index_select(0, ids).to(device) : vectors;
                   sink({first, places_[static_cast<size_t>(first)],
                         diffusion::to_model_range(pixels.to(device), dtype), ids.to(device),
                         labels.to(device), own});
                 });
}

Measured mean_of_images(const torch::Tensor& x) {
  const double deviation = x.numel() < 2 ? kUnknown : x.std().item<double>();
  return {x.mean().item<double>(), deviation / std::sqrt(static_cast<double>(x.numel()))};
}

void sum_over_ranks_(torch::Tensor& table, const dist::World& world, const torch::Device& device) {
  if (world.size() == 1) return;
  const torch::Tensor sum = table.to(device);
  world.all_reduce_sum_({sum});
  table.copy_(sum);
}

}  // namespace ddpm::eval
