#include "src/kernels/cpu_isa.h"

#include "ddpm/base/error.h"
#include "src/kernels/amx/tiles.h"
#include "src/kernels/cpu/loops.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace ddpm::kernels {
namespace {

TEST(CpuIsa, TheLimitLowersWhatTheProcessorSupports) {
  const CpuIsa all = supported_cpu_isa();
  EXPECT_EQ(cpu_isa(nullptr), all);
  EXPECT_EQ(cpu_isa("base"), CpuIsa::kBase);
  EXPECT_EQ(cpu_isa("avx2"), std::min(all, CpuIsa::kAvx2));
  EXPECT_EQ(cpu_isa("avx512"), std::min(all, CpuIsa::kAvx512));
  EXPECT_EQ(cpu_isa("avx512_bf16"), std::min(all, CpuIsa::kAvx512Bf16));
  EXPECT_EQ(cpu_isa("amx"), all);
}

TEST(CpuIsa, AnUnknownLimitIsAnError) {
  EXPECT_THROW(cpu_isa("avx10"), UsageError);
  EXPECT_THROW(cpu_isa(""), UsageError);
}

TEST(CpuIsa, EverySupportedOneHasLoops) {
  const CpuIsa all = supported_cpu_isa();
  if (all >= CpuIsa::kAvx2) {
    EXPECT_NE(loops_avx2(), nullptr);
    EXPECT_NE(amx::tile_loops_avx2(), nullptr);
  }
  if (all >= CpuIsa::kAvx512) {
    EXPECT_NE(loops_avx512(), nullptr);
    EXPECT_NE(amx::tile_loops_avx512(), nullptr);
  }
  if (all >= CpuIsa::kAvx512Bf16) {
    EXPECT_NE(loops_avx512bf16(), nullptr);
    EXPECT_NE(amx::tile_loops_avx512bf16(), nullptr);
    EXPECT_NE(amx::tile_loops_avx512bf16_float(), nullptr);
  }
  if (all == CpuIsa::kAmx) {
    EXPECT_NE(amx::tile_loops_amx(), nullptr);
  }
}

}  // namespace
}  // namespace ddpm::kernels
