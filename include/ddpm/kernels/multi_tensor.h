#pragma once

#include <vector>

#include <torch/types.h>

namespace ddpm::kernels {

/// The tensors in bfloat16. On a GPU all casts are two or three launches, and so are those of the
/// gradients back to float32. tensors: float32.
std::vector<torch::Tensor> cast_all_to_bf16(const std::vector<torch::Tensor>& tensors);

/// to += weight (from - to) of each pair, at::_foreach_lerp_; weight: one number, on the tensors'
/// device. On a GPU, if all are float32, two or three launches.
void lerp_all_(const std::vector<torch::Tensor>& to, const std::vector<torch::Tensor>& from,
               const torch::Tensor& weight);

}  // namespace ddpm::kernels
