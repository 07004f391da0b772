#pragma once

#include <torch/types.h>

namespace ddpm::kernels {

/// Each pixel four times (nearest neighbour): [B,C,H,W] -> [B,C,2H,2W]. In x's type also under
/// autocast on a GPU, which would compute it in float32. There it is a kernel of ours if x is
/// channels_last.
torch::Tensor upsample_nearest(const torch::Tensor& x);

}  // namespace ddpm::kernels
