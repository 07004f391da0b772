#pragma once

#include <cstdint>
#include <optional>

#include <torch/types.h>

// torch::autograd::Function accepts optional tensors and plain values only. These convert other
// arguments from and to such.

namespace ddpm::kernels {

inline std::optional<torch::Tensor> optional_of(const torch::Tensor& t) {
  return t.defined() ? std::optional(t) : std::nullopt;
}
inline torch::Tensor tensor_of(const std::optional<torch::Tensor>& t) {
  return t.value_or(torch::Tensor());
}

/// A table of loops, which lives as long as the program, as a number.
template <class Loops>
int64_t number_of(const Loops& loops) {
  return reinterpret_cast<int64_t>(&loops);
}
template <class Loops>
const Loops& loops_of(int64_t number) {
  return *reinterpret_cast<const Loops*>(number);
}

}  // namespace ddpm::kernels
