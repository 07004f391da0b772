#include "ddpm/base/device.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"

#include <fmt/format.h>
#include <torch/cuda.h>

namespace ddpm {

torch::Device parse_device(const std::string& name) {
  if (name == "auto")
    return torch::cuda::is_available() ? torch::Device(torch::kCUDA, 0) : torch::kCPU;
  if (name == "cpu") return torch::kCPU;
  int64_t index = 0;
  const bool numbered =
      name.starts_with("cuda:") && name.size() < 9 && is_digits(std::string_view(name).substr(5));
  if (numbered) index = std::stoll(name.substr(5));
  if (name != "cuda" && !numbered) {
    throw UsageError(fmt::format("device \"{}\" is unknown; use auto, cpu, cuda or cuda:N", name));
  }
  const auto count = static_cast<int64_t>(torch::cuda::device_count());
  if (index >= count) {
    throw UsageError(fmt::format("device \"{}\" does not exist: {}; use auto or cpu", name,
                                 count == 0
                                     ? "no usable CUDA GPU was found"
                                     : fmt::format("the GPUs are cuda:0 to cuda:{}", count - 1)));
  }
  return torch::Device(torch::kCUDA, static_cast<torch::DeviceIndex>(index));
}

std::string describe_device(const torch::Device& device) {
  const int threads = at::get_num_threads();
  return device.is_cpu() ? "the CPU, " + counted(threads, "thread")
                         : fmt::format("{}, {}", device.str(), counted(threads, "CPU thread"));
}

}  // namespace ddpm
