#include "ddpm/pipeline/picture_subset.h"

#include "ddpm/base/error.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::pipeline {
namespace {

// Leaves these of its images, with their rows of given noise.
void leave_(sample::GenerateOptions& generate, const std::vector<int64_t>& images) {
  const std::vector<int64_t> wanted = std::exchange(generate.images, images);
  std::vector<int64_t> rows;  // of the images that are left
  for (size_t i = 0; i < wanted.size() && rows.size() < generate.images.size(); ++i)
    if (wanted[i] == generate.images[rows.size()]) rows.push_back(static_cast<int64_t>(i));
  const auto keep_rows_ = [&](torch::Tensor& noise, int64_t dimension) {
    if (noise.defined())
      noise = noise.index_select(dimension, torch::tensor(rows, torch::kLong).to(noise.device()));
  };
  keep_rows_(generate.initial_noise, 0);
  keep_rows_(generate.step_noise, 1);
}

}  // namespace

int64_t keep_existing(const sample::PictureFolder& folder, sample::GenerateOptions& generate) {
  const std::vector<int64_t> wanted = generate.images;
  leave_(generate, folder.missing(wanted, {generate.channels, generate.height, generate.width}));
  const int64_t kept = std::ssize(wanted) - std::ssize(generate.images);
  if (kept > 0) spdlog::info("{} of {} images already exist", kept, wanted.size());
  return kept;
}

std::vector<int64_t> only_images(const SampleOptions& options, const SamplePlan& plan) {
  if (options.only.empty()) return {};
  return image_numbers("--only", options.only, plan.config.num);
}

void leave_batches_of_only_(const SampleOptions& options, SamplePlan& plan) {
  sample::GenerateOptions& generate = plan.generate;
  const std::vector<int64_t> only = only_images(options, plan);
  if (only.empty()) return;
  if (!options.in_batch.empty()) {
    const auto batch = image_numbers("--in-batch", options.in_batch, plan.config.num);
    if (!std::includes(batch.begin(), batch.end(), only.begin(), only.end()))
      throw UsageError(fmt::format("--in-batch {}: must hold the images of --only {}",
                                   options.in_batch, options.only));
    leave_(generate, batch);
    generate.batch = std::ssize(batch);
    return;
  }
  std::vector<int64_t> images;
  for (const int64_t image : generate.images)
    if (std::any_of(only.begin(), only.end(),
                    [&](int64_t i) { return i / generate.batch == image / generate.batch; }))
      images.push_back(image);
  leave_(generate, images);
}

void write_batch(sample::PictureWriter& writer, const PictureNotes& notes,
                 const std::vector<int64_t>& batch, const std::vector<int64_t>& only,
                 const torch::Tensor& pixels) {
  std::vector<int64_t> images, rows;
  std::vector<std::vector<io::PngText>> texts;
  for (size_t row = 0; row < batch.size(); ++row) {
    if (!only.empty() && !std::binary_search(only.begin(), only.end(), batch[row])) continue;
    images.push_back(batch[row]);
    rows.push_back(static_cast<int64_t>(row));
    texts.push_back(notes.of_image(batch[row], batch));
  }
  writer.write(images, pixels.index_select(0, torch::tensor(rows, torch::kLong)), texts);
}

}  // namespace ddpm::pipeline
