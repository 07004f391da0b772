#include "ddpm/eval/jackknife.h"

#include "ddpm/base/rng.h"
#include "unknown.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include <torch/utils.h>

namespace ddpm::eval {
namespace {

constexpr double kRounding = 1e-12;  // a relative error below it is rounding: 0
// Fixed: groups and selections belong to the metric, not to the samples.
constexpr uint64_t kGroupSeed = 0;

// Blocks with one sample of each class; empty if there are no classes or their sizes differ.
std::vector<std::vector<int64_t>> blocks_by_class(const std::vector<int64_t>& classes) {
  std::map<int64_t, int64_t> seen;
  std::vector<std::vector<int64_t>> blocks;
  for (size_t n = 0; n < classes.size(); ++n) {
    const auto block = static_cast<size_t>(seen[classes[n]]++);
    if (block == blocks.size()) blocks.emplace_back();
    blocks[block].push_back(static_cast<int64_t>(n));
  }
  if (seen.size() < 2 || seen.begin()->first < 0) return {};
  const auto [least, most] = std::minmax_element(
      seen.begin(), seen.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (least->second < 2 || most->second - least->second > 1) return {};
  return blocks;
}

std::vector<std::vector<int64_t>> blocks_of_one(int64_t samples) {
  std::vector<std::vector<int64_t>> blocks;
  for (const int64_t n : random_permutation(samples, rng_key(kGroupSeed, Purpose::kErrorGroups), 0))
    blocks.push_back({n});
  return blocks;
}

}  // namespace

int64_t SampleGroups::samples() const {
  int64_t sum = 0;
  for (const auto& block : blocks) sum += std::ssize(block);
  return sum;
}

torch::Tensor SampleGroups::ids() const {
  torch::Tensor ids = torch::empty({samples()}, torch::kLong);
  auto* id = ids.mutable_data_ptr<int64_t>();
  for (int64_t b = 0; b < std::ssize(blocks); ++b)
    for (const int64_t n : blocks[b]) id[n] = b % count;
  return ids;
}

std::vector<int64_t> SampleGroups::order(uint64_t pass) const {
  std::vector<int64_t> turn(blocks.size()), order;
  std::iota(turn.begin(), turn.end(), int64_t{0});
  if (pass > 0)
    turn = random_permutation(std::ssize(blocks), rng_key(kGroupSeed, Purpose::kErrorGroups), pass);
  for (const int64_t b : turn) order.insert(order.end(), blocks[b].begin(), blocks[b].end());
  return order;
}

SampleGroups make_groups(int64_t samples, const std::vector<int64_t>& classes, int64_t most) {
  TORCH_CHECK(classes.empty() || std::ssize(classes) == samples, "a class for each sample");
  SampleGroups groups;
  groups.blocks = blocks_by_class(classes);
  groups.by_class = !groups.blocks.empty();
  if (!groups.by_class) groups.blocks = blocks_of_one(samples);
  // The last block may lack some classes, so it forms no group of its own.
  const bool whole = groups.blocks.back().size() == groups.blocks.front().size();
  groups.count = std::min(most, std::ssize(groups.blocks) - (whole ? 0 : 1));
  return groups;
}

double jackknife_error(double value, const std::vector<double>& without,
                       const std::vector<int64_t>& sizes) {
  TORCH_CHECK(without.size() == sizes.size(), "a size for each group");
  const auto groups = static_cast<double>(sizes.size());
  const auto n = static_cast<double>(std::accumulate(sizes.begin(), sizes.end(), int64_t{0}));
  if (sizes.size() < 2) return kUnknown;
  double centre = groups * value;
  for (size_t j = 0; j < sizes.size(); ++j)
    centre -= (1.0 - static_cast<double>(sizes[j]) / n) * without[j];
  double variance = 0.0;
  for (size_t j = 0; j < sizes.size(); ++j) {
    const double h = n / static_cast<double>(sizes[j]);
    const double pseudo = h * value - (h - 1.0) * without[j];
    variance += (pseudo - centre) * (pseudo - centre) / (h - 1.0) / groups;
  }
  const double error = std::sqrt(variance);
  return error < kRounding * std::abs(value) ? 0.0 : error;
}

std::vector<int64_t> group_sizes(const torch::Tensor& groups, int64_t count) {
  const torch::Tensor sizes = torch::bincount(groups, {}, count).contiguous();
  return {sizes.const_data_ptr<int64_t>(), sizes.const_data_ptr<int64_t>() + count};
}

Measured grouped_mean(const torch::Tensor& values, const torch::Tensor& groups, int64_t count) {
  const torch::Tensor x = values.to(torch::kDouble);
  const double sum = x.sum().item<double>();
  const auto n = static_cast<double>(x.numel());
  const torch::Tensor sums = torch::zeros({count}, torch::kDouble).index_add_(0, groups, x);
  std::vector<double> without;
  std::vector<int64_t> sizes;
  const std::vector<int64_t> all = group_sizes(groups, count);
  for (int64_t j = 0; j < count; ++j) {
    if (all[j] == 0) continue;
    sizes.push_back(all[j]);
    without.push_back((sum - sums[j].item<double>()) / (n - static_cast<double>(all[j])));
  }
  return {sum / n, jackknife_error(sum / n, without, sizes)};
}

std::vector<int64_t> representative_indices(int64_t size, int64_t count) {
  std::vector<int64_t> indices(std::min(size, count));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  if (count >= size) return indices;
  RngStream random(rng_key(kGroupSeed, Purpose::kSelection), 0);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = i * size / count, end = (i + 1) * size / count;
    indices[i] = begin + random.below(static_cast<uint32_t>(end - begin));
  }
  return indices;
}

}  // namespace ddpm::eval
