#include "scenes.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace ddpm::data {
namespace {

using drawing::blend, drawing::box_distance, drawing::Brush, drawing::Colour;
using drawing::disc_distance, drawing::ellipse_distance, drawing::from_hsl, drawing::line_distance;
using drawing::Point, drawing::polygon_distance, drawing::turned;

constexpr float kTurn = 6.2831853f;
constexpr Colour kWhite = {0.97f, 0.96f, 0.92f}, kInk = {0.12f, 0.08f, 0.08f};

float between(RngStream& random, double low, double high) {
  return static_cast<float>(random.uniform(low, high));
}
template <size_t N>
float one_of(RngStream& random, const std::array<float, N>& values) {
  return values[random.below(N)];
}
template <size_t N>
float near_one_of(RngStream& random, const std::array<float, N>& values, double spread) {
  const float value = one_of(random, values);
  return value + between(random, -spread, spread);
}
float side_of(RngStream& random) { return random.below(2) == 0 ? -1.0f : 1.0f; }

// 0 at `low` and below, 1 at `high` and above.
float ramp(float value, float low, float high) {
  return std::clamp((value - low) / (high - low), 0.0f, 1.0f);
}

// Day, dusk or night, with the sun or the moon.
struct Sky {
  Colour top, bottom, light;
  Point sun;

  explicit Sky(RngStream& random) {
    const uint32_t hour = random.below(3);
    if (hour == 0) {
      const float hue = between(random, 0.52, 0.60);
      top = from_hsl(hue, 0.7f, 0.55f);
      bottom = from_hsl(hue, 0.6f, 0.85f);
    } else if (hour == 1) {
      top = from_hsl(between(random, 0.70, 0.80), 0.45f, 0.38f);
      bottom = from_hsl(between(random, 0.03, 0.10), 0.85f, 0.68f);
    } else {
      const float hue = between(random, 0.60, 0.68);
      top = from_hsl(hue, 0.6f, 0.12f);
      bottom = from_hsl(hue, 0.5f, 0.32f);
    }
    light = hour < 2 ? from_hsl(0.14f, 0.9f, 0.72f) : from_hsl(0.14f, 0.3f, 0.90f);
    sun = {between(random, -0.7, 0.7), between(random, 0.45, 0.75)};
  }
  Brush brush(Point p, float pixel) const {
    Brush brush(blend(bottom, top, ramp(p.y, -0.6f, 1.0f)), pixel);
    brush.fill(disc_distance(p - sun, 0.17f), light);
    return brush;
  }
};

// A meadow below `level`.
struct Ground {
  float level, hue, phase;

