#pragma once

#include "ddpm/diffusion/diffusion.h"
#include "ddpm/nn/precision.h"
#include "ddpm/nn/unet.h"

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::nn {

/// A network as one denoiser for all batches of a sampling. It reads the classes of a batch from a
/// tensor with a fixed address, so that a CUDA graph of one batch's calls is valid for the next
/// batch. Copies share the tensor.
class DrawingNetwork {
 public:
  /// Image i has class classes[i mod size]; empty for a network without classes. `batch`: the
  /// largest number of images at a time.
  DrawingNetwork(UNet unet, Precision precision, std::vector<int64_t> classes, int64_t batch,
                 const torch::Device& device);

  /// Sets the images of the next batch. Call it before the batch's first network call.
  void set_batch_(const std::vector<int64_t>& images);
  /// See diffusion::Denoiser and make_denoiser.
  diffusion::Denoiser denoiser() const;

 private:
  UNet unet_;
  Precision precision_;
  std::vector<int64_t> classes_;
  torch::Tensor labels_;  // int64 [batch]; undefined without classes
};

}  // namespace ddpm::nn
