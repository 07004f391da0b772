#include "chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace ddpm::eval {
namespace {

// Characters ' ' to '~': five columns of eight dots each; the lowest bit is the top dot.
constexpr std::array<std::array<uint8_t, 5>, 95> kFont{{
    // clang-format off
    {0x00, 0x00, 0x00, 0x00, 0x00},
    {0x00, 0x00, 0x5F, 0x00, 0x00},
    {0x00, 0x07, 0x00, 0x07, 0x00},
    {0x14, 0x7F, 0x14, 0x7F, 0x14},
    {0x24, 0x2A, 0x7F, 0x2A, 0x12},
    {0x23, 0x13, 0x08, 0x64, 0x62},
    {0x36, 0x49, 0x56, 0x20, 0x50},
    {0x00, 0x08, 0x07, 0x03, 0x00},
    {0x00, 0x1C, 0x22, 0x41, 0x00},
    {0x00, 0x41, 0x22, 0x1C, 0x00},
    {0x2A, 0x1C, 0x7F, 0x1C, 0x2A},
    {0x08, 0x08, 0x3E, 0x08, 0x08},
    {0x00, 0x80, 0x70, 0x30, 0x00},
    {0x08, 0x08, 0x08, 0x08, 0x08},
    {0x00, 0x00, 0x60, 0x60, 0x00},
    {0x20, 0x10, 0x08, 0x04, 0x02},
    {0x3E, 0x51, 0x49, 0x45, 0x3E},
    {0x00, 0x42, 0x7F, 0x40, 0x00},
    {0x72, 0x49, 0x49, 0x49, 0x46},
    {0x21, 0x41, 0x49, 0x4D, 0x33},
    {0x18, 0x14, 0x12, 0x7F, 0x10},
    {0x27, 0x45, 0x45, 0x45, 0x39},
    {0x3C, 0x4A, 0x49, 0x49, 0x31},
    {0x41, 0x21, 0x11, 0x09, 0x07},
    {0x36, 0x49, 0x49, 0x49, 0x36},
    {0x46, 0x49, 0x49, 0x29, 0x1E},
    {0x00, 0x00, 0x14, 0x00, 0x00},
    {0x00, 0x40, 0x34, 0x00, 0x00},
    {0x00, 0x08, 0x14, 0x22, 0x41},
    {0x14, 0x14, 0x14, 0x14, 0x14},
    {0x00, 0x41, 0x22, 0x14, 0x08},
    {0x02, 0x01, 0x59, 0x09, 0x06},
    {0x3E, 0x41, 0x5D, 0x59, 0x4E},
    {0x7C, 0x12, 0x11, 0x12, 0x7C},
    {0x7F, 0x49, 0x49, 0x49, 0x36},
    {0x3E, 0x41, 0x41, 0x41, 0x22},
    {0x7F, 0x41, 0x41, 0x41, 0x3E},
    {0x7F, 0x49, 0x49, 0x49, 0x41},
    {0x7F, 0x09, 0x09, 0x09, 0x01},
    {0x3E, 0x41, 0x41, 0x51, 0x73},
    {0x7F, 0x08, 0x08, 0x08, 0x7F},
    {0x00, 0x41, 0x7F, 0x41, 0x00},
    {0x20, 0x40, 0x41, 0x3F, 0x01},
    {0x7F, 0x08, 0x14, 0x22, 0x41},
    {0x7F, 0x40, 0x40, 0x40, 0x40},
    {0x7F, 0x02, 0x1C, 0x02, 0x7F},
    {0x7F, 0x04, 0x08, 0x10, 0x7F},
    {0x3E, 0x41, 0x41, 0x41, 0x3E},
    {0x7F, 0x09, 0x09, 0x09, 0x06},
    {0x3E, 0x41, 0x51, 0x21, 0x5E},
    {0x7F, 0x09, 0x19, 0x29, 0x46},
    {0x26, 0x49, 0x49, 0x49, 0x32},
    {0x03, 0x01, 0x7F, 0x01, 0x03},
    {0x3F, 0x40, 0x40, 0x40, 0x3F},
    {0x1F, 0x20, 0x40, 0x20, 0x1F},
    {0x3F, 0x40, 0x38, 0x40, 0x3F},
    {0x63, 0x14, 0x08, 0x14, 0x63},
    {0x03, 0x04, 0x78, 0x04, 0x03},
    {0x61, 0x59, 0x49, 0x4D, 0x43},
    {0x00, 0x7F, 0x41, 0x41, 0x41},
    {0x02, 0x04, 0x08, 0x10, 0x20},
    {0x00, 0x41, 0x41, 0x41, 0x7F},
    {0x04, 0x02, 0x01, 0x02, 0x04},
    {0x40, 0x40, 0x40, 0x40, 0x40},
    {0x00, 0x03, 0x07, 0x08, 0x00},
    {0x20, 0x54, 0x54, 0x78, 0x40},
    {0x7F, 0x28, 0x44, 0x44, 0x38},
    {0x38, 0x44, 0x44, 0x44, 0x28},
    {0x38, 0x44, 0x44, 0x28, 0x7F},
    {0x38, 0x54, 0x54, 0x54, 0x18},
    {0x00, 0x08, 0x7E, 0x09, 0x02},
    {0x18, 0xA4, 0xA4, 0x9C, 0x78},
    {0x7F, 0x08, 0x04, 0x04, 0x78},
    {0x00, 0x44, 0x7D, 0x40, 0x00},
    {0x20, 0x40, 0x40, 0x3D, 0x00},
    {0x7F, 0x10, 0x28, 0x44, 0x00},
    {0x00, 0x41, 0x7F, 0x40, 0x00},
    {0x7C, 0x04, 0x78, 0x04, 0x78},
    {0x7C, 0x08, 0x04, 0x04, 0x78},
    {0x38, 0x44, 0x44, 0x44, 0x38},
    {0xFC, 0x18, 0x24, 0x24, 0x18},
    {0x18, 0x24, 0x24, 0x18, 0xFC},
    {0x7C, 0x08, 0x04, 0x04, 0x08},
    {0x48, 0x54, 0x54, 0x54, 0x24},
    {0x04, 0x04, 0x3F, 0x44, 0x24},
    {0x3C, 0x40, 0x40, 0x20, 0x7C},
    {0x1C, 0x20, 0x40, 0x20, 0x1C},
    {0x3C, 0x40, 0x30, 0x40, 0x3C},
    {0x44, 0x28, 0x10, 0x28, 0x44},
    {0x4C, 0x90, 0x90, 0x90, 0x7C},
    {0x44, 0x64, 0x54, 0x4C, 0x44},
    {0x00, 0x08, 0x36, 0x41, 0x00},
    {0x00, 0x00, 0x77, 0x00, 0x00},
    {0x00, 0x41, 0x36, 0x08, 0x00},
    {0x02, 0x01, 0x02, 0x04, 0x02}
    // clang-format on
}};

constexpr Colour kInk{0, 0, 0}, kLine{210, 210, 210};

void dot_(const torch::Tensor& image, int64_t x, int64_t y, const Colour& colour) {
  if (x < 0 || y < 0 || x >= image.size(2) || y >= image.size(1)) return;
  const int64_t plane = image.size(1) * image.size(2), at = y * image.size(2) + x;
  for (int64_t c = 0; c < 3; ++c) image.mutable_data_ptr<uint8_t>()[c * plane + at] = colour[c];
}

void line_(const torch::Tensor& image, double x0, double y0, double x1, double y1,
           const Colour& colour) {
  const auto steps =
      static_cast<int64_t>(std::ceil(std::max(std::abs(x1 - x0), std::abs(y1 - y0))));
  for (int64_t i = 0; i <= steps; ++i) {
    const double f = steps == 0 ? 0.0 : static_cast<double>(i) / static_cast<double>(steps);
    dot_(image, std::lround(x0 + f * (x1 - x0)), std::lround(y0 + f * (y1 - y0)), colour);
  }
}

// One axis: maps values to pixels and chooses the labels.
class Axis {
 public:
  Axis(bool log, double low, double high, double from, double to)
      : log_(log), from_(from), to_(to) {
    low_ = scaled(low);
    high_ = scaled(high);
    if (!(high_ > low_)) {
      low_ -= 0.5;
      high_ += 0.5;
    }
  }
  bool shows(double v) const { return std::isfinite(v) && (!log_ || v > 0.0); }
  double pixel(double v) const {
    return from_ + (scaled(v) - low_) / (high_ - low_) * (to_ - from_);
  }
  std::vector<double> ticks() const {
    std::vector<double> all;
    if (log_) {
      const bool many = high_ - low_ > 2.0;  // decades
      for (double e = std::floor(low_); e <= high_ + 1e-9; ++e)
        for (const double m : {1.0, 2.0, 5.0})
          if (m == 1.0 || !many) all.push_back(m * std::pow(10.0, e));
    } else {
      const double rough = (high_ - low_) / 5.0,
                   unit = std::pow(10.0, std::floor(std::log10(rough)));
      const double step = unit * (rough / unit < 2.0 ? 2.0 : rough / unit < 5.0 ? 5.0 : 10.0);
      for (double v = std::ceil(low_ / step) * step; v <= high_; v += step) all.push_back(v);
    }
    std::erase_if(all,
                  [&](double v) { return scaled(v) < low_ - 1e-9 || scaled(v) > high_ + 1e-9; });
    return all;
  }

