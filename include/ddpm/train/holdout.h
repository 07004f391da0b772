#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/train/train_step.h"

#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace ddpm::train {

/// L_simple on images that are not trained on. Each always has the same t and noise, so that two
/// values differ only by the weights.
class Holdout {
 public:
  /// Reads the images, `batch_size` at a time. `settings`: those of training; t and noise use a
  /// seed derived from theirs. Throws IoError if an image cannot be read.
  Holdout(const data::Dataset& held_out, const StepSettings& settings, int64_t batch_size);

  /// The mean over the held-out images with the present weights, without dropout. `go_on` is called
  /// for each batch; if it returns false, there is no result.
  std::optional<double> loss(
      nn::UNetImpl& unet, const std::function<bool()>& go_on = [] { return true; }) const;

 private:
  StepSettings settings_;
  std::vector<data::Batch> batches_;  // on the CPU
};

}  // namespace ddpm::train
