#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// What a network sees in a batch of images.
struct Features {
  torch::Tensor pooled;   ///< [B,D]: what distances are measured in
  torch::Tensor logits;   ///< [B,K], for the Inception Score; undefined where there are none
  torch::Tensor spatial;  ///< [B,E], for sFID: features that still know where; or undefined
};

/// Which network, for the protocol.
struct ExtractorDescription {
  std::string name;           ///< "Inception 2015-12-05 (pytorch-fid weights)"
  std::string hash;           ///< SHA-256 of its weights or file
  std::string resize;         ///< how images reach its input
  std::string distance_name;  ///< "FID", for the standard Inception alone; else which features
  std::vector<std::string> warnings = {};  ///< why numbers in its features should not be trusted
};

/// A network that turns images into feature vectors.
class FeatureExtractor {
 public:
  virtual ~FeatureExtractor() = default;
  /// images: uint8 [B,C,H,W], C = 1 to 4, on any device. Builds no autograd graph. Computes in fp32
  /// by algorithms that give the same bits each time, whatever is being sampled around it.
  Features extract(const torch::Tensor& images) const;
  virtual const ExtractorDescription& description() const = 0;

 private:
  virtual Features compute(const torch::Tensor& images) const = 0;
};

/// Grey repeated, alpha dropped: uint8 [B,C,H,W] -> [B,3,H,W].
torch::Tensor to_rgb(const torch::Tensor& images);

/// The network of a file: a state dict of Inception (.pth, .safetensors: see inception.h), else
/// TorchScript (see script_features.h). Throws IoError.
std::unique_ptr<FeatureExtractor> open_features(const std::filesystem::path& file,
                                                const torch::Device& device);

}  // namespace ddpm::eval
