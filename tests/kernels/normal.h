#pragma once

#include "ddpm/base/rng.h"
#include "ddpm/kernels/elementwise.h"

#include <torch/types.h>

namespace ddpm::kernels {

/// Standard normal numbers: row `id` of the key's stream, in this shape.
inline torch::Tensor normal_row(RngKey key, at::IntArrayRef shape, int64_t id,
                                torch::ScalarType type = torch::kFloat) {
  torch::Tensor flat = torch::empty({1, c10::multiply_integers(shape)}, type);
  fill_normal_(flat, key, torch::tensor({id}));
  return flat.view(shape);
}

}  // namespace ddpm::kernels
