#include "ddpm/eval/images.h"

#include <algorithm>
#include <future>
#include <utility>

namespace ddpm::eval {
namespace {

using Batch = std::pair<torch::Tensor, torch::Tensor>;  // images, labels

Batch read(const data::Dataset& dataset, const std::vector<int64_t>& images, int64_t first,
           int64_t count) {
  std::vector<torch::Tensor> pixels;
  std::vector<int64_t> labels;
  for (int64_t i = first; i < first + count; ++i) {
    data::Example example = dataset.get(images[i]);
    pixels.push_back(std::move(example.image));
    labels.push_back(example.label);
  }
  return {torch::stack(pixels).contiguous(), torch::tensor(labels, torch::kLong)};
}

}  // namespace

void visit_examples(const data::Dataset& dataset, const std::vector<int64_t>& images, int64_t batch,
                    const ExampleSink& sink) {
  const auto total = static_cast<int64_t>(images.size());
  const auto start = [&](int64_t first) {
    return std::async(std::launch::async, read, std::cref(dataset), std::cref(images), first,
                      std::min(batch, total - first));
  };
  std::future<Batch> next;
  if (total > 0) next = start(0);
  for (int64_t first = 0; first < total; first += batch) {
    const auto [pixels, labels] = next.get();
    if (first + batch < total) next = start(first + batch);
    sink(first, pixels, labels);
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
