#pragma once

#include "ddpm/exchange/model.h"
#include "ddpm/nn/unet.h"

namespace ddpm::cli {

/// The network's weights for a run that begins with them (--init-from): zeros for what it did not
/// read before (a condition, its own estimate, labels of the augmentation, vectors), which at first
/// changes nothing. Vectors with another mean and deviation give the same outputs as before.
exchange::Model widened(exchange::Model model, const nn::UNetConfig& unet);

}  // namespace ddpm::cli
