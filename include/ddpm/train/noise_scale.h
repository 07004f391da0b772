#pragma once

#include "ddpm/data/loader.h"
#include "ddpm/dist/world.h"
#include "ddpm/nn/unet.h"
#include "ddpm/train/train_step.h"

#include <cstdint>
#include <optional>
#include <string>

#include <torch/types.h>

namespace ddpm::train {

/// Squared norms of gradients of the mean loss: of small batches (their mean), and of the large
/// batch that they make up. Scalars on the device.
struct GradientNorms {
  torch::Tensor small, large;
  int64_t small_size = 0, large_size = 0;  ///< images
};

/// Computes the gradient of each of `parts` equal parts of this rank's share of a batch, at least
/// two over all ranks, and of all of them. The t of the images are drawn independently, also where
/// training pairs or stratifies them: parts would not be samples of one density. Leaves no
/// gradients behind. No host sync. Collective.
GradientNorms gradient_norms(nn::UNetImpl& unet, const StepSettings& settings,
                             const data::Batch& share, int64_t parts,
                             const dist::World& world = dist::single_process());

/// An estimate of the gradient noise scale.
struct NoiseScaleReading {
  double gradient = 0.0;  ///< |G|^2, of the gradient of the expected loss
  double noise = 0.0;     ///< tr(Sigma), the summed variance of one image's gradient
  /// tr(Sigma) / |G|^2, in images. NaN if an estimate is not positive: more measurements help.
  double scale() const;
};

/// The gradient noise scale tr(Sigma) / |G|^2 (McCandlish 2018, Sec. 2.2 and App. A.1): batches far
/// below it learn as much per image as small ones, batches far above it as much per step as huge
/// ones. Both parts are averages over about the last 50 measurements. No host sync but in read.
class NoiseScale {
 public:
  static constexpr double kDecay = 0.98;  ///< of the averages, per measurement

  explicit NoiseScale(const torch::Device& device);
  /// Adds a measurement. One that is not finite is left out.
  void add_(const GradientNorms& norms);
  /// Waits for the device. Empty if there is no measurement.
  std::optional<NoiseScaleReading> read() const;
  /// Averages of |G|^2 and tr(Sigma) and the weight of both, float64 [3], for checkpoints.
  const torch::Tensor& state() const { return averages_; }

 private:
  torch::Tensor averages_;
};

/// One sentence for people: what the reading says about batches of `batch_size` images.
std::string batch_advice(const NoiseScaleReading& reading, int64_t batch_size);

}  // namespace ddpm::train
