#include "procedural.h"

#include "ddpm/base/rng.h"
#include "drawing.h"
#include "scenes.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

using drawing::blend, drawing::box_distance, drawing::Colour, drawing::from_hsl, drawing::Point;
using drawing::polygon_distance;

// Shapes that fill about the unit disc.

float disc(Point p) { return length(p) - 0.9f; }
float square(Point p) { return box_distance(p, 0.78f, 0.78f); }
float triangle(Point p) {
  constexpr std::array<Point, 3> kCorners = {{{0.0f, 1.0f}, {-0.95f, -0.7f}, {0.95f, -0.7f}}};
  return polygon_distance(p, kCorners);
}
float ring(Point p) { return std::fabs(length(p) - 0.68f) - 0.26f; }
float cross(Point p) {
  return std::min(box_distance(p, 0.95f, 0.32f), box_distance(p, 0.32f, 0.95f));
}
float star(Point p) {
  static const std::array<Point, 10> corners = [] {
    std::array<Point, 10> points{};
    for (int i = 0; i < 10; ++i) {
      const float radius = i % 2 == 0 ? 1.05f : 0.5f, angle = 0.6283185f * static_cast<float>(i);
      points[i] = {radius * std::sin(angle), radius * std::cos(angle)};
    }
    return points;
  }();
  return polygon_distance(p, corners);
}
// A square on its corner between two discs.
float heart(Point p) {
  p.x = std::fabs(p.x);
  const Point turned = {(p.x + p.y + 0.2f) * 0.7071068f, (p.y + 0.2f - p.x) * 0.7071068f};
  const float lobe = length(p - Point{0.41f, 0.31f}) - 0.54f;
  return std::min(lobe, box_distance(turned, 0.52f, 0.52f));
}
float stripes(Point p) {
  const float y = std::fabs(p.y);
  return std::min(box_distance({p.x, y}, 0.82f, 0.18f),
                  box_distance({p.x, y - 0.62f}, 0.82f, 0.18f));
}

struct Shape {
  const char* name;
  float (*distance)(Point);
  float turn;  // largest rotation, radians: small if a rotated shape looks like another
};

constexpr std::array<Shape, 8> kShapes = {{
    {"disc", disc, 3.14f},
    {"square", square, 0.35f},
    {"triangle", triangle, 0.35f},
    {"ring", ring, 3.14f},
    {"cross", cross, 0.35f},
    {"star", star, 0.3f},
    {"heart", heart, 0.3f},
    {"stripes", stripes, 0.35f},
}};

enum class Pattern { kFlat, kGradient, kTwoTone };

// All random parameters of one image.
struct Scene {
  const Shape* shape;
  Point centre;  // in units of the shorter side, from the image's centre
  float radius;  // likewise
  float cosine, sine;
  Colour background[2];  // at the two ends of the gradient
  Colour paint[2];
  Pattern pattern;
  Point gradient;  // its direction
};

Scene draw_scene(int64_t index, ImageShape size, RngKey key) {
  RngStream random(key, static_cast<uint64_t>(index));
  const auto between = [&](double low, double high) {
    return static_cast<float>(random.uniform(low, high));
  };
  Scene scene{};
  scene.shape = &kShapes[index % kShapes.size()];
  scene.radius = between(0.36, 0.45);
  const float shorter = static_cast<float>(std::min(size.height, size.width));
  const float room_x = 0.5f * static_cast<float>(size.width) / shorter - scene.radius - 0.02f;
  const float room_y = 0.5f * static_cast<float>(size.height) / shorter - scene.radius - 0.02f;
  scene.centre = {between(-room_x, room_x), between(-room_y, room_y)};
  const float turn = between(-scene.shape->turn, scene.shape->turn);
  scene.cosine = std::cos(turn);
  scene.sine = std::sin(turn);

  // Light shapes on dark grounds and dark shapes on light grounds, the hues a quarter turn or more
  // apart. Grey images have the same lightness without the saturation.
  const float colourful = size.channels == 1 ? 0.0f : 1.0f;
  const bool dark = random.uniform() < 0.5;
  const float ground_hue = between(0, 1);
  const float ground = dark ? between(0.10, 0.22) : between(0.82, 0.92);
  const float slope = between(0.02, 0.07);
  scene.background[0] = from_hsl(ground_hue, 0.45f * colourful, ground - slope);
  scene.background[1] = from_hsl(ground_hue, 0.45f * colourful, ground + slope);
  const float hue = ground_hue + between(0.25, 0.75);
  const float lightness = dark ? between(0.60, 0.70) : between(0.36, 0.46);
  constexpr std::array<Pattern, 4> kPatterns = {Pattern::kFlat, Pattern::kGradient,
                                                Pattern::kGradient, Pattern::kTwoTone};
  scene.pattern = kPatterns[random.below(kPatterns.size())];
  const float spread = scene.pattern == Pattern::kFlat ? 0.0f : 0.09f;
  const float second_hue = scene.pattern == Pattern::kTwoTone ? hue + 0.06f : hue;
  scene.paint[0] = from_hsl(hue, 0.8f * colourful, lightness - spread);
  scene.paint[1] = from_hsl(second_hue, 0.8f * colourful, lightness + spread);
  const float angle = between(0, 6.2831853);
  scene.gradient = {std::cos(angle), std::sin(angle)};
  return scene;
}

