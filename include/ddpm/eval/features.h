#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// A network's features of a batch of images.
struct Features {
  torch::Tensor pooled;   ///< [B,D], for distances
  torch::Tensor logits;   ///< [B,K], for the Inception Score; undefined if there are none
  torch::Tensor spatial;  ///< [B,E], for sFID: features before pooling; or undefined
};

/// Identifies a feature network in the protocol.
struct ExtractorDescription {
  std::string name;           ///< "Inception 2015-12-05 (pytorch-fid weights)"
  std::string hash;           ///< SHA-256 of its weights or file
  std::string resize;         ///< how images reach its input
  std::string distance_name;  ///< "FID" only for the standard Inception; else names the features
  std::vector<std::string> warnings = {};  ///< reasons to distrust its features
};

/// A network that turns images into feature vectors.
class FeatureExtractor {
 public:
  virtual ~FeatureExtractor() = default;
  /// images: uint8 [B,C,H,W], C = 1 to 4, on any device. Builds no autograd graph. Computes in fp32
  /// by deterministic algorithms, whatever the sampler's settings are.
  Features extract(const torch::Tensor& images) const;
  virtual const ExtractorDescription& description() const = 0;

 private:
  virtual Features compute(const torch::Tensor& images) const = 0;
};

/// Repeats a grey channel and drops alpha: uint8 [B,C,H,W] -> [B,3,H,W].
torch::Tensor to_rgb(const torch::Tensor& images);

/// The network of a file: a state dict of Inception (.pth, .safetensors: see inception.h), else
/// TorchScript (see script_features.h). Throws IoError.
std::unique_ptr<FeatureExtractor> open_features(const std::filesystem::path& file,
                                                const torch::Device& device);

}  // namespace ddpm::eval
