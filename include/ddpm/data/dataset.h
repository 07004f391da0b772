#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
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

/// Sizes of the stored images, before scaling.
struct SizeRange {
  int64_t min_height = 0, max_height = 0;
  int64_t min_width = 0, max_width = 0;
  bool operator==(const SizeRange&) const = default;
};

struct Example {
  /// [C,H,W], levels of 0..255: uint8, or float32 with fractions (Dataset::pixel_type).
  torch::Tensor image;
  int64_t label = -1;  ///< 0..class_count-1, or -1 without labels
};

/// A fixed number of labelled images of one shape.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  virtual ImageShape shape() const = 0;
  /// uint8, or float32 if images keep more than 8 bits (ImageOptions::depth).
  virtual torch::Dtype pixel_type() const { return torch::kByte; }
  /// 0 if the images have no labels.
  virtual int64_t class_count() const = 0;
  /// class_count() names.
  virtual std::vector<std::string> class_names() const = 0;
  /// Image 0 <= index < size(), cropped to its centre. Thread-safe. Throws IoError if the image
  /// cannot be read.
  virtual Example get(int64_t index) const = 0;
  /// The same image, scaled to just cover shape(), without cropping: [C, >= H, >= W].
  virtual Example get_uncropped(int64_t index) const { return get(index); }
  /// The images' files, as paths below the data's root with '/'; empty if they are none.
  virtual std::vector<std::string> image_names() const { return {}; }
  /// The numbers that each image comes with (data.vectors): float32 [size(),D] on the CPU, finite;
  /// undefined if there are none.
  virtual torch::Tensor vectors() const { return {}; }
  /// The names of their D columns.
  virtual std::vector<std::string> vector_names() const { return {}; }
  /// The shape of all uncropped images; none if shapes differ.
  virtual std::optional<ImageShape> uncropped_shape() const { return shape(); }
  virtual SizeRange source_sizes() const;
  /// Damaged images that were left out: "file: reason", in the files' order.
  virtual std::vector<std::string> skipped() const { return {}; }
  /// Number of files that are not images, by ending (".gif", "" for none).
  virtual std::map<std::string, int64_t> passed_over() const { return {}; }
  /// Notes for the user on how the files become images: lost colours, links that were not followed.
  /// One sentence each.
  virtual std::vector<std::string> remarks() const { return {}; }
  /// Writes the known properties of the files for the next start (ImageOptions::index) if that has
  /// not all of them. Throws IoError. Does nothing for data without an index.
  virtual void save_index(const std::filesystem::path& /*file*/) const {}
  /// A checksum that identifies the images without reading them: names and sizes of their files,
  /// labels, classes, number and shape, but not their location. Eight hex digits.
  virtual std::string fingerprint() const;
  /// One line for messages: kind, count, shape, classes.
  virtual std::string description() const = 0;

 protected:
  /// "10,000 images of 28x28, 1 channel, 10 classes"
  std::string describe_contents() const;
};

/// Class names "0" to "count-1", for classes without names.
std::vector<std::string> numbered_classes(int64_t count);

/// Identifies the data, to check that all processes of a run read the same: description, classes,
/// and a checksum of some images and their labels, spread over all.
std::string identity_of(const Dataset& dataset);

}  // namespace ddpm::data
