#include "tiles.h"

// Whether AMX can be used is decided once, when the program runs. The compiler must have built the
// loops, the processor must have the instructions, and Linux must permit them to this process.

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ddpm::kernels::amx {
namespace {

// Linux saves the tiles' 8 KiB per thread only for a process that has requested it.
bool system_permits_amx() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool processor_has_amx() {
  constexpr unsigned kAmxBf16 = 1U << 22, kAmxTile = 1U << 24;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kAmxBf16) && (d & kAmxTile) &&
         loops_avx512bf16() && &cpu_loops() == loops_avx512bf16();
}

}  // namespace

const TileLoops* tile_loops() {
  static const bool usable = tile_loops_amx() && processor_has_amx() && system_permits_amx();
  return usable ? tile_loops_amx() : nullptr;
}

}  // namespace ddpm::kernels::amx

#else

namespace ddpm::kernels::amx {
const TileLoops* tile_loops() { return nullptr; }
}  // namespace ddpm::kernels::amx

#endif
