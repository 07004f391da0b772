#include "tiles.h"

// The loops on AMX tiles (tiles.h). The eight registers hold a block of 2x2 tiles of sums, two
// tiles of the left factor and two of the right one, so that each tile is used twice per load.

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AVX512BF16__)

#include "attention_loops.h"
#include "avx512_layout.h"
#include "conv_loops.h"
#include "tile_products.h"

namespace ddpm::kernels::amx {
namespace {

// Tiles 0 to 3: sums; 4 and 5: left factor; 6 and 7: right factor.
struct AmxTiles : Avx512Layout {
  /// Sets the shapes of the tiles. The destructor restores the previous ones.
  class Config {
   public:
    Config() {
      struct alignas(64) Shapes {
        uint8_t palette = 1, start_row = 0, reserved[14] = {};
        uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
        uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
      };
      static constexpr Shapes kShapes;
      _tile_storeconfig(before_);
      _tile_loadconfig(&kShapes);
    }
    ~Config() { _tile_loadconfig(before_); }
    Config(const Config&) = delete;
    Config& operator=(const Config&) = delete;

   private:
    alignas(64) char before_[64];
  };

  static DDPM_INLINE void zero4() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  static DDPM_INLINE void load4(const float* from, int64_t stride) {
    _tile_loadd(0, from, stride * 4);
    _tile_loadd(1, from + kTile, stride * 4);
    _tile_loadd(2, from + kTile * stride, stride * 4);
    _tile_loadd(3, from + kTile * stride + kTile, stride * 4);
  }
  static DDPM_INLINE void store4(float* to, int64_t stride) {
    _tile_stored(0, to, stride * 4);
    _tile_stored(1, to + kTile, stride * 4);
    _tile_stored(2, to + kTile * stride, stride * 4);
    _tile_stored(3, to + kTile * stride + kTile, stride * 4);
  }
  static DDPM_INLINE void multiply4(const Bf16* a0, const Bf16* a1, int64_t a_stride,
                                    const Bf16* b0, const Bf16* b1, int64_t b_stride) {
    _tile_loadd(4, a0, a_stride * 2);
    _tile_loadd(6, b0, b_stride * 2);
    _tile_loadd(5, a1, a_stride * 2);
    _tile_loadd(7, b1, b_stride * 2);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
  }
};

using AmxProducts = TileProducts<AmxTiles>;

constexpr TileLoops kLoops{conv_loops<AmxProducts>(), attention_loops<AmxProducts>()};

}  // namespace

const TileLoops* tile_loops_amx() { return &kLoops; }

}  // namespace ddpm::kernels::amx

#else

namespace ddpm::kernels::amx {
const TileLoops* tile_loops_amx() { return nullptr; }
}  // namespace ddpm::kernels::amx

#endif
