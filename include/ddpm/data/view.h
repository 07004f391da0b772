#pragma once

#include "ddpm/data/dataset.h"

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

}  // namespace ddpm::data
