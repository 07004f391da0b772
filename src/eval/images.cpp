#include "ddpm/eval/images.h"

#include "ddpm/data/factory.h"
#include "ddpm/data/loader.h"
#include "ddpm/data/transform.h"

#include <algorithm>
#include <functional>
#include <future>
#include <span>

namespace ddpm::eval {

std::unique_ptr<data::Dataset> open_images(const std::filesystem::path& path) {
  data::DataConfig config;
  config.path = path;
  config.has_config = false;
  return data::open_dataset(config, 0);
}

void visit_examples(const data::Dataset& dataset, const std::vector<int64_t>& images, int64_t batch,
                    const ExampleSink& sink) {
  const auto total = static_cast<int64_t>(images.size());
  const auto start = [&](int64_t first) {
    const auto indices = std::span(images).subspan(first, std::min(batch, total - first));
    return std::async(std::launch::async, data::read_batch, std::cref(dataset), indices);
  };
  std::future<data::Batch> next;
  if (total > 0) next = start(0);
  for (int64_t first = 0; first < total; first += batch) {
    const data::Batch read = next.get();
    if (first + batch < total) next = start(first + batch);
    sink(first, data::rounded_levels(read.images), read.labels);
  }
}

ImageSource images_of(const data::Dataset& dataset, int64_t batch) {
  return [&dataset, batch](const std::vector<int64_t>& images, const ImageSink& sink) {
    visit_examples(dataset, images, batch,
                   [&](int64_t first, const torch::Tensor& pixels, const torch::Tensor&) {
                     sink(first, pixels);
                   });
  };
}

ImageSource also_to(ImageSource source, ImageSink also) {
  return [source = std::move(source), also = std::move(also)](const std::vector<int64_t>& images,
                                                              const ImageSink& sink) {
    source(images, [&](int64_t first, const torch::Tensor& batch) {
      also(first, batch);
      sink(first, batch);
    });
  };
}

ImageSource keep_first(ImageSource source, int64_t count, std::vector<torch::Tensor>& kept) {
  return also_to(std::move(source), [count, &kept](int64_t first, const torch::Tensor& batch) {
    for (int64_t i = 0; first + i < count && i < batch.size(0); ++i)
      kept.push_back(batch[i].clone());
  });
}

}  // namespace ddpm::eval
