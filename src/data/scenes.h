#pragma once

#include "ddpm/base/rng.h"
#include "drawing.h"

#include <array>
#include <functional>

namespace ddpm::data {

/// A picture as a function: the colour at p in [-1,1]^2 (y up) of a pixel of width `pixel`.
using Picture = std::function<drawing::Colour(drawing::Point p, float pixel)>;

/// A kind of small painting. compose() draws all random parameters of one of them.
struct SceneKind {
  const char* name;
  Picture (*compose)(RngStream& random);
};

/// planet, flower, mushroom, fish, house, tree, face, boat.
const std::array<SceneKind, 8>& scene_kinds();

}  // namespace ddpm::data
