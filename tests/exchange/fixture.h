#pragma once

#include "ddpm/base/error.h"
#include "ddpm/exchange/model.h"
#include "ddpm/nn/model_file.h"

#include <cstring>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::exchange {

inline const std::filesystem::path kGolden =
    std::filesystem::path(DDPM_SOURCE_DIR) / "tests" / "golden" / "exchange";

inline void expect_same_weights(const Model& a, const Model& b) {
  ASSERT_EQ(a.weights.size(), b.weights.size());
  for (size_t i = 0; i < a.weights.size(); ++i) {
    const torch::Tensor x = a.weights[i].tensor.contiguous(), y = b.weights[i].tensor.contiguous();
    EXPECT_EQ(a.weights[i].name, b.weights[i].name);
    ASSERT_EQ(x.scalar_type(), y.scalar_type());
    ASSERT_EQ(x.sizes(), y.sizes());
    EXPECT_EQ(std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()), 0)
        << a.weights[i].name;
  }
}

inline void expect_same(const Model& a, const Model& b) {
  expect_same_weights(a, b);
  EXPECT_EQ(nn::to_toml(a.description), nn::to_toml(b.description));
  EXPECT_EQ(config::to_toml(a.sample, "sample"), config::to_toml(b.sample, "sample"));
}

template <class F>
std::string message_of(const F& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

}  // namespace ddpm::exchange
