#pragma once

#include "ddpm/data/view.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ddpm::data {

/// Some images of another data set.
class Subset final : public View {
 public:
  /// At least one index, each of an image of `whole`.
  Subset(std::shared_ptr<const Dataset> whole, std::vector<int64_t> indices);

  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  Example get(int64_t index) const override { return whole().get(indices_.at(index)); }
  Example get_uncropped(int64_t index) const override {
    return whole().get_uncropped(indices_.at(index));
  }
  std::vector<std::string> image_names() const override;
  torch::Tensor vectors() const override { return vectors_; }
  std::string description() const override;

  const std::vector<int64_t>& indices() const { return indices_; }

 private:
  std::vector<int64_t> indices_;
  torch::Tensor vectors_;  // of these images
};

/// A data set in two disjoint parts.
struct Split {
  std::shared_ptr<const Dataset> training;
  std::shared_ptr<const Dataset> held_out;  ///< nullptr if nothing is held out
};

/// Holds out `count` images, chosen uniformly by `seed`. 0 <= count < whole.size().
Split hold_out(std::shared_ptr<const Dataset> whole, int64_t count, uint64_t seed);

}  // namespace ddpm::data
