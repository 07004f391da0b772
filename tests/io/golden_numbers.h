#pragma once

#include <torch/utils.h>

namespace ddpm {

/// What scripts/golden_numbers.py makes: ((37 i) mod 101 - 50) / 8, and so on. [2,3,5].
inline torch::Tensor golden_numbers(torch::ScalarType type) {
  const torch::Tensor i = torch::arange(30, torch::kInt64);
  const torch::Tensor wrapped = torch::remainder(37 * i, 101);
  torch::Tensor values = wrapped - 50;
  if (type == torch::kBool) values = torch::remainder(i, 3) == 0;
  if (type == torch::kUInt8) values = wrapped;
  if (torch::isFloatingType(type)) values = values.to(torch::kFloat64) / 8;
  return values.to(type).reshape({2, 3, 5});
}

}  // namespace ddpm
