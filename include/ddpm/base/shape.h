#pragma once

#include <initializer_list>
#include <string_view>

#include <torch/types.h>

namespace ddpm {

/// Stops with a c10::Error (a programmer's error) unless `x` has the given sizes; -1 matches any
/// size. `name` is what the message calls the tensor.
void expect_shape(const torch::Tensor& x, std::initializer_list<int64_t> sizes,
                  std::string_view name);

}  // namespace ddpm