  Ground(RngStream& random, float height)
      : level(height), hue(between(random, 0.22, 0.38)), phase(between(random, 0, kTurn)) {}
  void fill(Brush& brush, Point p) const {
    const Colour grass =
        blend(from_hsl(hue, 0.5f, 0.25f), from_hsl(hue, 0.5f, 0.42f), ramp(p.y, -1.0f, level));
    brush.fill(p.y - level - 0.06f * std::sin(2.0f * p.x + phase), grass);
  }
};

// A banded ball, lit from the upper left, with a ring that passes behind and before it.
Picture planet(RngStream& random) {
  const float space = between(random, 0.6, 0.8), tilt = between(random, -0.6, 0.6),
              radius = between(random, 0.46, 0.56), hue = between(random, 0, 1),
              phase = between(random, 0, kTurn);
  std::array<Point, 6> stars{};
  for (Point& star : stars) star = {between(random, -1, 1), between(random, -1, 1)};
  return [=](Point p, float pixel) {
    Brush brush(
        blend(from_hsl(space, 0.6f, 0.2f), from_hsl(space, 0.6f, 0.06f), ramp(p.y, -1.0f, 1.0f)),
        pixel);
    for (const Point& star : stars) brush.fill(disc_distance(p - star, 0.045f), {0.9f, 0.9f, 1.0f});
    const Point q = turned(p, tilt);
    const float ring = std::max(ellipse_distance(q, 1.75f * radius, 0.5f * radius),
                                -ellipse_distance(q, 1.3f * radius, 0.33f * radius));
    const Colour dust = from_hsl(hue + 0.12f, 0.5f, 0.75f);
    brush.fill(ring, dust);
    const float towards_us =
        std::sqrt(std::max(0.0f, radius * radius - p.x * p.x - p.y * p.y)) / radius;
    const float light = 0.62f * towards_us + (0.6f * p.y - 0.5f * p.x) / radius;
    const float band = 0.35f * (0.5f + 0.5f * std::sin(7.0f * q.y / radius + phase));
    const Colour ball =
        blend(from_hsl(hue, 0.65f, 0.55f), from_hsl(hue + 0.06f, 0.6f, 0.72f), band);
    brush.fill(disc_distance(q, radius), ball * (0.18f + 0.95f * std::clamp(light, 0.0f, 1.0f)));
    brush.fill(std::max(ring, q.y), dust);
    return brush.colour();
  };
}

// Five to eight petals on a stem with two leaves.
Picture flower(RngStream& random) {
  const float air = between(random, 0.45, 0.65), sway = between(random, -0.25, 0.25),
              height = between(random, 0.15, 0.28), radius = between(random, 0.5, 0.62),
              angle = between(random, 0, kTurn),
              hue = near_one_of<6>(random, {0.0f, 0.06f, 0.78f, 0.86f, 0.92f, 0.96f}, 0.03);
  const auto petals = static_cast<float>(5 + random.below(4));
  const Colour green = from_hsl(between(random, 0.25, 0.36), 0.55f, 0.35f);
  const std::array<float, 2> leaves = {between(random, -0.1, 0.1), between(random, -0.1, 0.1)};
  return [=](Point p, float pixel) {
    Brush brush(
        blend(from_hsl(air, 0.45f, 0.7f), from_hsl(air, 0.5f, 0.86f), ramp(p.y, -1.0f, 1.0f)),
        pixel);
    brush.fill(line_distance(p, {sway, height}, {-0.3f * sway, -1.1f}, 0.06f), green);
    for (int i = 0; i < 2; ++i) {
      const float side = i == 0 ? -1.0f : 1.0f;
      const Point leaf = turned({p.x - 0.27f * side, p.y + 0.62f + leaves[i]}, 0.6f * side);
      brush.fill(ellipse_distance(leaf, 0.28f, 0.11f), green * 1.15f);
    }
    const Point q = p - Point{sway, height};
    const float edge = 0.72f + 0.28f * std::cos(petals * (std::atan2(q.y, q.x) + angle));
    const Colour petal = blend(from_hsl(hue, 0.75f, 0.42f), from_hsl(hue, 0.85f, 0.68f),
                               std::min(length(q) / radius, 1.0f));
    brush.fill(0.8f * (length(q) - radius * edge), petal);
    brush.fill(disc_distance(q, 0.3f * radius), from_hsl(0.13f, 0.9f, 0.55f));
    return brush.colour();
  };
}

// A spotted cap on a stem, in a meadow.
Picture mushroom(RngStream& random) {
  const Sky sky(random);
  const Ground ground(random, -0.55f);
  const float stem = between(random, 0.18, 0.24), a = between(random, 0.62, 0.74),
              b = between(random, 0.55, 0.68),
              hue = one_of<5>(random, {0.0f, 0.02f, 0.07f, 0.75f, 0.93f});
  std::array<Point, 4> spots = {{{-0.33f, 0.2f}, {0.05f, 0.38f}, {0.36f, 0.16f}, {-0.02f, 0.1f}}};
  constexpr std::array<float, 4> kSpotRadii = {0.10f, 0.12f, 0.09f, 0.07f};
  for (Point& spot : spots) {
    spot = {spot.x * a / 0.68f + between(random, -0.04, 0.04),
            spot.y * b / 0.60f + between(random, -0.04, 0.04)};
  }
  return [=](Point p, float pixel) {
    Brush brush = sky.brush(p, pixel);
    ground.fill(brush, p);
    brush.fill(box_distance({p.x, p.y + 0.45f}, stem - 0.06f, 0.34f) - 0.06f,
               from_hsl(0.11f, 0.4f, 0.85f) * (1.0f - 0.25f * std::clamp(p.x / stem, -0.2f, 1.0f)));
    const Point q = {p.x, p.y + 0.12f};
    const float cap = std::max(ellipse_distance(q, a, b), -q.y);
    const float light = std::clamp(0.75f + 0.35f * q.y / b - 0.3f * q.x / a, 0.45f, 1.15f);
    brush.fill(cap, from_hsl(hue, 0.75f, 0.5f) * light);
    for (size_t i = 0; i < spots.size(); ++i)
      brush.fill(std::max(disc_distance(q - spots[i], kSpotRadii[i]), cap), kWhite);
    return brush.colour();
  };
}

// Plain or striped, looking left or right, with two bubbles.
Picture fish(RngStream& random) {
  const float water = between(random, 0.50, 0.62), side = side_of(random),
              tilt = between(random, -0.25, 0.25), a = between(random, 0.50, 0.58),
              b = between(random, 0.3, 0.4),
              hue = near_one_of<6>(random, {0.0f, 0.04f, 0.08f, 0.13f, 0.83f, 0.90f}, 0.02),
              stripes = one_of<2>(random, {0.0f, 0.6f}), phase = between(random, 0, kTurn);
  const Point middle = {between(random, -0.12, 0.12), between(random, -0.2, 0.2)};
  std::array<Point, 2> bubbles{};
  for (Point& bubble : bubbles)
    bubble = {side * between(random, 0.6, 0.85), between(random, 0.2, 0.85)};
  return [=](Point p, float pixel) {
    Brush brush(
        blend(from_hsl(water, 0.7f, 0.25f), from_hsl(water, 0.6f, 0.62f), ramp(p.y, -1.0f, 1.0f)),
        pixel);
    const Point q = turned({(p.x - middle.x) * side, p.y - middle.y}, tilt);
    const Colour fin = from_hsl(hue + 0.05f, 0.8f, 0.5f);
    brush.fill(polygon_distance<3>(q, {{{-0.35f, 0.0f}, {-0.92f, 0.36f}, {-0.92f, -0.36f}}}), fin);
    brush.fill(
        polygon_distance<3>(q, {{{0.15f, 0.6f * b}, {-0.15f, b + 0.26f}, {-0.3f, 0.5f * b}}}), fin);
    const float stripe =
        stripes * std::clamp(0.5f + 2.0f * std::sin(11.0f * q.x + phase), 0.f, 1.f);
    const float light = std::clamp(0.85f + 0.45f * q.y / b, 0.5f, 1.2f);
    brush.fill(ellipse_distance(q, a, b),
               blend(from_hsl(hue, 0.9f, 0.55f), kWhite, stripe) * light);
    const Point eye = {0.55f * a, 0.08f};
    brush.fill(disc_distance(q - eye, 0.11f), {1.0f, 1.0f, 1.0f});
    brush.fill(disc_distance(q - eye - Point{0.03f, 0.0f}, 0.055f), kInk);
    for (const Point& bubble : bubbles)
      brush.fill(std::fabs(disc_distance(p - bubble, 0.07f)) - 0.02f, {0.85f, 0.95f, 1.0f});
    return brush.colour();
  };
}

// Walls, a roof, a door and a window with a cross; a chimney on every other one.
Picture house(RngStream& random) {
  const Sky sky(random);
  const Ground ground(random, -0.5f);
  const float width = between(random, 0.45, 0.58), height = between(random, 0.3, 0.4),
              top = 2.0f * height - 0.62f, peak = top + between(random, 0.42, 0.58),
              side = side_of(random);
  const float hue = between(random, 0, 1), colourful = between(random, 0.15, 0.5);
  const Colour wall = from_hsl(hue, colourful, 0.72f),
               roof = from_hsl(one_of<4>(random, {0.0f, 0.03f, 0.07f, 0.6f}), 0.5f, 0.36f);
  const bool chimney = random.below(2) == 0;
  return [=](Point p, float pixel) {
    Brush brush = sky.brush(p, pixel);
    ground.fill(brush, p);
    if (chimney)
      brush.fill(box_distance(p - Point{0.55f * width, top + 0.35f}, 0.09f, 0.25f), roof * 0.8f);
    brush.fill(box_distance({p.x, p.y + 0.62f - height}, width, height),
               wall * (p.x > 0.0f ? 0.9f : 1.0f));
    brush.fill(
        polygon_distance<3>(p, {{{-width - 0.15f, top}, {width + 0.15f, top}, {0.0f, peak}}}),
        roof);
    brush.fill(box_distance({p.x - 0.45f * side * width, p.y + 0.4f}, 0.12f, 0.22f),
               from_hsl(0.06f, 0.5f, 0.25f));
    const Point pane = {p.x + 0.42f * side * width, p.y + 0.62f - 1.1f * height};
    const float window = box_distance(pane, 0.15f, 0.14f);
    brush.fill(window, from_hsl(0.14f, 0.9f, 0.7f));
    const float bars = std::min(std::fabs(pane.x), std::fabs(pane.y)) - 0.02f;
    brush.fill(std::max(window, bars), wall * 0.5f);
    return brush.colour();
  };
}

// A fir of three tiers, lit from the left.
Picture tree(RngStream& random) {
  const Sky sky(random);
  const Ground ground(random, -0.6f);
  const float width = between(random, 0.50, 0.62),
              hue = near_one_of<5>(random, {0.28f, 0.33f, 0.38f, 0.10f, 0.06f}, 0.02);
  return [=](Point p, float pixel) {
    Brush brush = sky.brush(p, pixel);
    ground.fill(brush, p);
    brush.fill(box_distance({p.x, p.y + 0.62f}, 0.09f, 0.22f), from_hsl(0.07f, 0.45f, 0.25f));
    constexpr std::array<std::array<float, 3>, 3> kTiers = {
        // bottom, tip, share of the width
        {{-0.5f, 0.1f, 1.0f}, {-0.15f, 0.42f, 0.78f}, {0.2f, 0.8f, 0.56f}}};
    float lightness = 0.26f;
    for (const auto& [bottom, tip, share] : kTiers) {
      const float half = share * width;
      brush.fill(
          polygon_distance<3>(p, {{{-half, bottom}, {half, bottom}, {0.0f, tip}}}),
          from_hsl(hue, 0.5f, lightness) * std::clamp(1.0f - 0.5f * p.x / width, 0.55f, 1.35f));
      lightness += 0.06f;
    }
    return brush.colour();
  };
}

// Smiling, laughing or sad.
Picture face(RngStream& random) {
  const float ground = between(random, 0, 1), radius = between(random, 0.7, 0.8),
              skin = one_of<6>(random, {0.13f, 0.13f, 0.10f, 0.30f, 0.55f, 0.93f}),
              eye_x = between(random, 0.24, 0.32), eye_y = between(random, 0.15, 0.25),
              eye = between(random, 0.09, 0.13), width = between(random, 0.3, 0.4);
  const float mood = random.below(4) == 0 ? -1.0f : 1.0f;
  const float smile = mood * between(random, 0.25, 0.6);
  const bool laughs = smile > 0.0f && random.uniform() < 0.4;
  return [=](Point p, float pixel) {
    Brush brush(
        blend(from_hsl(ground, 0.5f, 0.55f), from_hsl(ground, 0.5f, 0.75f), ramp(p.y, -1.0f, 1.0f)),
        pixel);
    brush.fill(
        disc_distance(p, radius),
        from_hsl(skin, 0.9f, 0.58f) * std::clamp(1.05f + 0.25f * (p.y - p.x) / radius, 0.6f, 1.2f));
    for (const float side : {-1.0f, 1.0f})
      brush.fill(ellipse_distance(p - Point{side * eye_x, eye_y}, 0.8f * eye, 1.3f * eye), kInk);
    if (laughs) {
      brush.fill(std::max(ellipse_distance({p.x, p.y + 0.2f}, width, 0.38f), p.y + 0.2f),
                 {0.45f, 0.06f, 0.10f});
    } else {  // a parabola, its distance to first order
      const float u = p.x / width, slope = 0.7f * smile * u / width;
      const float curve = p.y + 0.33f + 0.28f * smile - 0.35f * smile * u * u;
      brush.fill(
          std::max(std::fabs(curve) / std::hypot(1.0f, slope) - 0.055f, std::fabs(p.x) - width),
          kInk);
    }
    for (const float side : {-1.0f, 1.0f})
      brush.fill(disc_distance(p - Point{0.48f * side, -0.12f}, 0.11f),
                 from_hsl(skin - 0.1f, 0.9f, 0.6f));
    return brush.colour();
  };
}

// Two sails, one of them white, and waves.
Picture boat(RngStream& random) {
  const Sky sky(random);
  const float sea = between(random, 0.5, 0.6), middle = between(random, -0.12, 0.12),
              top = between(random, 0.62, 0.78), fore = between(random, 0.50, 0.62),
              aft = between(random, 0.40, 0.52), phase = between(random, 0, kTurn);
  const Colour cloth =
      from_hsl(one_of<6>(random, {0.0f, 0.08f, 0.14f, 0.60f, 0.85f, 0.95f}), 0.8f, 0.6f);
  const Colour wood = from_hsl(one_of<4>(random, {0.0f, 0.04f, 0.6f, 0.08f}), 0.55f, 0.36f);
  const bool white_fore = random.below(2) == 0;
  return [=](Point p, float pixel) {
    Brush brush = sky.brush(p, pixel);
    const Point q = {p.x - middle, p.y};
    brush.fill(box_distance({q.x, q.y - 0.1f}, 0.03f, 0.62f), from_hsl(0.07f, 0.4f, 0.25f));
    brush.fill(polygon_distance<3>(q, {{{0.06f, -0.28f}, {fore, -0.28f}, {0.06f, top}}}),
               (white_fore ? kWhite : cloth) * std::clamp(1.05f - 0.3f * q.x, 0.7f, 1.1f));
    brush.fill(polygon_distance<3>(q, {{{-aft, -0.28f}, {-0.06f, -0.28f}, {-0.06f, top - 0.15f}}}),
               white_fore ? cloth : kWhite);
    const float hull =
        std::max(std::fabs(q.y + 0.54f) - 0.18f, std::fabs(q.x) - 0.72f - 0.45f * (q.y + 0.36f));
    brush.fill(hull, wood);
    brush.fill(
        q.y + 0.6f - 0.035f * std::sin(9.0f * p.x + phase),
        blend(from_hsl(sea, 0.7f, 0.25f), from_hsl(sea, 0.6f, 0.5f), ramp(p.y, -1.0f, -0.5f)));
    return brush.colour();
  };
}

}  // namespace

const std::array<SceneKind, 8>& scene_kinds() {
  static const std::array<SceneKind, 8> kinds = {{{"planet", planet},
                                                  {"flower", flower},
                                                  {"mushroom", mushroom},
                                                  {"fish", fish},
                                                  {"house", house},
                                                  {"tree", tree},
                                                  {"face", face},
                                                  {"boat", boat}}};
  return kinds;
}

}  // namespace ddpm::data
