#include "tiles.h"

// For processors with AVX-512 that have no products of bfloat16.

#if defined(__AVX512F__)

#include "float_loops.h"

namespace ddpm::kernels::amx {
namespace {
constexpr TileLoops kAvx512Loops{float_conv_loops(), {}};
}  // namespace

const TileLoops* tile_loops_avx512() { return &kAvx512Loops; }

}  // namespace ddpm::kernels::amx

#else

namespace ddpm::kernels::amx {
const TileLoops* tile_loops_avx512() { return nullptr; }
}  // namespace ddpm::kernels::amx

#endif
