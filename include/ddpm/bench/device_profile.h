#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <c10/core/Device.h>

namespace ddpm::bench {

/// All runs of one GPU kernel, copy or fill.
struct KernelTotal {
  std::string name;  ///< without the namespace and template arguments that say nothing
  std::string group;
  int64_t calls = 0;
  double seconds = 0.0;
};

/// What a GPU did during some work, as Kineto (torch's profiler) records it.
struct DeviceProfile {
  double span_s = 0.0;               ///< from the first kernel's begin to the last one's end
  double busy_s = 0.0;               ///< of that, with at least one kernel running
  std::vector<KernelTotal> kernels;  ///< longest first
};

/// The group that a kernel belongs to, by the libraries' names: "convolutions", "products",
/// "attention", "norms", "optimizer", "random", "reductions", "copies", "elementwise".
std::string group_of(std::string_view kernel);

/// Runs `work`, waits for the device, and returns what the GPU did. CUDA graphs are taken apart.
/// `trace`, if not empty: a file in Chrome's trace format (chrome://tracing, ui.perfetto.dev), on
/// a CPU as well, whose profile is empty. Throws c10::Error if the profiler cannot be started and
/// IoError if the trace cannot be written.
DeviceProfile profile_device(const c10::Device& device, const std::function<void()>& work,
                             const std::filesystem::path& trace = {});

}  // namespace ddpm::bench
