#pragma once

#include "src/kernels/amx/tiles.h"
#include "src/kernels/cpu_isa.h"

#include <string>
#include <vector>

namespace ddpm::kernels {

/// A body of the loops of src/kernels/amx.
struct Body {
  std::string name;
  const amx::TileLoops* loops;
};

/// All that this machine can run, whatever DDPM_MAX_CPU_ISA says.
inline std::vector<Body> runnable_bodies() {
  std::vector<Body> all{{"plain", amx::tile_loops_plain()}};
  if (supported_cpu_isa() >= CpuIsa::kAvx2) all.push_back({"avx2", amx::tile_loops_avx2()});
  if (supported_cpu_isa() >= CpuIsa::kAvx512) all.push_back({"avx512", amx::tile_loops_avx512()});
  if (supported_cpu_isa() >= CpuIsa::kAvx512Bf16) {
    all.push_back({"avx512_bf16", amx::tile_loops_avx512bf16()});
    all.push_back({"avx512_bf16_float", amx::tile_loops_avx512bf16_float()});
  }
  if (supported_cpu_isa() >= CpuIsa::kAmx) all.push_back({"amx", amx::tile_loops_amx()});
  return all;
}

}  // namespace ddpm::kernels
