#pragma once

#include "ddpm/dist/launch.h"

#include <chrono>
#include <memory>

#include <torch/types.h>

namespace ddpm::dist {

/// The connections among all ranks: torch.distributed's C++ classes, which process_group.cpp alone
/// sees. Every call is collective and throws what they throw (one line: first_line).
class ProcessGroup {
 public:
  /// Waits until all ranks have come. Tensors on `device` meet through NCCL where that is CUDA and
  /// this build has NCCL, else through gloo; tensors on the CPU always through gloo.
  static std::unique_ptr<ProcessGroup> connect(const Launch& launch, const torch::Device& device,
                                               std::chrono::milliseconds timeout);
  virtual ~ProcessGroup() = default;
  /// Contiguous tensors of one dimension, on the CPU or on `device`.
  virtual void broadcast_(torch::Tensor flat) = 0;
  virtual void sum_(torch::Tensor flat) = 0;
  virtual void max_(torch::Tensor flat) = 0;
  virtual void barrier() = 0;
  /// After an error: waits for nothing any more.
  virtual void abandon() noexcept = 0;
};

/// What an exception of LibTorch says, without its stack trace and in one line.
std::string first_line(const std::exception& error);

}  // namespace ddpm::dist
