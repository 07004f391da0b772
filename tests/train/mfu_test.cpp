#include "src/train/mfu.h"

#include <gtest/gtest.h>

namespace ddpm::train {
namespace {

// Names as nvidia-smi prints them; rates of NVIDIA's data sheets without sparsity.
TEST(PeakFlops, AreThoseOfTheDataSheets) {
  EXPECT_EQ(peak_bf16_flops("NVIDIA H200"), 989e12);
  EXPECT_EQ(peak_bf16_flops("NVIDIA H100 80GB HBM3"), 989e12);
  EXPECT_EQ(peak_bf16_flops("NVIDIA H100 PCIe"), 756e12);
  EXPECT_EQ(peak_bf16_flops("NVIDIA A100-SXM4-80GB"), 312e12);
  EXPECT_EQ(peak_bf16_flops("NVIDIA A10"), 125e12);
  EXPECT_EQ(peak_bf16_flops("NVIDIA L4"), 121e12);
  EXPECT_EQ(peak_bf16_flops("NVIDIA GeForce RTX 4090"), 165.2e12);
}

TEST(PeakFlops, OfOthersAreNotKnown) {
  EXPECT_EQ(peak_bf16_flops(""), 0.0);
  EXPECT_EQ(peak_bf16_flops("NVIDIA A10G"), 0.0);
  EXPECT_EQ(peak_bf16_flops("NVIDIA GeForce RTX 4090 Laptop GPU"), 0.0);
  EXPECT_EQ(peak_flops(torch::kCPU, nn::Precision::kBf16), 0.0);
}

}  // namespace
}  // namespace ddpm::train
