#pragma once

#include "ddpm/data/dataset.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ddpm::data {

/// Base of data sets that change another one: everything not overridden is that of `whole`, which
/// it keeps alive.
class View : public Dataset {
 public:
  explicit View(std::shared_ptr<const Dataset> whole) : whole_(std::move(whole)) {}

  int64_t size() const override { return whole_->size(); }
  ImageShape shape() const override { return whole_->shape(); }
  torch::Dtype pixel_type() const override { return whole_->pixel_type(); }
  int64_t class_count() const override { return whole_->class_count(); }
  std::vector<std::string> class_names() const override { return whole_->class_names(); }
  Example get(int64_t index) const override { return whole_->get(index); }
  Example get_uncropped(int64_t index) const override { return whole_->get_uncropped(index); }
  std::vector<std::string> image_names() const override { return whole_->image_names(); }
  torch::Tensor vectors() const override { return whole_->vectors(); }
  std::vector<std::string> vector_names() const override { return whole_->vector_names(); }
  std::optional<ImageShape> uncropped_shape() const override { return whole_->uncropped_shape(); }
  SizeRange source_sizes() const override { return whole_->source_sizes(); }
  std::vector<std::string> skipped() const override { return whole_->skipped(); }
  std::map<std::string, int64_t> passed_over() const override { return whole_->passed_over(); }
  std::vector<std::string> remarks() const override { return whole_->remarks(); }
  void save_index(const std::filesystem::path& file) const override { whole_->save_index(file); }
  std::string fingerprint() const override { return whole_->fingerprint(); }
  std::string description() const override { return whole_->description(); }

 protected:
  const Dataset& whole() const { return *whole_; }

 private:
  std::shared_ptr<const Dataset> whole_;
};

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

/// Classes of a trained network.
struct KnownClasses {
  int64_t count = 0;
  std::vector<std::string> names;  ///< one per class, or empty
};

/// For each class of the data, its number among the known ones: by name if every name is known;
/// else by number if the counts agree, or if one side has only numbers as names. Throws Error,
/// which begins with "the data has", if neither is possible.
std::vector<int64_t> class_numbers(const std::vector<std::string>& classes,
                                   const KnownClasses& known);

/// The same images with the known classes: class c becomes numbers[c].
std::shared_ptr<const Dataset> relabelled(std::shared_ptr<const Dataset> dataset,
                                          std::vector<int64_t> numbers, KnownClasses known);
/// Both parts; a missing part stays missing.
Split relabelled(const Split& split, const std::vector<int64_t>& numbers,
                 const KnownClasses& known);

}  // namespace ddpm::data
