#pragma once

#include <cstdint>

#include <torch/types.h>

namespace ddpm::io {

/// Images that a PNG can hold: [N,C,H,W] -> the same, or, with more than 4 channels, the channels as
/// grey images side by side, [N,1,H,C*W].
torch::Tensor viewable(const torch::Tensor& nchw);

/// Arranges images in rows: uint8 [N,C,H,W], made viewable -> [C, rows*(H+padding)+padding,
/// columns*(W+padding)+padding]. columns 0: nearly square. The background of an alpha channel (the
/// last of 2 or 4) is 255, opaque.
torch::Tensor make_grid(const torch::Tensor& nchw_u8, int64_t columns = 0, int64_t padding = 2,
                        uint8_t background = 48);

/// Two images per cell, left beside right: both uint8 [N,C,H,W]. columns: of cells.
torch::Tensor make_paired_grid(const torch::Tensor& left, const torch::Tensor& right,
                               int64_t columns = 0);

/// Enlarges a small image for viewing, without smoothing: each pixel becomes n x n pixels. n is the
/// smallest of 1 to 8 for which the longer side reaches `side` pixels. [C,H,W] -> [C,n*H,n*W].
torch::Tensor enlarged(const torch::Tensor& chw, int64_t side = 500);

}  // namespace ddpm::io
