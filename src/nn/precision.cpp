#include "ddpm/nn/precision.h"

#include <algorithm>

#include <ATen/autocast_mode.h>
#include <torch/utils.h>

namespace ddpm::nn {

const std::vector<std::string>& precision_names() {
  static const std::vector<std::string> names{"fp32", "bf16", "fp64"};
  return names;
}

Precision parse_precision(const std::string& name) {
  const auto& names = precision_names();
  const auto found = std::find(names.begin(), names.end(), name);
  TORCH_CHECK(found != names.end(), "no precision is called ", name);
  return static_cast<Precision>(found - names.begin());
}

std::string to_string(Precision precision) {
  return precision_names()[static_cast<size_t>(precision)];
}

torch::Dtype storage_type(Precision precision) {
  return precision == Precision::kFp64 ? torch::kDouble : torch::kFloat;
}

AutocastGuard::AutocastGuard(torch::DeviceType device, Precision precision)
    : device_(device), active_(precision == Precision::kBf16) {
  if (!active_) return;
  was_enabled_ = at::autocast::is_autocast_enabled(device_);
  old_type_ = at::autocast::get_autocast_dtype(device_);
  at::autocast::set_autocast_enabled(device_, true);
  at::autocast::set_autocast_dtype(device_, torch::kBFloat16);
  at::autocast::increment_nesting();
}

AutocastGuard::~AutocastGuard() {
  if (!active_) return;
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device_, was_enabled_);
  at::autocast::set_autocast_dtype(device_, old_type_);
}

}  // namespace ddpm::nn
