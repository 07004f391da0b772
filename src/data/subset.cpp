#include "ddpm/base/rng.h"
#include "ddpm/data/view.h"

#include <algorithm>

#include <fmt/format.h>
#include <torch/utils.h>

namespace ddpm::data {

Subset::Subset(std::shared_ptr<const Dataset> whole, std::vector<int64_t> indices)
    : View(std::move(whole)), indices_(std::move(indices)) {
  TORCH_CHECK(!indices_.empty(), "a subset needs at least one image");
  const auto [low, high] = std::minmax_element(indices_.begin(), indices_.end());
  TORCH_CHECK(*low >= 0 && *high < View::size(), "images ", *low, " to ", *high, " of ",
              View::size());
  if (const torch::Tensor all = View::vectors(); all.defined())
    vectors_ = all.index_select(0, torch::tensor(indices_, torch::kLong));
}

std::vector<std::string> Subset::image_names() const {
  const std::vector<std::string> all = View::image_names();
  if (all.empty()) return all;
  std::vector<std::string> names;
  for (const int64_t i : indices_) names.push_back(all[static_cast<size_t>(i)]);
  return names;
}

std::string Subset::description() const {
  return fmt::format("{}; {} of them", whole().description(), size());
}

Split hold_out(std::shared_ptr<const Dataset> whole, int64_t count, uint64_t seed) {
  TORCH_CHECK(count >= 0 && count < whole->size(), "cannot hold out ", count, " of ", whole->size(),
              " images");
  if (count == 0) return {std::move(whole), nullptr};
  const std::vector<int64_t> order =
      random_permutation(whole->size(), rng_key(seed, Purpose::kHoldout), 0);
  std::vector<int64_t> held_out(order.begin(), order.begin() + count);
  std::vector<int64_t> training(order.begin() + count, order.end());
  std::sort(held_out.begin(), held_out.end());  // files are read fastest in their order
  std::sort(training.begin(), training.end());
  return {std::make_shared<Subset>(whole, std::move(training)),
          std::make_shared<Subset>(whole, std::move(held_out))};
}

}  // namespace ddpm::data
