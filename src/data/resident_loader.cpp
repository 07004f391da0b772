#include "augmentation.h"
#include "ddpm/data/epoch_sampler.h"
#include "ddpm/data/loader.h"
#include "kept_images.h"
#include "parallel.h"

#include <vector>

#include <torch/types.h>

namespace ddpm::data {

int64_t resident_bytes(const Dataset& dataset, const LoaderOptions& options) {
  const auto shape = kept_shape(dataset, options);
  return shape ? dataset.size() * byte_count(*shape, dataset.pixel_type()) : -1;
}

class ResidentLoader::Impl {
 public:
  Impl(const Dataset& dataset, const LoaderOptions& options, const torch::Device& device);

  Batch next();
  int64_t position = 0;

 private:
  LoaderOptions options_;
  ImageShape shape_;
  EpochSampler order_;
  Augmentation augmentation_;
  torch::Tensor images_;                    // [N,C,H',W'] of the data's pixel_type
  torch::Tensor labels_;                    // int64 [N]
  torch::Tensor vectors_;                   // float32 [N,D], or undefined
  torch::Tensor channels_, rows_, mirror_;  // 0 .. C-1, 0 .. H-1, W-1 .. 0, shaped for indexing
};

ResidentLoader::Impl::Impl(const Dataset& dataset, const LoaderOptions& options,
                           const torch::Device& device)
    : options_(checked(options)),
      shape_(dataset.shape()),
      order_(dataset.size(), options.seed),
      augmentation_(options.seed, options.flip, options.random_crop) {
  const auto stored = kept_shape(dataset, options);
  TORCH_CHECK(stored, "images of many shapes cannot be resident");
  const int64_t count = dataset.size();
  images_ =
      torch::empty({count, stored->channels, stored->height, stored->width}, dataset.pixel_type());
  labels_ = torch::empty({count}, torch::kLong);
  parallel_for(count, options_.workers, "reading images", [&](int64_t, int64_t i) {
    const Example example = read_kept(dataset, options, i);
    images_[i].copy_(example.image);
    labels_.data_ptr<int64_t>()[i] = example.label;
  });
  images_ = images_.to(device);
  labels_ = labels_.to(device);
  vectors_ = dataset.vectors();
  if (vectors_.defined()) vectors_ = vectors_.to(device);
  const auto on_device = torch::dtype(torch::kLong).device(device);
  channels_ = torch::arange(shape_.channels, on_device).view({1, -1, 1, 1});
  rows_ = torch::arange(shape_.height, on_device).view({1, 1, -1, 1});
  mirror_ = torch::arange(shape_.width - 1, -1, -1, on_device).view({1, 1, 1, -1});
}

Batch ResidentLoader::Impl::next() {
  const int64_t batch = options_.batch_size, spare_rows = images_.size(2) - shape_.height,
                spare_columns = images_.size(3) - shape_.width;
  // One small table is copied to the device: index, sample, top, left, mirrored.
  const bool pinned = images_.is_cuda();
  const torch::Tensor host =
      torch::empty({5, batch}, torch::TensorOptions(torch::kLong).pinned_memory(pinned));
  auto table = host.accessor<int64_t, 2>();
  for (int64_t i = 0; i < batch; ++i) {
    const int64_t p = position * options_.global_batch + options_.first + i;
    const Augmentation::Offset offset = augmentation_.crop(p, spare_rows, spare_columns);
    table[0][i] = order_.index_of(p);
    table[1][i] = p;
    table[2][i] = offset.top;
    table[3][i] = offset.left;
    table[4][i] = augmentation_.flips(p);
  }
  ++position;
  const torch::Tensor on_device = host.to(images_.device(), /*non_blocking=*/true);
  const auto column = [&](int64_t k) { return on_device[k].view({-1, 1, 1, 1}); };
  const torch::Tensor x = torch::where(column(4) > 0, mirror_, shape_.width - 1 - mirror_);
  Batch made{images_.index({column(0), channels_, column(2) + rows_, column(3) + x}),
             labels_.index_select(0, on_device[0]), on_device[1]};
  if (vectors_.defined()) made.vectors = vectors_.index_select(0, on_device[0]);
  return made;
}

ResidentLoader::ResidentLoader(const Dataset& dataset, const LoaderOptions& options,
                               const torch::Device& device)
    : impl_(std::make_unique<Impl>(dataset, options, device)) {}
ResidentLoader::~ResidentLoader() = default;
void ResidentLoader::seek(int64_t k) { impl_->position = k; }
int64_t ResidentLoader::position() const { return impl_->position; }
Batch ResidentLoader::next() { return impl_->next(); }

}  // namespace ddpm::data
