#include "ddpm/base/error.h"
#include "ddpm/data/dataset.h"
#include "ddpm/data/statistics.h"
#include "ddpm/io/checksum.h"

#include <cstdint>
#include <span>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

constexpr int64_t kIdentityImages = 32;

uint32_t extended(uint32_t sum, const void* bytes, size_t count) {
  return io::crc32c(std::span(static_cast<const uint8_t*>(bytes), count), sum);
}

}  // namespace

std::string identity_of(const Dataset& dataset) {
  uint32_t sum = 0;
  for (const int64_t index : spread_indices(dataset.size(), kIdentityImages)) {
    try {
      const Example example = dataset.get(index);
      const torch::Tensor pixels = example.image.contiguous();
      sum = extended(sum, pixels.const_data_ptr(), pixels.nbytes());
      sum = extended(sum, &example.label, sizeof example.label);
    } catch (const IoError&) {  // training reports it when it reads this image
      sum = extended(sum, &index, sizeof index);
    }
  }
  if (const torch::Tensor vectors = dataset.vectors(); vectors.defined())
    sum = extended(sum, vectors.const_data_ptr(), vectors.nbytes());
  return fmt::format("{}; classes [{}]; checksum {:08x}", dataset.description(),
                     fmt::join(dataset.class_names(), ", "), sum);
}

}  // namespace ddpm::data
