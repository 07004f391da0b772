#pragma once

#include <torch/nn/modules/linear.h>

namespace ddpm::nn {

/// How a time step becomes sines and cosines.
struct SinusoidConfig {
  bool cosine_first = false;  ///< [cos, sin] instead of Ho's [sin, cos]
  double freq_shift =
      1.0;  ///< frequencies 10000^(-k / (dim/2 - freq_shift)); Ho 1, diffusers' default 0
  double scale = 1.0;  ///< of t: IDDPM feeds t 1000 / T where its timesteps are rescaled

  bool operator==(const SinusoidConfig&) const = default;
};

/// The sinusoidal embedding of a time index (Vaswani 2017, Sec. 3.5; Ho 2020, App. B), in float32.
/// t: [B] of any type, 0..T-1 in Ho's network. Returns [B, dim]; an odd dim ends in a zero column.
torch::Tensor sinusoidal_embedding(const torch::Tensor& t, int64_t dim,
                                   const SinusoidConfig& config);

/// The embedding and its two-layer network, shared by all residual blocks: Linear, SiLU, Linear.
class TimeEmbeddingImpl : public torch::nn::Module {
 public:
  TimeEmbeddingImpl(int64_t channels, int64_t time_channels, const SinusoidConfig& sinusoid);
  /// t: [B] of any type, as sinusoidal_embedding. `added`: [B, channels], joins the sinusoids if
  /// defined. Returns [B, time_channels] in the parameters' type.
  torch::Tensor forward(const torch::Tensor& t, const torch::Tensor& added = {});

 private:
  int64_t channels_;
  SinusoidConfig sinusoid_;
  torch::nn::Linear linear_1_, linear_2_;
};
TORCH_MODULE(TimeEmbedding);

}  // namespace ddpm::nn
