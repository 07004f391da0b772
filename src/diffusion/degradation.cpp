#include "ddpm/diffusion/condition.h"

#include <algorithm>
#include <cmath>

#include <torch/types.h>

namespace ddpm::diffusion {
namespace {

// The blur of a row or column of `size` pixels as a matrix [size,size], float64.
torch::Tensor blur_matrix(double sigma, int64_t size) {
  const auto reach = static_cast<int64_t>(std::ceil(4 * sigma));
  torch::Tensor matrix = torch::zeros({size, size}, torch::kDouble);
  auto weights = matrix.accessor<double, 2>();
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t k = -reach; k <= reach; ++k) {
      const double z = static_cast<double>(k) / sigma;
      weights[i][std::clamp<int64_t>(i + k, 0, size - 1)] += std::exp(-z * z / 2);
    }
  }
  return matrix / matrix.sum(1, /*keepdim=*/true);
}

}  // namespace

Degradation gaussian_blur(double sigma, int64_t height, int64_t width,
                          const torch::TensorOptions& options) {
  TORCH_CHECK(sigma > 0, "a blur needs a positive sigma, not ", sigma);
  const torch::Tensor rows = blur_matrix(sigma, height).to(options);
  const torch::Tensor columns = blur_matrix(sigma, width).t().to(options);
  return [=](const torch::Tensor& x) { return rows.matmul(x).matmul(columns); };
}

Degradation downsampling(int64_t factor) {
  return [=](const torch::Tensor& x) { return torch::avg_pool2d(x, factor); };
}

Degradation grey() {
  return [](const torch::Tensor& x) {
    TORCH_CHECK(x.size(1) == 3, "grey needs 3 channels, not ", x.size(1));
    return 0.299 * x.narrow(1, 0, 1) + 0.587 * x.narrow(1, 1, 1) + 0.114 * x.narrow(1, 2, 1);
  };
}

Degradation missing_pixels(const torch::Tensor& unknown) {
  return [known = unknown.logical_not()](const torch::Tensor& x) { return x * known; };
}

}  // namespace ddpm::diffusion
