#include "../cpu/loops.h"

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ddpm::kernels {
namespace {

// Linux keeps the tiles' 8 KiB a thread only for a process that has asked for it.
bool system_gives_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool processor_has_tiles() {
  constexpr unsigned kAmxBf16 = 1U << 22, kAmxTile = 1U << 24;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kAmxBf16) && (d & kAmxTile) &&
         loops_avx512bf16() && &cpu_loops() == loops_avx512bf16();
}

}  // namespace

const TileLoops* tile_loops() {
  static const bool usable = tile_loops_amx() && processor_has_tiles() && system_gives_tiles();
  return usable ? tile_loops_amx() : nullptr;
}

}  // namespace ddpm::kernels

#else

namespace ddpm::kernels {
const TileLoops* tile_loops() { return nullptr; }
}  // namespace ddpm::kernels

#endif
