#pragma once

#include "ddpm/data/dataset.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// Takes images[first], images[first + 1], ... of those asked for: uint8 [B,C,H,W] on the CPU.
using ImageSink = std::function<void(int64_t first, const torch::Tensor& batch)>;

/// A source of images to measure: passes the images of these indices to the sink, in their order.
/// They are sampled from a network or read from a data set.
using ImageSource = std::function<void(const std::vector<int64_t>& images, const ImageSink& sink)>;

/// An ImageSink that also takes labels: int64 [B], -1 if there are none.
using ExampleSink =
    std::function<void(int64_t first, const torch::Tensor& batch, const torch::Tensor& labels)>;

/// The images in a folder, zip, .npz, ... Throws IoError.
std::unique_ptr<data::Dataset> open_images(const std::filesystem::path& path);

/// Reads images of a data set, one batch ahead in a thread of its own. Throws IoError.
void visit_examples(const data::Dataset& dataset, const std::vector<int64_t>& images, int64_t batch,
                    const ExampleSink& sink);

/// The images of a data set, which must outlive the source.
ImageSource images_of(const data::Dataset& dataset, int64_t batch = 64);

/// A source of the same images that passes each batch to `also` first.
ImageSource also_to(ImageSource source, ImageSink also);

/// A source of the same images that also copies its first `count` images to `kept`, each uint8
/// [C,H,W]. `kept` must outlive the source.
ImageSource keep_first(ImageSource source, int64_t count, std::vector<torch::Tensor>& kept);

/// A set of images to measure.
struct Samples {
  ImageSource source;
  std::vector<int64_t> indices;
  data::ImageShape shape;
  std::vector<int64_t> classes = {};  ///< one per image; empty if they are unknown: see make_groups
};

/// `num` of the images at `path` (folder, zip, .npz, ...) that represent them all; none: all of
/// them. Their classes are their labels, or, in a folder of `ddpm sample`, what its record says.
/// Warns if that sampling was interrupted. Throws IoError, and UsageError if there are fewer.
Samples samples_at(const std::filesystem::path& path, std::optional<int64_t> num);

/// The class of each image if `period` classes are sampled in turn; empty if there is one or none.
std::vector<int64_t> classes_in_turn(const std::vector<int64_t>& images, int64_t period);

}  // namespace ddpm::eval
