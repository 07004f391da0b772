#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

// Small pictures of numbers, for those who have no plotting program at hand.

namespace ddpm::eval {

using Colour = std::array<uint8_t, 3>;

/// Easily told apart, in turn.
Colour colour_of(size_t i);

/// Writes text (ASCII, 5x7 dots in cells of 6x9, times `scale`) with its upper left corner at (x,
/// y); what does not fit is cut off. image: uint8 [3,H,W].
void draw_text_(const torch::Tensor& image, int64_t x, int64_t y, const std::string& text,
                const Colour& colour = {0, 0, 0}, int64_t scale = 1);
/// Pixels that the text is wide.
int64_t text_width(const std::string& text, int64_t scale = 1);

struct Curve {
  std::string label;
  std::vector<double> x, y;  ///< points with a coordinate that is not finite (or, on a logarithmic
                             ///< axis, not positive) are left out
};

struct ChartOptions {
  std::string title = {}, x_label = {}, y_label = {};
  bool log_x = false, log_y = false;
  int64_t width = 720, height = 440;
};

/// Lines and points on labelled axes: uint8 [3,H,W].
torch::Tensor draw_chart(const std::vector<Curve>& curves, const ChartOptions& options);

}  // namespace ddpm::eval
