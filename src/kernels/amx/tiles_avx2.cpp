#include "tiles.h"

// For processors with AVX2, which have no products of bfloat16.

#if defined(__AVX2__)

#include "float_loops.h"

namespace ddpm::kernels::amx {
namespace {
constexpr TileLoops kAvx2Loops{float_conv_loops(), {}};
}  // namespace

const TileLoops* tile_loops_avx2() { return &kAvx2Loops; }

}  // namespace ddpm::kernels::amx

#else

namespace ddpm::kernels::amx {
const TileLoops* tile_loops_avx2() { return nullptr; }
}  // namespace ddpm::kernels::amx

#endif
