#include "ddpm/nn/precision.h"

#include "ddpm/kernels/device.h"

#include <algorithm>
#include <cstdlib>

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <torch/utils.h>

namespace ddpm::nn {
namespace {

// cuBLAS gives the same bits each time only with a workspace of one of two sizes; this is the
// larger (NVIDIA, cuBLAS documentation, "Results reproducibility").
constexpr const char* kWorkspaceVariable = "CUBLAS_WORKSPACE_CONFIG";
constexpr const char* kWorkspace = ":4096:8";

// How many algorithms of each convolution cuDNN times; its heuristic lists the likely ones first.
// Without TF32 there are many slow ones: all of ATen's ten take more than a minute on an H200.
constexpr int kSearched = 10, kSearchedInFp32 = 3;

int algorithms_to_time(Precision precision) {
  return precision == Precision::kFp32 || precision == Precision::kFp64 ? kSearchedInFp32
                                                                        : kSearched;
}

}  // namespace

Precision parse_precision(const std::string& name) {
  const auto precision = config::value_named<Precision>(name);
  TORCH_CHECK(precision, "no precision is called ", name);
  return *precision;
}

Precision precision_on(const torch::Device& device, Precision precision) {
  if (precision != Precision::kAuto) return precision;
  return kernels::multiplies_bf16(device) ? Precision::kBf16 : Precision::kFp32;
}

torch::Dtype storage_type(Precision precision) {
  TORCH_CHECK(precision != Precision::kAuto, "precision_on chooses one first");
  return precision == Precision::kFp64 ? torch::kDouble : torch::kFloat;
}

AutocastGuard::AutocastGuard(torch::DeviceType device, Precision precision)
    : device_(device), active_(precision == Precision::kBf16) {
  if (!active_) return;
  was_enabled_ = at::autocast::is_autocast_enabled(device_);
  old_type_ = at::autocast::get_autocast_dtype(device_);
  at::autocast::set_autocast_enabled(device_, true);
  at::autocast::set_autocast_dtype(device_, torch::kBFloat16);
  at::autocast::increment_nesting();
}

AutocastGuard::~AutocastGuard() {
  if (!active_) return;
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device_, was_enabled_);
  at::autocast::set_autocast_dtype(device_, old_type_);
}

NoAutocastGuard::NoAutocastGuard(torch::DeviceType device)
    : device_(device), was_enabled_(at::autocast::is_autocast_enabled(device)) {
  at::autocast::set_autocast_enabled(device_, false);
}

NoAutocastGuard::~NoAutocastGuard() { at::autocast::set_autocast_enabled(device_, was_enabled_); }

ArithmeticGuard::Switches ArithmeticGuard::current() {
  const at::Context& c = at::globalContext();
  return {c.deterministicAlgorithms(),
          c.deterministicAlgorithmsWarnOnly(),
          c.deterministicFillUninitializedMemory(),
          c.deterministicCuDNN(),
          c.benchmarkCuDNN(),
          c.benchmarkLimitCuDNN(),
          c.allowTF32CuBLAS(),
          c.allowTF32CuDNN()};
}

void ArithmeticGuard::set(const Switches& switches) {
  at::Context& c = at::globalContext();
  c.setDeterministicAlgorithms(switches.deterministic, switches.only_warn);
  c.setDeterministicFillUninitializedMemory(switches.fill_memory);
  c.setDeterministicCuDNN(switches.cudnn_deterministic);
  c.setBenchmarkCuDNN(switches.cudnn_benchmark);
  c.setBenchmarkLimitCuDNN(switches.benchmark_limit);
  c.setAllowTF32CuBLAS(switches.cublas_tf32);
  c.setAllowTF32CuDNN(switches.cudnn_tf32);
}

ArithmeticGuard::ArithmeticGuard(Precision precision, bool deterministic, int64_t calls_to_come)
    : before_(current()) {
  const bool tf32 = precision == Precision::kTf32;
  set_workspace_ = deterministic && std::getenv(kWorkspaceVariable) == nullptr;
  if (set_workspace_) ::setenv(kWorkspaceVariable, kWorkspace, /*overwrite=*/0);
  // No memory is filled: nothing here reads what was not written.
  const bool search = !deterministic && calls_to_come >= kCallsToRepaySearch;
  set({deterministic, false, false, deterministic, search, algorithms_to_time(precision), tf32,
       tf32});
}

ArithmeticGuard::~ArithmeticGuard() {
  set(before_);
  if (set_workspace_) ::unsetenv(kWorkspaceVariable);
}

std::string describe_arithmetic(Precision precision, bool deterministic,
                                const torch::Device& device) {
  std::string text = config::to_string(precision);
  if (precision == Precision::kTf32 && device.is_cpu()) text += " (fp32 on the CPU)";
  if (deterministic) text += ", deterministic (cuDNN's benchmark off, TF32 off)";
  return text;
}

}  // namespace ddpm::nn
