#include "ddpm/base/shape.h"

#include <algorithm>
#include <string>

namespace ddpm {

void expect_shape(const torch::Tensor& x, std::initializer_list<int64_t> sizes,
                  std::string_view name) {
  const bool matches =
      x.dim() == static_cast<int64_t>(sizes.size()) &&
      std::equal(sizes.begin(), sizes.end(), x.sizes().begin(),
                 [](int64_t want, int64_t have) { return want == -1 || want == have; });
  TORCH_CHECK(matches, std::string(name), " has shape ", x.sizes(), ", expected ",
              torch::IntArrayRef(sizes.begin(), sizes.size()), " (-1: any)");
}

}  // namespace ddpm
