#pragma once

#include "ddpm/io/safetensors.h"
#include "ddpm/nn/unet.h"

#include <string>
#include <vector>

// The small networks of scripts/make_unet_golden.py.

namespace ddpm::nn {

inline const std::vector<std::string> kGoldenNets{"ho", "heads", "classes", "wide"};

struct Golden {
  io::SafetensorsFile file;
  UNetConfig config;
  UNet net;  ///< float64, with the file's weights

  torch::Tensor get(const std::string& name) const { return file.get(name); }
  /// Undefined where the network has no classes.
  torch::Tensor labels() const;
  torch::Tensor output() { return net(get("x"), get("t"), labels()); }
  /// How far a golden value may be missed, relative to the largest: 1e-9 for float64 arithmetic in
  /// another order, and what another processor's last bit in the float32 sinusoids makes of itself.
  double tolerance() const;
};

Golden load_golden(const std::string& name);

/// The largest difference, relative to the largest value expected.
double relative_error(const torch::Tensor& actual, const torch::Tensor& expected);

}  // namespace ddpm::nn