 private:
  double scaled(double v) const { return log_ ? std::log10(v) : v; }
  bool log_;
  double low_, high_, from_, to_;
};

struct Extent {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double v, bool log) {
    if (!std::isfinite(v) || (log && v <= 0.0)) return;
    low = std::min(low, v);
    high = std::max(high, v);
  }
};

std::string tick_text(double v) { return fmt::format("{:.4g}", std::abs(v) < 1e-12 ? 0.0 : v); }

// The pixels between which the curves lie.
struct Frame {
  double left, right, top, bottom;
};

// Grid lines with their numbers, then the axes.
void draw_axes_(const torch::Tensor& image, const Frame& f, const Axis& x_axis,
                const Axis& y_axis) {
  for (const double v : x_axis.ticks()) {
    const double x = x_axis.pixel(v);
    line_(image, x, f.top, x, f.bottom, kLine);
    const std::string text = tick_text(v);
    draw_text_(image, std::lround(x) - text_width(text) / 2, std::lround(f.bottom) + 6, text);
  }
  for (const double v : y_axis.ticks()) {
    const double y = y_axis.pixel(v);
    line_(image, f.left, y, f.right, y, kLine);
    const std::string text = tick_text(v);
    draw_text_(image, 60 - text_width(text), std::lround(y) - 4, text);
  }
  line_(image, f.left, f.top, f.left, f.bottom, kInk);
  line_(image, f.left, f.bottom, f.right, f.bottom, kInk);
}

