#include "ddpm/nn/weight_copies.h"

#include "ddpm/kernels/multi_tensor.h"

#include <utility>

namespace ddpm::nn {
namespace {

thread_local const WeightCopies* current = nullptr;

}  // namespace

WeightCopies::WeightCopies(const std::vector<torch::Tensor>& weights) {
  const std::vector<torch::Tensor> copies = kernels::cast_all_to_bf16(weights);
  for (size_t i = 0; i < weights.size(); ++i)
    copies_.emplace(weights[i].unsafeGetTensorImpl(), copies[i]);
}

const torch::Tensor& WeightCopies::of(const torch::Tensor& weight) const {
  const auto found = copies_.find(weight.unsafeGetTensorImpl());
  return found == copies_.end() ? weight : found->second;
}

WeightCopiesGuard::WeightCopiesGuard(const WeightCopies& copies)
    : before_(std::exchange(current, &copies)) {}

WeightCopiesGuard::~WeightCopiesGuard() { current = before_; }

bool WeightCopiesGuard::active() { return current != nullptr; }

const torch::Tensor& used(const torch::Tensor& weight) {
  return current ? current->of(weight) : weight;
}

}  // namespace ddpm::nn
