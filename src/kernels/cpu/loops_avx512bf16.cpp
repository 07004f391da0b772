#include "loops_table.h"

namespace ddpm::kernels {

const CpuLoops* loops_avx512bf16() {
#ifdef __AVX512BF16__
  return &kLoops;
#else
  return nullptr;
#endif
}

}  // namespace ddpm::kernels
