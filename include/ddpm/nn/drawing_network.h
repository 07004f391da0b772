#pragma once

#include "ddpm/diffusion/diffusion.h"
#include "ddpm/diffusion/guidance.h"
#include "ddpm/diffusion/self_conditioning.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/nn/precision.h"
#include "ddpm/nn/unet.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <torch/types.h>

namespace ddpm::nn {

/// What a DrawingNetwork samples, and how.
struct Drawing {
  /// Image i has class classes[i mod size]; empty for a network without classes.
  std::vector<int64_t> classes = {};
  /// The pictures that these images are conditioned on: uint8 [images,c,h,w]. For a network with a
  /// condition.
  std::function<torch::Tensor(const std::vector<int64_t>& images)> pictures = {};
  /// Image i has row i mod M of these, float32 [M,D]; undefined: of those that the network keeps
  /// (kept_vectors). For a vector-conditional network.
  torch::Tensor vectors = {};
  int64_t batch = 1;  ///< the largest number of images at a time
  torch::Device device = torch::kCPU;
  Precision precision = Precision::kFp32;
  diffusion::Guidance guidance = {};
  /// The network that guides (autoguidance). If empty and guidance.weight is not 1, the network
  /// itself guides, with its null class and without its condition, of what it has.
  UNet guide{nullptr};
  /// Of denoiser(). The parameters' own gradients cost time too: switch them off before.
  Gradients gradients = Gradients::kNone;
};

/// A network as one denoiser for all batches of a sampling. It reads the classes and conditions of a
/// batch from tensors with fixed addresses, so that a CUDA graph of one batch's calls is valid for
/// the next batch. A self-conditioned network remembers its estimate from call to call of a batch;
/// with guidance both halves read that of the guided output. Copies share the tensors.
class DrawingNetwork {
 public:
  /// c10::Error if the guidance needs a null class or null condition that the network does not have.
  DrawingNetwork(UNet unet, const diffusion::Diffusion& diffusion, const Drawing& drawing);

  /// Sets the images of the next batch, and forgets the former one's estimate. Call it before the
  /// batch's first network call.
  void set_batch_(const std::vector<int64_t>& images);
  /// See diffusion::Denoiser and make_denoiser. With guidance: diffusion::GuidedDenoiser; both
  /// classes of all images are one batch.
  diffusion::Denoiser denoiser() const;

 private:
  LabelledDenoiser labelled(const UNet& unet) const;
  diffusion::GuidedDenoiser::Sources sources() const;
  diffusion::Denoiser guided_denoiser() const;

  UNet unet_;
  diffusion::Diffusion diffusion_;
  Drawing drawing_;
  Given given_;  // of [batch] images
  Given null_;   // that of guidance; only if it differs from given_
  std::shared_ptr<diffusion::GuidedDenoiser> guided_;
  std::optional<diffusion::SelfConditioning> memory_;
};

}  // namespace ddpm::nn
