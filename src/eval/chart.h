#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

// Small charts that need no plotting program.

namespace ddpm::eval {

using Colour = std::array<uint8_t, 3>;

/// The colour of curve i; the colours are easy to tell apart.
Colour colour_of(size_t i);

/// Draws text with its upper left corner at (x, y): ASCII, 5x7 dots in cells of 6x9, times `scale`.
/// Clips it at the edge. image: uint8 [3,H,W].
void draw_text_(const torch::Tensor& image, int64_t x, int64_t y, const std::string& text,
                const Colour& colour = {0, 0, 0}, int64_t scale = 1);
/// The width of the text in pixels.
int64_t text_width(const std::string& text, int64_t scale = 1);

struct Curve {
  std::string label;
  /// Points with a coordinate that is not finite are left out; on a logarithmic axis, also those
  /// that are not positive.
  std::vector<double> x, y;
};

struct ChartOptions {
  std::string title = {}, x_label = {}, y_label = {};
  bool log_x = false, log_y = false;
  int64_t width = 720, height = 440;
};

/// Lines and points on labelled axes: uint8 [3,H,W].
torch::Tensor draw_chart(const std::vector<Curve>& curves, const ChartOptions& options);

}  // namespace ddpm::eval
