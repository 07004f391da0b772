#pragma once

#include "ddpm/eval/features.h"

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

namespace ddpm::eval {

/// The SHA-256 of pt_inception-2015-12-05-6726825d.pth, TensorFlow's Inception of 2015-12-05 in
/// pytorch-fid's form.
inline constexpr const char* kInceptionSha256 =
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2";

/// Convolution without bias, batch norm (eps 1e-3), ReLU.
class ConvUnitImpl : public torch::nn::Module {
 public:
  explicit ConvUnitImpl(const torch::nn::Conv2dOptions& options);
  torch::Tensor forward(const torch::Tensor& x);

 private:
  torch::nn::Conv2d conv_;
  torch::nn::BatchNorm2d bn_;
};
TORCH_MODULE(ConvUnit);

/// The units of one "Mixed" block by name. The block combines them into parallel branches.
class MixedBlockImpl : public torch::nn::Module {
 public:
  /// name, input and output channels, kernel, stride, padding.
  struct Unit {
    std::string name;
    int64_t in, out;
    int64_t kernel_h, kernel_w;
    int64_t stride = 1, pad_h = 0, pad_w = 0;
  };
  explicit MixedBlockImpl(const std::vector<Unit>& units);
  /// Applies these units to x in sequence.
  torch::Tensor chain(torch::Tensor x, const std::vector<std::string>& names);

 private:
  std::map<std::string, ConvUnit> units_;
};
TORCH_MODULE(MixedBlock);

/// Inception v3 (Szegedy 2016) as in TensorFlow's graph of 2015-12-05, which defines FID: average
/// pooling does not count padding, the last block uses max pooling, 1008 classes. The parameters
/// have torchvision's names.
class InceptionImpl : public torch::nn::Module {
 public:
  InceptionImpl();
  /// x: [B,3,H,W] in [0,1]; resized to 299x299 (bilinear, not antialiased) and scaled to [-1,1].
  /// pooled [B,2048]; logits [B,1008] without the last layer's bias, as the Inception Score of
  /// Salimans 2016 takes them; spatial: the first 7 channels of mixed_6/conv as [17,17,7], [B,2023]
  /// (Nash 2021, sFID; the order is that of guided-diffusion's statistics).
  Features forward(const torch::Tensor& x);

 private:
  ConvUnit unit(const std::string& name, int64_t in, int64_t out, int64_t kernel,
                int64_t stride = 1, int64_t padding = 0);
  MixedBlock block(const std::string& name, const std::vector<MixedBlockImpl::Unit>& units);
  ConvUnit conv_1a_, conv_2a_, conv_2b_, conv_3b_, conv_4a_;
  MixedBlock mixed_5b_, mixed_5c_, mixed_5d_, mixed_6a_, mixed_6b_, mixed_6c_, mixed_6d_, mixed_6e_,
      mixed_7a_, mixed_7b_, mixed_7c_;
  torch::nn::Linear fc_;
};
TORCH_MODULE(Inception);

/// The network with the weights of a state dict, .pth or .safetensors. Throws IoError if tensors
/// are missing or of another shape.
std::unique_ptr<FeatureExtractor> open_inception(const std::filesystem::path& file,
                                                 const torch::Device& device);

}  // namespace ddpm::eval
