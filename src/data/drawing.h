#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

// Colours and signed distances to shapes (negative inside) for procedural images; y points up.

namespace ddpm::data::drawing {

struct Point {
  float x;
  float y;
};

struct Colour {
  float r;
  float g;
  float b;
};

inline Point operator-(Point a, Point b) { return {a.x - b.x, a.y - b.y}; }
inline float length(Point p) { return std::hypot(p.x, p.y); }
inline Point turned(Point p, float angle) {
  const float c = std::cos(angle), s = std::sin(angle);
  return {c * p.x + s * p.y, c * p.y - s * p.x};
}

inline Colour blend(Colour a, Colour b, float t) {
  return {a.r + t * (b.r - a.r), a.g + t * (b.g - a.g), a.b + t * (b.b - a.b)};
}
inline Colour operator*(Colour a, float light) { return {a.r * light, a.g * light, a.b * light}; }

// hue in turns, at least -1; saturation and lightness in 0..1.
inline Colour from_hsl(float hue, float saturation, float lightness) {
  const float chroma = saturation * std::min(lightness, 1.0f - lightness);
  const auto channel = [&](float n) {
    const float k = std::fmod(n + 12.0f * (hue < 0.0f ? hue + 1.0f : hue), 12.0f);
    return lightness - chroma * std::max(-1.0f, std::min({k - 3.0f, 9.0f - k, 1.0f}));
  };
  return {channel(0), channel(8), channel(4)};
}

inline float disc_distance(Point p, float radius) { return length(p) - radius; }

inline float box_distance(Point p, float half_width, float half_height) {
  const Point q = {std::fabs(p.x) - half_width, std::fabs(p.y) - half_height};
  return length({std::max(q.x, 0.0f), std::max(q.y, 0.0f)}) + std::min(std::max(q.x, q.y), 0.0f);
}

// To first order near the edge.
inline float ellipse_distance(Point p, float a, float b) {
  const float k = length({p.x / a, p.y / b});
  return k * (k - 1.0f) / (length({p.x / (a * a), p.y / (b * b)}) + 1e-6f);
}

// A line from a to b, with round ends.
inline float line_distance(Point p, Point a, Point b, float half_width) {
  const Point edge = b - a, to_p = p - a;
  const float along = (edge.x * to_p.x + edge.y * to_p.y) / (edge.x * edge.x + edge.y * edge.y);
  const float t = std::clamp(along, 0.0f, 1.0f);
  return length({to_p.x - t * edge.x, to_p.y - t * edge.y}) - half_width;
}

// A closed polygon; the sign from the number of edges that a ray to the right crosses.
template <size_t N>
float polygon_distance(Point p, const std::array<Point, N>& corners) {
  float nearest = 1e9f;
  bool inside = false;
  for (size_t i = 0; i < N; ++i) {
    const Point a = corners[i], b = corners[(i + 1) % N];
    nearest = std::min(nearest, line_distance(p, a, b, 0.0f));
    if ((a.y > p.y) != (b.y > p.y) && p.x < a.x + (p.y - a.y) / (b.y - a.y) * (b.x - a.x))
      inside = !inside;
  }
  return inside ? -nearest : nearest;
}

/// One pixel's colour, painted shape by shape.
class Brush {
 public:
  Brush(Colour ground, float pixel) : colour_(ground), pixel_(pixel) {}
  // The distance in pixels gives the covered fraction of the pixel.
  void fill(float distance, Colour paint) {
    colour_ = blend(colour_, paint, std::clamp(0.5f - distance / pixel_, 0.0f, 1.0f));
  }
  Colour colour() const { return colour_; }

 private:
  Colour colour_;
  float pixel_;
};

}  // namespace ddpm::data::drawing
