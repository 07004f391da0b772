#include "ddpm/kernels/elementwise.h"
#include "ddpm/nn/unet.h"

#include <cmath>

#include <torch/utils.h>

namespace ddpm::nn {
namespace {

bool ends_with_any(std::string_view name, std::initializer_list<std::string_view> endings) {
  return std::any_of(endings.begin(), endings.end(),
                     [&](std::string_view e) { return name.ends_with(e); });
}

// The layers that end a residual branch, and the network's own last layer.
bool starts_at_zero(std::string_view name) {
  return ends_with_any(name, {"conv2.weight", "to_out.0.weight", "conv_out.weight"});
}

// Half the width of a uniform distribution of variance scale / ((fan_in + fan_out) / 2).
double variance_scaling_bound(const torch::Tensor& weight, double scale) {
  const int64_t receptive_field = weight.dim() == 4 ? weight.size(2) * weight.size(3) : 1;
  const double fan_average =
      0.5 * static_cast<double>((weight.size(0) + weight.size(1)) * receptive_field);
  return std::sqrt(3.0 * scale / fan_average);
}

}  // namespace

void initialize_(UNetImpl& unet, uint64_t seed) {
  const torch::NoGradGuard no_grad;
  const RngKey key = rng_key(seed, Purpose::kWeightInit);
  uint64_t position = 0;
  for (const auto& item : unet.named_parameters()) {
    const std::string& name = item.key();
    torch::Tensor host = torch::empty(item.value().sizes(), torch::kDouble);
    if (name.find("class_embedding") != std::string::npos) {
      kernels::fill_normal_(host, key, torch::arange(host.size(0)),
                            static_cast<uint32_t>(position));
    } else if (name.starts_with("vector_embedding")) {
      // W z and b have variance 1/2 each, and W z + b that of a class's row. A bias of 0 would make
      // the mean vector, z = 0, the same as none.
      const torch::Tensor rows = host.dim() > 1 ? host : host.unsqueeze(1);
      kernels::fill_normal_(rows, key, torch::arange(rows.size(0)),
                            static_cast<uint32_t>(position));
      host.div_(std::sqrt(2.0 * static_cast<double>(rows.size(1))));
    } else if (host.dim() > 1) {
      const double scale = starts_at_zero(name) ? 1e-10 : 1.0;
      kernels::fill_uniform_(host, key, position, variance_scaling_bound(host, scale));
    } else {
      host.fill_(name.ends_with("weight") ? 1.0 : 0.0);  // 1-d weights belong to GroupNorm
    }
    item.value().copy_(host);
    ++position;
  }
}

}  // namespace ddpm::nn
