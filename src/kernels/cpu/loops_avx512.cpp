#include "loops_table.h"

namespace ddpm::kernels {

const CpuLoops* loops_avx512() {
#ifdef __AVX512F__
  return &kLoops;
#else
  return nullptr;
#endif
}

}  // namespace ddpm::kernels
