#include "kept_images.h"

#include <algorithm>

#include <c10/util/Exception.h>

namespace ddpm::data {

LoaderOptions checked(LoaderOptions options) {
  if (options.global_batch == 0) options.global_batch = options.batch_size;
  TORCH_CHECK(options.batch_size > 0, "batch_size must be positive, not ", options.batch_size);
  TORCH_CHECK(options.first >= 0 && options.first + options.batch_size <= options.global_batch,
              "images ", options.first, " + 0..", options.batch_size - 1,
              " lie outside a global batch of ", options.global_batch);
  TORCH_CHECK(options.workers > 0, "a loader needs at least one worker, not ", options.workers);
  options.prefetch = std::max(options.prefetch, options.workers);
  return options;
}

std::optional<ImageShape> kept_shape(const Dataset& dataset, const LoaderOptions& options) {
  return options.random_crop ? dataset.uncropped_shape() : dataset.shape();
}

int64_t byte_count(ImageShape shape, torch::Dtype pixel_type) {
  return shape.channels * shape.height * shape.width *
         static_cast<int64_t>(c10::elementSize(pixel_type));
}

Example read_kept(const Dataset& dataset, const LoaderOptions& options, int64_t index) {
  return options.random_crop ? dataset.get_uncropped(index) : dataset.get(index);
}

}  // namespace ddpm::data
