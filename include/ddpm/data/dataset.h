#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::data {

struct ImageShape {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  bool operator==(const ImageShape&) const = default;
};

struct Example {
  torch::Tensor image;  ///< uint8 [C,H,W]
  int64_t label = -1;   ///< 0..class_count-1, or -1 where there are no labels
};

/// A fixed number of labelled images of one shape.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  virtual ImageShape shape() const = 0;
  /// 0 where the images have no labels.
  virtual int64_t class_count() const = 0;
  /// class_count() names.
  virtual std::vector<std::string> class_names() const = 0;
  /// Image 0 <= index < size(). Many threads may call this at once. Throws IoError where the image
  /// cannot be read.
  virtual Example get(int64_t index) const = 0;
  /// One line for people: kind, count, shape, classes.
  virtual std::string description() const = 0;

 protected:
  /// "10,000 images of 28x28, 1 channel, 10 classes"
  std::string describe_contents() const;
};

}  // namespace ddpm::data
