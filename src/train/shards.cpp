#include "ddpm/train/optimizer.h"

#include <algorithm>
#include <numeric>

#include <torch/utils.h>

namespace ddpm::train {
namespace {

// Assigns parameters, largest first, to the rank with the fewest bytes so far. The result is the
// same on every rank.
std::vector<int64_t> divide(const std::vector<torch::Tensor>& parameters, int64_t ranks) {
  std::vector<size_t> order(parameters.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return parameters[a].nbytes() > parameters[b].nbytes();
  });
  std::vector<size_t> held(static_cast<size_t>(ranks), 0);
  std::vector<int64_t> owner(parameters.size());
  for (const size_t i : order) {
    const auto least = std::min_element(held.begin(), held.end());
    *least += parameters[i].nbytes();
    owner[i] = least - held.begin();
  }
  return owner;
}

}  // namespace

Shards::Shards(const std::vector<torch::Tensor>& parameters, const dist::World& world, bool divided)
    : world_(world),
      divided_(divided && world.size() > 1),
      parameters_(parameters),
      owner_(divided_ ? divide(parameters, world.size())
                      : std::vector<int64_t>(parameters.size(), world.rank())) {}

std::vector<torch::Tensor> Shards::own(const std::vector<torch::Tensor>& whole) const {
  if (!divided_) return whole;
  std::vector<torch::Tensor> result;
  for (size_t i = 0; i < whole.size(); ++i) {
    if (owner_[i] == world_.rank()) result.push_back(whole[i]);
  }
  return result;
}

void Shards::exchange_(const std::vector<torch::Tensor>& whole) const {
  if (!divided_) return;
  for (int64_t rank = 0; rank < world_.size(); ++rank) {
    std::vector<torch::Tensor> of_rank;
    for (size_t i = 0; i < whole.size(); ++i) {
      if (owner_[i] == rank) of_rank.push_back(whole[i]);
    }
    world_.broadcast_(of_rank, rank);
  }
}

std::vector<torch::Tensor> Shards::gather(const std::vector<torch::Tensor>& own) const {
  if (!divided_) return world_.is_main() ? own : std::vector<torch::Tensor>();
  std::vector<torch::Tensor> whole;
  size_t next = 0;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    whole.push_back(owner_[i] == world_.rank() ? own[next++]
                                               : torch::empty_like(parameters_[i]).detach());
  }
  exchange_(whole);
  return world_.is_main() ? whole : std::vector<torch::Tensor>();
}

}  // namespace ddpm::train
