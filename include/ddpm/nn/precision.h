#pragma once

#include "ddpm/config/names.h"

#include <array>
#include <cstdint>
#include <string>

#include <torch/types.h>

namespace ddpm::nn {

/// The arithmetic of a network. Parameters are float32, except with kFp64.
enum class Precision {
  kFp32,  ///< "fp32": on a GPU too, where TF32 is forbidden
  kTf32,  ///< "tf32": convolutions and matrix products of a GPU round their factors to TF32's 10
          ///< bits of mantissa; on the CPU it is kFp32
  kBf16,  ///< "bf16": convolutions and matrix products run in bfloat16 (autocast), except the
          ///< network's first and last; parameters, norms' statistics and the loss are float32
  kFp64,  ///< "fp64"
  kAuto,  ///< "auto": see precision_on; nothing computes in it
};

/// The names in a config.
constexpr auto names_of(Precision) { return std::array{"fp32", "tf32", "bf16", "fp64", "auto"}; }
/// c10::Error if no precision has that name.
Precision parse_precision(const std::string& name);

/// Resolves kAuto to the fastest precision of the device that trains as well as float32. Returns
/// others unchanged.
/// kBf16 on a GPU of compute capability 8.0 or higher, and on a CPU that multiplies bfloat16 (Intel
/// AMX-BF16, AVX-512-BF16); otherwise kFp32.
Precision precision_on(const torch::Device& device, Precision precision);

/// The type of parameters, optimizer state and images.
torch::Dtype storage_type(Precision precision);

/// While it lives, operations on the device autocast to bfloat16 if the precision is kBf16.
class AutocastGuard {
 public:
  AutocastGuard(torch::DeviceType device, Precision precision);
  ~AutocastGuard();
  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  torch::DeviceType device_;
  bool was_enabled_ = false;
  torch::Dtype old_type_ = torch::kFloat;
  bool active_;
};

/// From this number of network calls on, it is worth timing cuDNN's algorithms. On an H200 the
/// search takes as long as about 500 calls (5 s for sampling in bf16, 10 s for training). If it
/// saves a tenth of a call, it has paid for itself after ten times as many.
inline constexpr int64_t kCallsToRepaySearch = 5000;

/// While it lives, operations on the device do not autocast, also within an AutocastGuard.
class NoAutocastGuard {
 public:
  explicit NoAutocastGuard(torch::DeviceType device);
  ~NoAutocastGuard();
  NoAutocastGuard(const NoAutocastGuard&) = delete;
  NoAutocastGuard& operator=(const NoAutocastGuard&) = delete;

 private:
  torch::DeviceType device_;
  bool was_enabled_;
};

/// Sets the arithmetic of the whole process while it lives, and restores it afterwards.
///   TF32 in cuBLAS and cuDNN: allowed under kTf32, forbidden otherwise.
///   deterministic: only algorithms that give the same bits each time (ATen's switch, cuDNN's, and
///   CUBLAS_WORKSPACE_CONFIG if it is not set: before the first product on a GPU).
///   calls_to_come: the expected number of network calls. If there are kCallsToRepaySearch or
///   more, cuDNN times its algorithms and takes the fastest for each shape (another process may
///   choose another one). Otherwise it takes the one that its heuristic names.
class ArithmeticGuard {
 public:
  ArithmeticGuard(Precision precision, bool deterministic, int64_t calls_to_come = 0);
  ~ArithmeticGuard();
  ArithmeticGuard(const ArithmeticGuard&) = delete;
  ArithmeticGuard& operator=(const ArithmeticGuard&) = delete;

 private:
  struct Switches {
    bool deterministic, only_warn, fill_memory, cudnn_deterministic, cudnn_benchmark;
    int benchmark_limit;
    bool cublas_tf32, cudnn_tf32;
  };
  static Switches current();
  static void set(const Switches& switches);

  const Switches before_;
  bool set_workspace_ = false;
};

/// For a log line: "fp32", "tf32 (fp32 on the CPU)", "bf16, deterministic (...)".
std::string describe_arithmetic(Precision precision, bool deterministic,
                                const torch::Device& device);

}  // namespace ddpm::nn
