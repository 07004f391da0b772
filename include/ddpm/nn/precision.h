#pragma once

#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::nn {

/// What a network computes in. Parameters are float32 under kBf16, whose convolutions and matrix
/// products run in bfloat16 (autocast).
enum class Precision { kFp32, kBf16, kFp64 };

/// "fp32", "bf16", "fp64": the names in a config.
const std::vector<std::string>& precision_names();
Precision parse_precision(const std::string& name);
std::string to_string(Precision precision);

/// The type of parameters, optimizer state and images.
torch::Dtype storage_type(Precision precision);

/// While it lives, operations on the device autocast to bfloat16 where the precision is kBf16.
class AutocastGuard {
 public:
  AutocastGuard(torch::DeviceType device, Precision precision);
  ~AutocastGuard();
  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  torch::DeviceType device_;
  bool was_enabled_ = false;
  torch::Dtype old_type_ = torch::kFloat;
  bool active_;
};

}  // namespace ddpm::nn
