#pragma once

#include "ddpm/dist/launch.h"
#include "ddpm/dist/world.h"

#include <chrono>
#include <exception>
#include <memory>
#include <vector>

#include <torch/types.h>

namespace ddpm::dist {

/// Sums gradients during a backward pass.
class OverlappedSum {
 public:
  virtual ~OverlappedSum() = default;
  /// Announces the backward pass that completes the gradients; its end waits for their sums.
  virtual void expect() = 0;
  /// Whether the other ranks caused the error, not the pass itself.
  virtual bool is_of_connection(const std::exception& error) const = 0;
};

/// The connections among all ranks, by torch.distributed's C++ classes, which only
/// process_group.cpp includes. Every call is collective and throws their exceptions (for one line:
/// first_line).
class ProcessGroup {
 public:
  /// Waits until all ranks have come (rendezvous.h). Tensors on `device` use NCCL if that is CUDA
  /// and this build has NCCL, else gloo; tensors on the CPU always use gloo.
  static std::unique_ptr<ProcessGroup> connect(const Launch& launch, const torch::Device& device,
                                               std::chrono::milliseconds timeout,
                                               const Identity& identity);
  virtual ~ProcessGroup() = default;
  /// Contiguous tensors of one dimension, on the CPU or on `device`.
  virtual void broadcast_(torch::Tensor flat, int64_t from) = 0;
  virtual void sum_(torch::Tensor flat) = 0;
  virtual void max_(torch::Tensor flat) = 0;
  virtual void barrier() = 0;
  /// For parameters on one device; nullptr if that device does not support it.
  virtual std::unique_ptr<OverlappedSum> overlapped_sum(
      const std::vector<torch::Tensor>& parameters, int64_t bucket_bytes) = 0;
  /// The device of this rank's tensors.
  virtual torch::Device device() const = 0;
  /// After an error: stops all waiting.
  virtual void abandon() noexcept = 0;
};

}  // namespace ddpm::dist
