#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/data/loader.h"

#include <cstdint>
#include <optional>

namespace ddpm::data {

/// The options with defaults filled in; c10::Error if they contradict each other.
LoaderOptions checked(LoaderOptions options);

/// Loaders keep uncropped images with options.random_crop, else cropped ones. The shape of each;
/// none if shapes differ.
std::optional<ImageShape> kept_shape(const Dataset& dataset, const LoaderOptions& options);
/// Bytes of an image.
int64_t byte_count(ImageShape shape, torch::Dtype pixel_type);
/// Image `index` as it is kept.
Example read_kept(const Dataset& dataset, const LoaderOptions& options, int64_t index);

}  // namespace ddpm::data
