#include "group_norm.h"
#include "random.h"

#include <stdexcept>

namespace ddpm::kernels::cuda {
namespace {

[[noreturn]] void refuse() { throw std::logic_error("built without CUDA kernels"); }

}  // namespace

void group_norm_forward(const GroupNormShape&, Element, const void*, void*,
                        const GroupNormArgs<float>&, void*) {
  refuse();
}
void group_norm_forward(const GroupNormShape&, Element, const void*, void*,
                        const GroupNormArgs<double>&, void*) {
  refuse();
}
void group_norm_backward(const GroupNormShape&, Element, const void*, const void*, void*,
                         const GroupNormArgs<float>&, void*) {
  refuse();
}
void group_norm_backward(const GroupNormShape&, Element, const void*, const void*, void*,
                         const GroupNormArgs<double>&, void*) {
  refuse();
}

bool available() { return false; }

void normal(float*, int64_t, int64_t, const int64_t*, RngKey, uint32_t, void*) { refuse(); }

void uniform_int(int64_t*, int64_t, const int64_t*, RngKey, int64_t, uint32_t, void*) { refuse(); }

}  // namespace ddpm::kernels::cuda
