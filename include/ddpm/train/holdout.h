#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/train/metrics.h"
#include "ddpm/train/train_step.h"

#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace ddpm::train {

/// L_simple on held-out images. The t and noise of each image are fixed, so that two values differ
/// only by the weights.
class Holdout {
 public:
  /// Reads the images in batches of `batch_size`. `settings` are those of training; t and noise use
  /// a seed derived from theirs. Throws IoError if an image cannot be read.
  Holdout(const data::Dataset& held_out, const StepSettings& settings, int64_t batch_size);

  /// The mean over the held-out images with the current weights, without dropout. `go_on` is called
  /// before each batch; if it returns false, the result is empty. Adds the losses to `bins`, if
  /// given.
  std::optional<double> loss(
      nn::UNetImpl& unet, const std::function<bool()>& go_on = [] { return true; },
      LossBins* bins = nullptr) const;

 private:
  StepSettings settings_;
  std::vector<data::Batch> batches_;  // on the CPU
};

}  // namespace ddpm::train
