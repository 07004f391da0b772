#include "loops.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

// Chooses the fastest loops that this processor can run, once.

namespace ddpm::kernels {
namespace {

#if defined(__x86_64__)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
bool has_avx512bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return has_avx512() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1U << 5)) != 0;
}
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

const CpuLoops* best() {
  if (loops_avx512bf16() && has_avx512bf16()) return loops_avx512bf16();
  if (loops_avx512() && has_avx512()) return loops_avx512();
  if (loops_avx2() && has_avx2()) return loops_avx2();
  return loops_base();
}
#else
const CpuLoops* best() { return loops_base(); }
#endif

}  // namespace

const CpuLoops& cpu_loops() {
  static const CpuLoops* const chosen = best();
  return *chosen;
}

}  // namespace ddpm::kernels
