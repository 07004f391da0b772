#include "cpu_isa.h"

#include "amx/tiles.h"
#include "cpu/loops.h"
#include "ddpm/base/error.h"
#include "ddpm/kernels/device.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <string_view>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace ddpm::kernels {
namespace {

#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
bool has_avx512bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return has_avx512() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1U << 5)) != 0;
}

// Linux saves the 8 KiB of tiles per thread only for a process that has requested it.
bool system_permits_amx() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
bool processor_has_amx() {
  constexpr unsigned kAmxBf16 = 1U << 22, kAmxTile = 1U << 24;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return has_avx512bf16() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kAmxBf16) &&
         (d & kAmxTile) && system_permits_amx();
}

CpuIsa find_supported() {
  if (amx::tile_loops_amx() && processor_has_amx()) return CpuIsa::kAmx;
  if (loops_avx512bf16() && has_avx512bf16()) return CpuIsa::kAvx512Bf16;
  if (loops_avx512() && has_avx512()) return CpuIsa::kAvx512;
  if (loops_avx2() && has_avx2()) return CpuIsa::kAvx2;
  return CpuIsa::kBase;
}
#else
CpuIsa find_supported() { return CpuIsa::kBase; }
#endif

constexpr const char* kLimitVariable = "DDPM_MAX_CPU_ISA";
constexpr std::array<std::string_view, 5> kIsaNames{"base", "avx2", "avx512", "avx512_bf16", "amx"};

CpuIsa limit_of(const char* name) {
  const auto* const found = std::find(kIsaNames.begin(), kIsaNames.end(), name);
  if (found == kIsaNames.end()) {
    throw UsageError(std::string(kLimitVariable) + "=" + name +
                     ": must be base, avx2, avx512, avx512_bf16 or amx");
  }
  return static_cast<CpuIsa>(found - kIsaNames.begin());
}

}  // namespace

CpuIsa supported_cpu_isa() {
  static const CpuIsa isa = find_supported();
  return isa;
}

CpuIsa cpu_isa(const char* limit) {
  return limit ? std::min(supported_cpu_isa(), limit_of(limit)) : supported_cpu_isa();
}

CpuIsa cpu_isa() {
  static const CpuIsa isa = cpu_isa(std::getenv(kLimitVariable));
  return isa;
}

std::string cpu_kernels() { return std::string(kIsaNames.at(static_cast<size_t>(cpu_isa()))); }

std::string supported_cpu_kernels() {
  return std::string(kIsaNames.at(static_cast<size_t>(supported_cpu_isa())));
}

}  // namespace ddpm::kernels
