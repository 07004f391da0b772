#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <c10/core/Device.h>

namespace ddpm::bench {

/// The total of all calls of one operation.
struct OpTotal {
  int64_t calls = 0;
  double self_s = 0.0;  ///< without nested calls; on CUDA: the time to enqueue it
};

/// The shapes and FLOPs of a convolution, matrix product or attention.
struct OpShape {
  std::string op;
  std::vector<int64_t> input, weight;  ///< for a convolution [B,C,H,W] and [O,C,kh,kw]
  std::vector<int64_t> stride, padding;
  double flops = 0.0;  ///< two per multiply-add
  bool operator==(const OpShape&) const = default;
};

/// While it exists, records the operations of the tensor library and of this program that this
/// thread starts, including backward passes in autograd's threads. Only one recorder at a time per
/// process; a second one throws c10::Error. Destroy it after those backward passes have ended.
class OpRecorder {
 public:
  OpRecorder();
  ~OpRecorder();
  OpRecorder(const OpRecorder&) = delete;
  OpRecorder& operator=(const OpRecorder&) = delete;

  const std::map<std::string, OpTotal>& totals() const;
  /// Convolutions, matrix products and attention, in the order of the calls. Nested calls are not
  /// counted again.
  const std::vector<OpShape>& shapes() const;
  double flops() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
  uint64_t handle_;
};

/// The total of all runs of one GPU kernel, copy or fill.
struct KernelTotal {
  std::string name;  ///< shortened
  std::string group;
  int64_t calls = 0;
  double seconds = 0.0;
};

/// The GPU's activity during some work, recorded by Kineto (torch's profiler).
struct DeviceProfile {
  double span_s = 0.0;               ///< from the start of the first kernel to the end of the last
  double busy_s = 0.0;               ///< the part of it with at least one kernel running
  std::vector<KernelTotal> kernels;  ///< longest first
};

/// A kernel's group, found by words in its name: "convolutions", "products", "attention", "norms",
/// "optimizer", "random", "reductions", "copies", "elementwise".
std::string group_of(std::string_view kernel);

/// Runs `work`, waits for the device, and returns the GPU's activity. The kernels of a CUDA graph
/// are listed one by one. On a CPU the profile is empty. If `trace` is not empty, also writes this
/// file in Chrome's trace format (chrome://tracing, ui.perfetto.dev), on a CPU as well. Throws
/// c10::Error if the profiler cannot be started, and IoError if the trace cannot be written.
DeviceProfile profile_device(const c10::Device& device, const std::function<void()>& work,
                             const std::filesystem::path& trace = {});

}  // namespace ddpm::bench
