#include "digest.h"

#include "ddpm/base/progress.h"
#include "ddpm/eval/images.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/checksum.h"

#include <numeric>
#include <span>
#include <vector>

#include <fmt/format.h>

namespace ddpm::eval {

std::string digest_of_images(const data::Dataset& dataset) {
  const auto [channels, height, width] = dataset.shape();
  io::Sha256 digest;
  digest.add(fmt::format("{} images {}x{}x{}\n", dataset.size(), channels, height, width));
  std::vector<int64_t> all(dataset.size());
  std::iota(all.begin(), all.end(), int64_t{0});
  Progress progress("reading the reference", dataset.size());
  visit_examples(
      dataset, all, 256,
      [&](int64_t first, const torch::Tensor& images, const torch::Tensor& labels) {
        digest.add(std::span(images.const_data_ptr<uint8_t>(), images.numel()));
        digest.add(io::bytes_of(std::span(labels.const_data_ptr<int64_t>(), labels.numel())));
        progress.update(first + images.size(0));
      });
  return digest.hex();
}

}  // namespace ddpm::eval
