#pragma once

#include "ddpm/diffusion/denoiser.h"
#include "ddpm/nn/precision.h"
#include "ddpm/nn/unet.h"

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::nn {

/// A network as one denoiser for batch after batch of images, whose classes it reads from a tensor
/// that stays where it is: so a graph of one batch's calls holds for the next. Copies share it.
class DrawingNetwork {
 public:
  /// Image i is of class classes[i mod size]; no classes where the network knows none. `batch`: the
  /// most images at a time.
  DrawingNetwork(UNet unet, Precision precision, std::vector<int64_t> classes, int64_t batch,
                 const torch::Device& device);

  /// The images of the batch whose calls come next.
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
