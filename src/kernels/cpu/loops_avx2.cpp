#include "loops_table.h"

namespace ddpm::kernels {

const CpuLoops* loops_avx2() {
#ifdef __AVX2__
  return &kLoops;
#else
  return nullptr;
#endif
}

}  // namespace ddpm::kernels
