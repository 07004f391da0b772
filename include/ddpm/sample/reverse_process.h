#pragma once

#include "ddpm/base/error.h"
#include "ddpm/diffusion/diffusion.h"
#include "ddpm/sample/sample_config.h"
#include "ddpm/sample/sampler.h"

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <torch/types.h>

namespace ddpm::sample {

/// A step's input x_t, and its first x0_hat (clipped as configured).
struct TrajectoryPoint {
  int64_t position;  ///< k = 0..S-1 in the plan
  PlanStep step;
  torch::Tensor x_t;     ///< [B,C,H,W]
  torch::Tensor x0_hat;  ///< [B,C,H,W]
};

/// Called after each step; false stops the process.
using StepHook = std::function<bool(const TrajectoryPoint&)>;

/// z ~ N(0,I) [B,C,H,W] for plan position k; draw = 0, 1, ... counts within the step. The tensor is
/// read before the next call.
using NoiseSource = std::function<torch::Tensor(int64_t k, int64_t draw)>;

/// NaN or infinity in an image or in the network's output for it.
class NotFinite : public Error {
 public:
  /// Which image, in which of the chain's steps (from 0) it was first so, and that step's t.
  struct Place {
    int64_t image, position, steps, t;
  };
  explicit NotFinite(const Place& place);
  const Place& place() const { return place_; }

 private:
  Place place_;
};

/// The chain x_T -> x_0 of one batch: plan, network, clipping and update rule together. Reusable
/// for any number of batches.
class ReverseProcess {
 public:
  /// Makes the sampler of one batch.
  using MakeSampler = std::function<std::unique_ptr<Sampler>()>;

  /// Throws UsageError if find_conflict finds something.
  ReverseProcess(const diffusion::Diffusion& diffusion, const SampleConfig& config);
  /// With the caller's update rule instead of config.method's.
  ReverseProcess(const diffusion::Diffusion& diffusion, const SampleConfig& config,
                 MakeSampler make);

  /// S jumps.
  const std::vector<PlanStep>& plan() const { return plan_; }

  /// x_0 [B,C,H,W], unclamped, from x_T of the same shape, dtype and device. Noise is requested only
  /// by steps that use it. If the denoiser returns [B,2C,H,W], the second half is a learned variance.
  /// nullopt if the hook stopped it. Autograd is off, unless the sampler switches it on. Throws NotFinite (the image is the row
  /// of the batch); on a GPU up to 16 steps late, because the check waits for the device.
  std::optional<torch::Tensor> run(const diffusion::Denoiser& denoiser, const torch::Tensor& x_T,
                                   const NoiseSource& noise, const StepHook& hook = {}) const;

 private:
  diffusion::Diffusion diffusion_;
  SampleConfig config_;
  std::vector<PlanStep> plan_;
  MakeSampler make_;
};

}  // namespace ddpm::sample
