#include "ddpm/kernels/attention.h"
#include "ddpm/nn/blocks.h"
#include "ddpm/nn/weight_copies.h"

#include <cmath>

#include <torch/types.h>

namespace ddpm::nn {

torch::Tensor sinusoidal_embedding(const torch::Tensor& t, int64_t dim,
                                   const SinusoidConfig& config) {
  const int64_t half = dim / 2;
  const auto options = torch::dtype(torch::kFloat).device(t.device());
  const torch::Tensor exponent = torch::arange(half, options) * -std::log(10000.0);
  const torch::Tensor frequencies =
      torch::exp(exponent / (static_cast<double>(half) - config.freq_shift));
  const torch::Tensor angle =
      (t.to(torch::kFloat) * config.scale).unsqueeze(1) * frequencies.unsqueeze(0);
  const torch::Tensor first = config.cosine_first ? angle.cos() : angle.sin();
  const torch::Tensor second = config.cosine_first ? angle.sin() : angle.cos();
  const torch::Tensor embedding = torch::cat({first, second}, 1);
  return dim % 2 == 0 ? embedding : torch::constant_pad_nd(embedding, {0, 1});
}

TimeEmbeddingImpl::TimeEmbeddingImpl(int64_t channels, int64_t time_channels,
                                     const SinusoidConfig& sinusoid)
    : channels_(channels),
      sinusoid_(sinusoid),
      linear_1_(register_module("linear_1", torch::nn::Linear(channels, time_channels))),
      linear_2_(register_module("linear_2", torch::nn::Linear(time_channels, time_channels))) {}

torch::Tensor TimeEmbeddingImpl::forward(const torch::Tensor& t, const torch::Tensor& added) {
  torch::Tensor embedding =
      sinusoidal_embedding(t, channels_, sinusoid_).to(linear_1_->weight.dtype());
  if (added.defined()) embedding = embedding + added;
  const torch::Tensor h = kernels::linear(embedding, used(linear_1_->weight), linear_1_->bias);
  return kernels::linear(torch::silu(h), used(linear_2_->weight), linear_2_->bias);
}

}  // namespace ddpm::nn
