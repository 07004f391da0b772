#include "ddpm/train/micro_batch.h"

#include "ddpm/base/error.h"

#include <algorithm>
#include <array>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>

#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <torch/utils.h>

namespace ddpm::train {
namespace {

bool fits(int64_t count, const std::function<void(int64_t)>& attempt) {
  try {
    attempt(count);
    return true;
  } catch (const std::exception& error) {
    if (!is_out_of_memory(error)) throw;
    return false;
  }
}

int64_t divisor_at_most(int64_t number, int64_t limit) {
  while (number % limit != 0) --limit;
  return limit;
}

}  // namespace

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  if (dynamic_cast<const std::length_error*>(&error) != nullptr) return true;  // std::vector's
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  if (torch_error == nullptr) return false;
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return true;
  // The CPU's allocator, sizes beyond 64 bits and GPU libraries throw no specific exception type.
  constexpr std::array<std::string_view, 6> kSigns{
      "DefaultCPUAllocator: ",      "Storage size calculation overflowed",
      "multiplication overflow",    "CUDA error: out of memory",
      "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"};
  const std::string message = torch_error->msg();
  return std::any_of(kSigns.begin(), kSigns.end(), [&](std::string_view sign) {
    return message.find(sign) != std::string::npos;
  });
}

int64_t largest_that_fits(int64_t share, int64_t first, const torch::Device& device,
                          const std::function<void(int64_t count)>& attempt) {
  TORCH_CHECK(first >= 1 && share % first == 0, first, " does not divide ", share);
  for (int64_t count = first;;) {
    if (fits(count, attempt)) return count;
    if (device.is_cuda()) c10::getDeviceAllocator(device.type())->emptyCache();
    if (count == 1) {
      throw Error(fmt::format(
          "not even one image at a time fits into the memory of {}; use smaller images or a "
          "narrower network (model.channels), or a device with more memory",
          device.str()));
    }
    const int64_t next = divisor_at_most(share, count / 2);
    spdlog::info("{} images at a time do not fit into the memory of {}: trying {}", count,
                 device.str(), next);
    count = next;
  }
}

}  // namespace ddpm::train
