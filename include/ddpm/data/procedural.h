#pragma once

#include "ddpm/base/philox.h"
#include "ddpm/data/dataset.h"

#include <memory>

namespace ddpm::data {

/// Coloured shapes on a soft background, drawn when asked for: image i is a function of (seed, i,
/// shape) alone, so nothing is downloaded or stored. One bold, anti-aliased shape an image; its
/// class is i modulo the number of classes; place, size, turn, colours, gradient and pattern are
/// random.
class ProceduralShapes final : public Dataset {
 public:
  /// shape.channels is 1 or 3; height and width are at least 8.
  ProceduralShapes(int64_t size, ImageShape shape, uint64_t seed);

  int64_t size() const override { return size_; }
  ImageShape shape() const override { return shape_; }
  int64_t class_count() const override;
  std::vector<std::string> class_names() const override;
  Example get(int64_t index) const override;
  std::string description() const override;

 private:
  int64_t size_;
  ImageShape shape_;
  RngKey key_;
};

/// Small paintings, drawn when asked for as the shapes are: planets, flowers, mushrooms, fish,
/// houses, trees, faces and boats, each with its own colours, hour, sizes and moods. They are made
/// for 24 pixels and more; the network sees what a person would call a picture.
class ProceduralScenes final : public Dataset {
 public:
  /// shape.channels is 1 or 3; height and width are at least 8.
  ProceduralScenes(int64_t size, ImageShape shape, uint64_t seed);

  int64_t size() const override { return size_; }
  ImageShape shape() const override { return shape_; }
  int64_t class_count() const override;
  std::vector<std::string> class_names() const override;
  Example get(int64_t index) const override;
  std::string description() const override;

 private:
  int64_t size_;
  ImageShape shape_;
  RngKey key_;
};

}  // namespace ddpm::data
