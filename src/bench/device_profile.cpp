#include "ddpm/base/error.h"
#include "ddpm/bench/profile.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/profiler_kineto.h>
#include <torch/cuda.h>

namespace ddpm::bench {
namespace {

namespace profiler = torch::autograd::profiler;
using profiler::ActivityType;

// GPU activities in libkineto's enum ActivityType.
constexpr uint8_t kGpuMemcpy = 3, kGpuMemset = 4, kConcurrentKernel = 5;

bool is_work(const profiler::KinetoEvent& event) {
  const uint8_t type = event.activityType();
  return event.deviceType() == c10::DeviceType::CUDA &&
         (type == kGpuMemcpy || type == kGpuMemset || type == kConcurrentKernel);
}

struct Group {
  const char* name;
  std::vector<std::string_view> words;
};

// A kernel belongs to the first group that has a word in the kernel's name.
const std::vector<Group>& groups() {
  static const std::vector<Group> all{
      {"optimizer", {"multi_tensor_apply", "Adam", "adam", "Lerp"}},
      {"norms",
       {"::slab_", "moments_kernel", "finish_forward", "finish_backward", "apply_kernel",
        "sums_kernel", "gradient_kernel", "group_norm", "GroupNorm"}},
      {"attention", {"fmha", "flash", "attention", "_mha_"}},
      {"convolutions",
       {"fprop", "dgrad", "wgrad", "conv", "thin_to_wide", "wide_to_thin", "products_kernel",
        "cudnn", "winograd", "nchwToNhwc", "nhwcToNchw"}},
      {"products", {"gemm", "nvjet", "cutlass", "splitK", "gemv", "cublas"}},
      {"random", {"distribution", "normal_kernel", "uniform_int", "dropout"}},
      {"reductions", {"reduce_kernel"}},
      {"copies", {"Memcpy", "Memset", "copy", "CatArray", "FillFunctor", "LoadWithCast"}}};
  return all;
}

// Removes "void " and common namespaces, and limits the length.
std::string short_name(std::string name) {
  constexpr size_t kLongest = 110;
  if (name.starts_with("void ")) name.erase(0, 5);
  for (const std::string_view noise :
       {"at::native::", "(anonymous namespace)::", "ddpm::kernels::"}) {
    for (size_t at = name.find(noise); at != std::string::npos; at = name.find(noise))
      name.erase(at, noise.size());
  }
  if (name.size() > kLongest) name.resize(kLongest);
  return name;
}

// The length of the union of the intervals. Kernels on several streams can overlap.
uint64_t covered_ns(std::vector<std::pair<uint64_t, uint64_t>> intervals) {
  std::sort(intervals.begin(), intervals.end());
  uint64_t sum = 0, end = 0;
  for (const auto& [from, to] : intervals) {
    if (to <= end) continue;
    sum += to - std::max(from, end);
    end = to;
  }
  return sum;
}

DeviceProfile summary_of(const std::vector<profiler::KinetoEvent>& events) {
  std::map<std::string, KernelTotal> totals;
  std::vector<std::pair<uint64_t, uint64_t>> intervals;
  for (const profiler::KinetoEvent& event : events) {
    if (!is_work(event)) continue;
    const std::string name = event.name();
    KernelTotal& total = totals[short_name(name)];
    if (total.calls++ == 0) total.group = group_of(name);
    total.seconds += 1e-9 * static_cast<double>(event.durationNs());
    intervals.emplace_back(event.startNs(), event.endNs());
  }
  DeviceProfile profile;
  if (intervals.empty()) return profile;
  uint64_t begin = intervals.front().first, end = 0;
  for (const auto& [from, to] : intervals) begin = std::min(begin, from), end = std::max(end, to);
  profile.span_s = 1e-9 * static_cast<double>(end - begin);
  profile.busy_s = 1e-9 * static_cast<double>(covered_ns(std::move(intervals)));
  for (auto& [name, total] : totals) {
    total.name = name;
    profile.kernels.push_back(std::move(total));
  }
  std::sort(profile.kernels.begin(), profile.kernels.end(),
            [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return profile;
}

void save(profiler::ProfilerResult& result, const std::filesystem::path& trace) {
  std::error_code ignored;
  std::filesystem::remove(trace, ignored);
  result.save(trace.string());  // does not report errors
  if (!std::filesystem::exists(trace, ignored) || std::filesystem::file_size(trace, ignored) == 0)
    throw IoError(trace, "the trace cannot be written");
}

}  // namespace

std::string group_of(std::string_view kernel) {
  for (const Group& group : groups()) {
    for (const std::string_view word : group.words) {
      if (kernel.find(word) != std::string_view::npos) return group.name;
    }
  }
  return "elementwise";
}

DeviceProfile profile_device(const c10::Device& device, const std::function<void()>& work,
                             const std::filesystem::path& trace) {
  std::set<ActivityType> activities;
  if (device.is_cuda()) activities.insert(ActivityType::CUDA);
  if (device.is_cpu()) activities.insert(ActivityType::CPU);
  const profiler::ProfilerConfig config(profiler::ProfilerState::KINETO);
  const auto wait = [&] {
    if (device.is_cuda()) torch::cuda::synchronize(device.index());
  };
  wait();
  profiler::prepareProfiler(config, activities);
  profiler::enableProfiler(config, activities);
  work();
  wait();
  const std::unique_ptr<profiler::ProfilerResult> result = profiler::disableProfiler();
  if (!trace.empty()) save(*result, trace);
  return summary_of(result->events());
}

}  // namespace ddpm::bench
