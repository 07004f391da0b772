#include "convolutions.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <torch/utils.h>

namespace ddpm::bench {
namespace {

constexpr auto kLast = torch::MemoryFormat::ChannelsLast;

torch::Tensor convolve(const torch::Tensor& x, const torch::Tensor& weight,
                       const torch::Tensor& bias, const std::vector<int64_t>& stride,
                       const std::vector<int64_t>& padding) {
  return at::convolution(x, weight, bias, stride, padding, {1, 1}, false, {0, 0}, 1);
}

}  // namespace

Convolutions::Convolutions(const std::vector<OpShape>& shapes, const torch::Device& device,
                           torch::Dtype type) {
  const torch::NoGradGuard no_grad;
  std::vector<OpShape> kinds;
  for (OpShape shape : shapes) {
    if (shape.weight.size() != 4 || shape.weight[2] != 3 || shape.weight[3] != 3) continue;
    flops_ += shape.flops;
    shape.op.clear();  // equal shapes of different operations are merged
    const auto found = std::find(kinds.begin(), kinds.end(), shape);
    if (found != kinds.end()) {
      ++all_[found - kinds.begin()].count;
      continue;
    }
    kinds.push_back(shape);
    const auto options = torch::dtype(type).device(device);
    const auto ones = [&](const std::vector<int64_t>& sizes) {
      return torch::ones(sizes, options).contiguous(kLast);
    };
    One one{ones(shape.input),
            ones(shape.weight),
            torch::zeros({shape.weight[0]}, options),
            {},
            shape.stride,
            shape.padding,
            1};
    one.dy = torch::ones_like(convolve(one.x, one.weight, one.bias, one.stride, one.padding));
    all_.push_back(one);
  }
}

void Convolutions::forward() const {
  const torch::NoGradGuard no_grad;
  for (const One& one : all_) {
    for (int64_t i = 0; i < one.count; ++i)
      convolve(one.x, one.weight, one.bias, one.stride, one.padding);
  }
}

void Convolutions::forward_backward() const {
  const torch::NoGradGuard no_grad;
  forward();
  for (const One& one : all_) {
    for (int64_t i = 0; i < one.count; ++i) {
      at::convolution_backward(one.dy, one.x, one.weight, one.bias.sizes(), one.stride, one.padding,
                               {1, 1}, false, {0, 0}, 1, {true, true, true});
    }
  }
}

}  // namespace ddpm::bench
