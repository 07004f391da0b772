#include "data_identity.h"

#include "ddpm/base/error.h"
#include "ddpm/data/statistics.h"
#include "ddpm/io/checksum.h"

#include <cstdint>
#include <span>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

namespace ddpm::cli {
namespace {

constexpr int64_t kImages = 32;

uint32_t add(uint32_t sum, const void* bytes, size_t count) {
  return io::crc32c(std::span(static_cast<const uint8_t*>(bytes), count), sum);
}

}  // namespace

std::string data_identity(const data::Dataset& dataset) {
  uint32_t sum = 0;
  for (const int64_t index : data::spread_indices(dataset.size(), kImages)) {
    try {
      const data::Example example = dataset.get(index);
      const torch::Tensor pixels = example.image.contiguous();
      sum = add(sum, pixels.const_data_ptr(), pixels.nbytes());
      sum = add(sum, &example.label, sizeof example.label);
    } catch (const IoError&) {  // training says so when it comes to this image
      sum = add(sum, &index, sizeof index);
    }
  }
  return fmt::format("{}; classes [{}]; checksum {:08x}", dataset.description(),
                     fmt::join(dataset.class_names(), ", "), sum);
}

}  // namespace ddpm::cli
