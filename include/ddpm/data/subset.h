#pragma once

#include "ddpm/data/dataset.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace ddpm::data {

/// Some images of another data set, which it keeps alive.
class Subset final : public Dataset {
 public:
  /// At least one index, each of an image of `whole`.
  Subset(std::shared_ptr<const Dataset> whole, std::vector<int64_t> indices);

  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  ImageShape shape() const override { return whole_->shape(); }
  int64_t class_count() const override { return whole_->class_count(); }
  std::vector<std::string> class_names() const override { return whole_->class_names(); }
  Example get(int64_t index) const override { return whole_->get(indices_.at(index)); }
  Example get_uncropped(int64_t index) const override {
    return whole_->get_uncropped(indices_.at(index));
  }
  std::optional<ImageShape> uncropped_shape() const override { return whole_->uncropped_shape(); }
  SizeRange source_sizes() const override { return whole_->source_sizes(); }
  std::vector<std::string> skipped() const override { return whole_->skipped(); }
  std::string fingerprint() const override { return whole_->fingerprint(); }
  std::string description() const override;

  const std::vector<int64_t>& indices() const { return indices_; }

 private:
  std::shared_ptr<const Dataset> whole_;
  std::vector<int64_t> indices_;
};

/// A data set in two disjoint parts.
struct Split {
  std::shared_ptr<const Dataset> training;
  std::shared_ptr<const Dataset> held_out;  ///< nullptr where nothing is held out
};

/// Holds out `count` images, chosen uniformly by `seed`. 0 <= count < whole.size().
Split hold_out(std::shared_ptr<const Dataset> whole, int64_t count, uint64_t seed);

}  // namespace ddpm::data
