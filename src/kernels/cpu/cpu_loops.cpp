#include "../cpu_loops.h"

namespace ddpm::kernels {

const CpuLoops& cpu_loops() {
#if defined(__x86_64__)
  if (loops_avx512() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return *loops_avx512();
  }
  if (loops_avx2() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return *loops_avx2();
  }
#endif
  return *loops_base();
}

}  // namespace ddpm::kernels
