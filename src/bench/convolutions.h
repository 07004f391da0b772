#pragma once

#include "ddpm/bench/profile.h"

#include <vector>

#include <torch/types.h>

namespace ddpm::bench {

/// A network's 3x3 convolutions alone, as the tensor library runs them (channels_last; oneDNN or
/// cuDNN). Their FLOP rate is the network's rate if everything else took no time.
class Convolutions {
 public:
  /// Takes the 3x3 convolutions among the recorded shapes.
  Convolutions(const std::vector<OpShape>& shapes, const torch::Device& device, torch::Dtype type);

  void forward() const;
  /// Computes the output and the gradients of input, weight and bias.
  void forward_backward() const;
  /// FLOPs of forward; forward_backward has three times as many.
  double flops() const { return flops_; }

 private:
  struct One {
    torch::Tensor x, weight, bias, dy;
    std::vector<int64_t> stride, padding;
    int64_t count;
  };
  std::vector<One> all_;  // one entry per shape
  double flops_ = 0.0;
};

}  // namespace ddpm::bench
