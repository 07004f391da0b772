#include "ddpm/nn/weight_copies.h"

#include "ddpm/kernels/elementwise.h"

#include <algorithm>
#include <utility>

namespace ddpm::nn {
namespace {

thread_local const WeightCopies* current = nullptr;

// Weights per cast. All gradients of one cast arrive together: with a few casts in the order of the
// network, several processes can sum the first gradients while the backward pass goes on.
constexpr size_t kWeightsPerCast = 32;

}  // namespace

WeightCopies::WeightCopies(const std::vector<torch::Tensor>& weights) {
  for (size_t first = 0; first < weights.size(); first += kWeightsPerCast) {
    const size_t end = std::min(first + kWeightsPerCast, weights.size());
    const std::vector<torch::Tensor> part(weights.begin() + first, weights.begin() + end);
    const std::vector<torch::Tensor> copies = kernels::cast_all_to_bf16(part);
    for (size_t i = 0; i < part.size(); ++i)
      copies_.emplace(part[i].unsafeGetTensorImpl(), copies[i]);
  }
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