// A line through the points, two pixels wide; with few points also a square at each.
void draw_curve_(const torch::Tensor& image, const Curve& curve, const Axis& x_axis,
                 const Axis& y_axis, const Colour& colour) {
  bool has_last = false;
  double last_x = 0, last_y = 0;
  for (size_t i = 0; i < std::min(curve.x.size(), curve.y.size()); ++i) {
    if (!x_axis.shows(curve.x[i]) || !y_axis.shows(curve.y[i])) continue;
    const double x = x_axis.pixel(curve.x[i]), y = y_axis.pixel(curve.y[i]);
    if (has_last) {
      line_(image, last_x, last_y, x, y, colour);
      line_(image, last_x, last_y + 1, x, y + 1, colour);
    }
    if (curve.x.size() <= 40)
      for (int64_t d = -2; d <= 2; ++d) line_(image, x - 2, y + d, x + 2, y + d, colour);
    has_last = true;
    last_x = x;
    last_y = y;
  }
}

}  // namespace

Colour colour_of(size_t i) {
  constexpr std::array<Colour, 8> colours{{{31, 95, 170},
                                           {214, 96, 20},
                                           {40, 140, 60},
                                           {200, 30, 50},
                                           {120, 70, 160},
                                           {20, 150, 170},
                                           {140, 90, 40},
                                           {90, 90, 90}}};
  return colours[i % colours.size()];
}

int64_t text_width(const std::string& text, int64_t scale) {
  return static_cast<int64_t>(text.size()) * 6 * scale;
}

void draw_text_(const torch::Tensor& image, int64_t x, int64_t y, const std::string& text,
                const Colour& colour, int64_t scale) {
  for (const char character : text) {
    const size_t index = character < ' ' || character > '~' ? '?' - ' ' : character - ' ';
    for (int64_t column = 0; column < 5 * scale; ++column)
      for (int64_t row = 0; row < 8 * scale; ++row)
        if (kFont[index][column / scale] >> (row / scale) & 1)
          dot_(image, x + column, y + row, colour);
    x += 6 * scale;
  }
}

torch::Tensor draw_chart(const std::vector<Curve>& curves, const ChartOptions& o) {
  torch::Tensor image = torch::full({3, o.height, o.width}, 255, torch::kByte);
  Extent xs, ys;
  for (const Curve& curve : curves) {
    for (const double v : curve.x) xs.add(v, o.log_x);
    for (const double v : curve.y) ys.add(v, o.log_y);
  }
  draw_text_(image, 8, 6, o.title);
  if (!(xs.low <= xs.high && ys.low <= ys.high)) return image;  // no points
  const Frame frame{66, static_cast<double>(o.width) - 16, 36, static_cast<double>(o.height) - 40};
  const Axis x_axis(o.log_x, xs.low, xs.high, frame.left, frame.right);
  const Axis y_axis(o.log_y, ys.low, ys.high, frame.bottom, frame.top);
  draw_axes_(image, frame, x_axis, y_axis);
  draw_text_(image, (o.width - text_width(o.x_label)) / 2, o.height - 16, o.x_label);
  draw_text_(image, 8, 20, o.y_label);
  for (size_t c = 0; c < curves.size(); ++c) {
    draw_curve_(image, curves[c], x_axis, y_axis, colour_of(c));
    draw_text_(image, o.width - 16 - text_width(curves[c].label), 40 + 12 * static_cast<int64_t>(c),
               curves[c].label, colour_of(c));
  }
  return image;
}

}  // namespace ddpm::eval
