#pragma once

#include "ddpm/dist/world.h"
#include "ddpm/eval/frechet.h"
#include "ddpm/eval/images.h"
#include "ddpm/eval/jackknife.h"

#include <cstdint>
#include <filesystem>
#include <limits>
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

struct CollectOptions {
  std::string title = "features";      ///< of the progress line; "": no progress line
  int64_t groups = kErrorGroups;       ///< at most, for error bars; 1: none
  std::vector<int64_t> classes = {};   ///< one per image, or empty: see make_groups
  int64_t keep_bytes = 0;              ///< memory for the vectors of single images; 0: none kept
  bool keep_logits = true;             ///< keep logits too
  torch::Device device = torch::kCPU;  ///< of the tensors that ranks exchange
};

/// Value of keep_bytes: keep all vectors.
inline constexpr int64_t kKeepAll = std::numeric_limits<int64_t>::max();

/// The features of a set of images; the same on every rank.
struct FeatureSet {
  int64_t count = 0;
  SampleGroups sampling;
  std::vector<Moments> groups;          ///< those of `sampling`
  std::vector<Moments> spatial_groups;  ///< empty if the network has no spatial features
  /// Every stride-th vector, as many as fit keep_bytes: row r belongs to images[r * stride].
  /// float32 on the CPU, [kept,D] and [kept,K]; undefined if none are kept.
  torch::Tensor features, logits;
  int64_t stride = 1;
};

/// Runs the images through the network. Each rank takes one contiguous part; the results are
/// combined at the end. Needs at least two images, and one on each rank.
FeatureSet collect(const ImageSource& source, const std::vector<int64_t>& images,
                   const FeatureExtractor& extractor, const CollectOptions& options,
                   const dist::World& world = dist::single_process());

}  // namespace ddpm::eval
