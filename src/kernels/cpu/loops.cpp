#include "loops.h"

#include "../cpu_isa.h"

namespace ddpm::kernels {

const CpuLoops& cpu_loops() {
  switch (cpu_isa()) {
    case CpuIsa::kAmx:
    case CpuIsa::kAvx512Bf16:
      return *loops_avx512bf16();
    case CpuIsa::kAvx512:
      return *loops_avx512();
    case CpuIsa::kAvx2:
      return *loops_avx2();
    case CpuIsa::kBase:
      break;
  }
  return *loops_base();
}

}  // namespace ddpm::kernels
