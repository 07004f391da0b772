#pragma once

#include <ATen/autocast_mode.h>
#include <torch/types.h>

namespace ddpm::kernels {

/// t in autocast's type, if autocast is on for t's device: what a matrix product would get.
inline torch::Tensor in_autocast(const torch::Tensor& t) {
  const auto device = t.device().type();
  if (!at::autocast::is_autocast_enabled(device)) return t;
  return t.to(at::autocast::get_autocast_dtype(device));
}

}  // namespace ddpm::kernels
