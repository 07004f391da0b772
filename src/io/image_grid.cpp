#include "ddpm/io/image.h"

#include <algorithm>
#include <cmath>

#include <torch/types.h>

namespace ddpm::io {

torch::Tensor viewable(const torch::Tensor& nchw) {
  if (nchw.size(1) <= kMaxImageChannels) return nchw;
  return nchw.permute({0, 2, 1, 3}).flatten(2).unsqueeze(1);
}

torch::Tensor make_grid(const torch::Tensor& nchw_u8, int64_t columns, int64_t padding,
                        uint8_t background) {
  TORCH_CHECK(nchw_u8.scalar_type() == torch::kUInt8 && nchw_u8.dim() == 4 && nchw_u8.size(0) > 0,
              "expected uint8 [N,C,H,W] with N > 0, got ", nchw_u8.scalar_type(), " ",
              nchw_u8.sizes());
  const torch::Tensor images = viewable(nchw_u8);
  const int64_t count = images.size(0), height = images.size(2), width = images.size(3);
  if (columns <= 0)
    columns = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  columns = std::min(columns, count);
  const int64_t rows = (count + columns - 1) / columns;
  torch::Tensor grid = torch::full(
      {images.size(1), rows * (height + padding) + padding, columns * (width + padding) + padding},
      background, images.options());
  if (grid.size(0) == 2 || grid.size(0) == 4) grid[grid.size(0) - 1].fill_(255);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t y = padding + i / columns * (height + padding);
    const int64_t x = padding + i % columns * (width + padding);
    grid.slice(1, y, y + height).slice(2, x, x + width).copy_(images[i]);
  }
  return grid;
}

torch::Tensor make_paired_grid(const torch::Tensor& left, const torch::Tensor& right,
                               int64_t columns) {
  TORCH_CHECK(left.sizes() == right.sizes(), "images of ", left.sizes(), " beside ", right.sizes());
  if (columns <= 0)  // nearly square, for square images
    columns = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(left.size(0)) / 2)));
  return make_grid(torch::stack({left, right}, 1).flatten(0, 1), 2 * columns);
}

torch::Tensor enlarged(const torch::Tensor& chw, int64_t side) {
  const int64_t longer = std::max(chw.size(1), chw.size(2));
  const int64_t n = std::clamp((side + longer - 1) / longer, int64_t{1}, int64_t{8});
  return chw.repeat_interleave(n, 1).repeat_interleave(n, 2);
}

}  // namespace ddpm::io
