#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/train/train_step.h"

#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace ddpm::train {

/// L_simple on images that the network never trains on, each always with the same t and the same
/// noise: two values differ only because the weights do.
class Holdout {
 public:
  /// Reads the images, `batch_size` at a time. `settings`: those of training; t and noise come from
  /// a seed derived from theirs. Throws IoError where an image cannot be read.
  Holdout(const data::Dataset& held_out, const StepSettings& settings, int64_t batch_size);

  /// The mean over the held-out images with the weights as they stand, dropout off. `go_on`: polled
  /// each batch; where it says false, nothing.
  std::optional<double> loss(
      nn::UNetImpl& unet, const std::function<bool()>& go_on = [] { return true; }) const;

 private:
  StepSettings settings_;
  std::vector<data::Batch> batches_;  // on the CPU
};

}  // namespace ddpm::train
