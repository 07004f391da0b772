#include "tiles.h"

#include "../cpu_isa.h"

namespace ddpm::kernels::amx {
namespace {

// On Intel's cores one product of pairs (vdpbf16ps) takes as long as four float32 multiply-adds,
// which are twice the operations (measured: docs/performance.md). AMD's are faster: oneDNN, which
// uses vdpbf16ps, reaches 456 GFLOP/s per core there and 120 here.
const TileLoops* tile_loops_without_amx() {
#if defined(__x86_64__)
  if (__builtin_cpu_is("intel")) return tile_loops_avx512bf16_float();
#endif
  return tile_loops_avx512bf16();
}

}  // namespace

const TileLoops* tile_loops() {
  switch (cpu_isa()) {
    case CpuIsa::kAmx:
      return tile_loops_amx();
    case CpuIsa::kAvx512Bf16:
      return tile_loops_without_amx();
    case CpuIsa::kAvx512:
      return tile_loops_avx512();
    case CpuIsa::kAvx2:
      return tile_loops_avx2();
    case CpuIsa::kBase:
      break;
  }
  return nullptr;
}

}  // namespace ddpm::kernels::amx
