#pragma once

#include "ddpm/base/philox.h"
#include "ddpm/data/dataset.h"

#include <memory>

namespace ddpm::data {

/// Images that are drawn on demand: image i is a function of (seed, i, shape) alone, and nothing is
/// downloaded or stored. Its class is i modulo the number of classes.
class ProceduralImages : public Dataset {
 public:
  int64_t size() const override { return size_; }
  ImageShape shape() const override { return shape_; }
  Example get(int64_t index) const override;

 protected:
  /// shape.channels is 1 or 3; height and width are at least 8.
  ProceduralImages(int64_t size, ImageShape shape, uint64_t seed);

  const RngKey& key() const { return key_; }

 private:
  /// uint8 [C,H,W]; index is one of 0..size-1.
  virtual torch::Tensor draw(int64_t index) const = 0;

  int64_t size_;
  ImageShape shape_;
  RngKey key_;
};

/// Coloured shapes on a soft background: one anti-aliased shape per image, with random position,
/// size, rotation, colours, gradient and pattern.
class ProceduralShapes final : public ProceduralImages {
 public:
  ProceduralShapes(int64_t size, ImageShape shape, uint64_t seed)
      : ProceduralImages(size, shape, seed) {}

  int64_t class_count() const override;
  std::vector<std::string> class_names() const override;
  std::string description() const override;

 private:
  torch::Tensor draw(int64_t index) const override;
};

/// Small paintings: planets, flowers, mushrooms, fish, houses, trees, faces and boats, with random
/// colours, times of day, sizes and moods. For images of at least 24 pixels.
class ProceduralScenes final : public ProceduralImages {
 public:
  ProceduralScenes(int64_t size, ImageShape shape, uint64_t seed)
      : ProceduralImages(size, shape, seed) {}

  int64_t class_count() const override;
  std::vector<std::string> class_names() const override;
  std::string description() const override;

 private:
  torch::Tensor draw(int64_t index) const override;
};

}  // namespace ddpm::data
