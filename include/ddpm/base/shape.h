#pragma once

#include <initializer_list>
#include <string_view>

#include <torch/types.h>

namespace ddpm {

/// Throws c10::Error (a programming error) unless `x` has the given sizes; -1 matches any size.
/// `name` is the tensor's name in the message.
void expect_shape(const torch::Tensor& x, std::initializer_list<int64_t> sizes,
                  std::string_view name);

}  // namespace ddpm
