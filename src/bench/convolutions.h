#pragma once

#include "ddpm/bench/op_recorder.h"

#include <vector>

#include <torch/types.h>

namespace ddpm::bench {

/// A network's convolutions alone, as the tensor library runs them (channels_last; oneDNN or
/// cuDNN): the rate that the network could reach if nothing else took time.
class Convolutions {
 public:
  /// Of the recorded shapes, the 3x3 convolutions.
  Convolutions(const std::vector<OpShape>& shapes, const torch::Device& device, torch::Dtype type);

  void forward() const;
  /// Forward and the gradients of input, weight and bias.
  void forward_backward() const;
  /// Of forward; forward_backward does three times as much.
  double flops() const { return flops_; }

 private:
  struct One {
    torch::Tensor x, weight, bias, dy;
    std::vector<int64_t> stride, padding;
    int64_t count;
  };
  std::vector<One> all_;  // equal shapes once
  double flops_ = 0.0;
};

}  // namespace ddpm::bench
