#include "ddpm/eval/images.h"

#include "ddpm/data/batch_source.h"

#include <algorithm>
#include <functional>
#include <future>
#include <span>

namespace ddpm::eval {

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
    sink(first, read.images, read.labels);
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

}  // namespace ddpm::eval
