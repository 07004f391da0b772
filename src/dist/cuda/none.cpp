#include "../gpu_id.h"

namespace ddpm::dist {

std::array<int64_t, 2> gpu_id(const torch::Device&) { return {}; }

}  // namespace ddpm::dist