// p in units of the shorter side, from the image's centre, y up; pixel: a pixel's width.
Colour shade(const Scene& scene, Point p, float pixel) {
  const float slope = 0.5f + p.x * scene.gradient.x + p.y * scene.gradient.y;
  const Colour background =
      blend(scene.background[0], scene.background[1], std::clamp(slope, 0.0f, 1.0f));
  const Point q = p - scene.centre;
  const Point local = {(scene.cosine * q.x + scene.sine * q.y) / scene.radius,
                       (scene.cosine * q.y - scene.sine * q.x) / scene.radius};
  // The distance in pixels gives the covered fraction of the pixel.
  const float scale = scene.radius / pixel;
  const float coverage = std::clamp(0.5f - scene.shape->distance(local) * scale, 0.0f, 1.0f);
  const float across = local.x * scene.gradient.x + local.y * scene.gradient.y;
  const float tone =
      scene.pattern == Pattern::kTwoTone ? 0.5f + across * scale : 0.5f + 0.5f * across;
  const Colour paint = blend(scene.paint[0], scene.paint[1], std::clamp(tone, 0.0f, 1.0f));
  return blend(background, paint, coverage);
}

uint8_t quantize(float value) {
  return static_cast<uint8_t>(std::lround(std::clamp(value, 0.0f, 1.0f) * 255.0f));
}

// Renders an image: `shade` gives the colour at p, in units of the shorter side from the image's
// centre, y up. `pixel` is a pixel's width in these units. Grey images use the red channel.
template <class Shade>
torch::Tensor rendered(ImageShape shape, const Shade& shade) {
  const auto [channels, height, width] = shape;
  torch::Tensor image = torch::empty({channels, height, width}, torch::kUInt8);
  uint8_t* out = image.data_ptr<uint8_t>();
  const float pixel = 1.0f / static_cast<float>(std::min(height, width));
  const int64_t plane = height * width;
  for (int64_t i = 0; i < plane; ++i) {
    const float x = static_cast<float>(i % width) + 0.5f - 0.5f * static_cast<float>(width);
    const float y = 0.5f * static_cast<float>(height) - static_cast<float>(i / width) - 0.5f;
    const Colour colour = shade(Point{x * pixel, y * pixel}, pixel);
    out[i] = quantize(colour.r);
    if (channels == 1) continue;
    out[plane + i] = quantize(colour.g);
    out[2 * plane + i] = quantize(colour.b);
  }
  return image;
}

void check_procedural(int64_t size, ImageShape shape) {
  TORCH_CHECK(size > 0, "a procedural data set needs at least one image, not ", size);
  TORCH_CHECK(shape.channels == 1 || shape.channels == 3,
              "procedural images have 1 or 3 channels, not ", shape.channels);
  TORCH_CHECK(shape.height >= 8 && shape.width >= 8, "procedural images are at least 8x8, not ",
              shape.height, "x", shape.width);
}

// Rec. 601.
Colour grey(Colour c) {
  const float light = 0.299f * c.r + 0.587f * c.g + 0.114f * c.b;
  return {light, light, light};
}

}  // namespace

ProceduralImages::ProceduralImages(int64_t size, ImageShape shape, uint64_t seed)
    : size_(size), shape_(shape), key_(rng_key(seed, Purpose::kProcedural)) {
  check_procedural(size, shape);
}

Example ProceduralImages::get(int64_t index) const {
  TORCH_CHECK(index >= 0 && index < size_, "image ", index, " of ", size_);
  return {draw(index), index % class_count()};
}

int64_t ProceduralShapes::class_count() const { return kShapes.size(); }

std::vector<std::string> ProceduralShapes::class_names() const {
  std::vector<std::string> names;
  for (const Shape& shape : kShapes) names.emplace_back(shape.name);
  return names;
}

torch::Tensor ProceduralShapes::draw(int64_t index) const {
  const Scene scene = draw_scene(index, shape(), key());
  const auto colour_at = [&](Point p, float pixel) { return shade(scene, p, pixel); };
  return rendered(shape(), colour_at);
}

std::string ProceduralShapes::description() const {
  return "procedural shapes: " + describe_contents();
}

int64_t ProceduralScenes::class_count() const { return scene_kinds().size(); }

std::vector<std::string> ProceduralScenes::class_names() const {
  std::vector<std::string> names;
  for (const SceneKind& kind : scene_kinds()) names.emplace_back(kind.name);
  return names;
}

torch::Tensor ProceduralScenes::draw(int64_t index) const {
  RngStream random(key(), static_cast<uint64_t>(index));
  const Picture picture = scene_kinds()[index % class_count()].compose(random);
  const auto colour_at = [&](Point p, float pixel) {
    const Colour colour = picture({2.0f * p.x, 2.0f * p.y}, 2.0f * pixel);
    return shape().channels == 1 ? grey(colour) : colour;
  };
  return rendered(shape(), colour_at);
}

std::string ProceduralScenes::description() const {
  return "procedural scenes: " + describe_contents();
}

}  // namespace ddpm::data
