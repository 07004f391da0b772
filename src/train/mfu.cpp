#include "mfu.h"

#include "ddpm/base/device.h"

#include <array>
#include <string_view>
#include <utility>

namespace ddpm::train {
namespace {

// A name that begins with another one comes first.
constexpr std::array kPeaks{std::pair{std::string_view("GB200"), 2500e12},
                            std::pair{std::string_view("B200"), 2250e12},
                            std::pair{std::string_view("GH200"), 989e12},
                            std::pair{std::string_view("H200 NVL"), 835e12},
                            std::pair{std::string_view("H200"), 989e12},
                            std::pair{std::string_view("H100 PCIe"), 756e12},
                            std::pair{std::string_view("H100 NVL"), 835e12},
                            std::pair{std::string_view("H100"), 989e12},
                            std::pair{std::string_view("A100"), 312e12},
                            std::pair{std::string_view("A800"), 312e12},
                            std::pair{std::string_view("A30"), 165e12},
                            std::pair{std::string_view("A40"), 149.7e12},
                            std::pair{std::string_view("A10"), 125e12},
                            std::pair{std::string_view("L40S"), 362e12},
                            std::pair{std::string_view("L40"), 181e12},
                            std::pair{std::string_view("L4"), 121e12},
                            std::pair{std::string_view("RTX A6000"), 154.8e12},
                            std::pair{std::string_view("RTX 5090"), 209.5e12},
                            std::pair{std::string_view("RTX 4090"), 165.2e12},
                            std::pair{std::string_view("RTX 3090"), 71e12}};

// Whether `name` holds `model` as words of its own: "A10" is not "A100", nor "A10G".
bool names_model(std::string_view name, std::string_view model) {
  for (size_t at = name.find(model); at != std::string_view::npos; at = name.find(model, at + 1)) {
    const size_t end = at + model.size();
    const bool begins = at == 0 || name[at - 1] == ' ';
    if (begins && (end == name.size() || name[end] == ' ' || name[end] == '-')) return true;
  }
  return false;
}

}  // namespace

double peak_bf16_flops(const std::string& name) {
  if (name.find("Laptop") != std::string::npos) return 0.0;  // another chip of the same name
  for (const auto& [model, flops] : kPeaks)
    if (names_model(name, model)) return flops;
  return 0.0;
}

double peak_flops(const torch::Device& device, nn::Precision precision) {
  if (!device.is_cuda() || precision != nn::Precision::kBf16) return 0.0;
  const CudaDriver driver = read_cuda_driver();
  const auto index = static_cast<size_t>(device.has_index() ? device.index() : 0);
  return index < driver.gpus.size() ? peak_bf16_flops(driver.gpus[index].name) : 0.0;
}

}  // namespace ddpm::train
