#pragma once

#include "tiles.h"

#include <algorithm>

#include <ATen/Parallel.h>
#include <torch/types.h>

// How the fused convolution divides a batch. Threads take full images if there are enough of them,
// else rows of images. Small images are also processed several at a time, so that the sums of the
// weight gradients run over about kPositionsPerGroup positions before they are written.

namespace ddpm::kernels::amx {

constexpr int64_t kPositionsPerGroup = 1024;

inline int64_t round_up_to_panel(int64_t count) { return (count + kPanel - 1) / kPanel * kPanel; }

/// Taps of a weight [O,C,kh,kw].
inline int64_t taps_of(const torch::Tensor& weight) { return weight.size(2) * weight.size(3); }

/// The sizes of a convolution: x [batch,in,height,width] -> y [batch,out,height,width].
struct ConvShape {
  int64_t batch, height, width, in, out;

  int64_t row_stride() const { return width + 1; }
  int64_t pixels() const { return height * width; }
  /// Numbers of one input image and of one output image.
  int64_t input_size() const { return pixels() * in; }
  int64_t output_size() const { return pixels() * out; }

  ConvGroup image_group(int64_t images) const { return {images, 0, height, height, width}; }
  ConvGroup row_group(int64_t first, int64_t count) const {
    return {1, first, count, height, width};
  }
  /// Positions that the results of a group are computed from.
  int64_t input_positions(const ConvGroup& g) const {
    return round_up_to_panel(g.result_positions()) + 2 * row_stride() + 3;
  }

  /// Whether there are enough images for one thread per image.
  bool has_image_per_thread() const { return batch >= at::get_num_threads(); }
  /// Images that are about kPositionsPerGroup positions, at most `max`.
  int64_t images_per_group(int64_t max) const {
    return std::clamp<int64_t>(kPositionsPerGroup / ((height + 1) * row_stride()), 1,
                               std::max<int64_t>(1, max));
  }
};

/// The images divided into groups of rows, at least one group per thread if there are enough rows.
class RowGroups {
 public:
  explicit RowGroups(const ConvShape& s) : s_(s) {
    const int64_t per_image = (at::get_num_threads() + s.batch - 1) / s.batch;
    rows_ = (s.height + per_image - 1) / per_image;
    groups_per_image_ = (s.height + rows_ - 1) / rows_;
  }
  int64_t count() const { return s_.batch * groups_per_image_; }
  /// The image that group i belongs to.
  int64_t image(int64_t i) const { return i / groups_per_image_; }
  ConvGroup group(int64_t i) const {
    const int64_t first = i % groups_per_image_ * rows_;
    return s_.row_group(first, std::min(rows_, s_.height - first));
  }
  ConvGroup largest() const { return s_.row_group(0, rows_); }

 private:
  ConvShape s_;
  int64_t rows_, groups_per_image_;
};

}  // namespace ddpm::kernels::amx
