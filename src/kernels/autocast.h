#pragma once

#include <ATen/autocast_mode.h>
#include <torch/types.h>

namespace ddpm::kernels {

/// t as autocast would hand it to a matrix product: in its type, if it is on for t's device.
inline torch::Tensor in_autocast(const torch::Tensor& t) {
  const auto device = t.device().type();
  if (!at::autocast::is_autocast_enabled(device)) return t;
  return t.to(at::autocast::get_autocast_dtype(device));
}

}  // namespace ddpm::kernels
