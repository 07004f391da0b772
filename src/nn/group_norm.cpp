#include "ddpm/nn/blocks.h"

namespace ddpm::nn {

GroupNormImpl::GroupNormImpl(int64_t groups, int64_t channels, double eps)
    : weight(register_parameter("weight", torch::ones({channels}))),
      bias(register_parameter("bias", torch::zeros({channels}))),
      groups_(groups),
      eps_(eps) {}

}  // namespace ddpm::nn
