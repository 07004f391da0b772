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
  /// The next backward pass completes the gradients, and its end waits for their sums.
  virtual void expect() = 0;
  /// Was this thrown because of the other ranks, and not by the pass itself?
  virtual bool is_of_connection(const std::exception& error) const = 0;
};

/// The connections among all ranks: torch.distributed's C++ classes, which process_group.cpp alone
/// sees. Every call is collective and throws what they throw (one line: first_line).
class ProcessGroup {
 public:
  /// Waits until all ranks have come (rendezvous.h). Tensors on `device` meet through NCCL where
  /// that is CUDA and this build has NCCL, else through gloo; tensors on the CPU always through
  /// gloo.
  static std::unique_ptr<ProcessGroup> connect(const Launch& launch, const torch::Device& device,
                                               std::chrono::milliseconds timeout,
                                               const Identity& identity);
  virtual ~ProcessGroup() = default;
  /// Contiguous tensors of one dimension, on the CPU or on `device`.
  virtual void broadcast_(torch::Tensor flat, int64_t from) = 0;
  virtual void sum_(torch::Tensor flat) = 0;
  virtual void max_(torch::Tensor flat) = 0;
  virtual void barrier() = 0;
  /// Of parameters on one device. nullptr: there is none for that device.
  virtual std::unique_ptr<OverlappedSum> overlapped_sum(
      const std::vector<torch::Tensor>& parameters, int64_t bucket_bytes) = 0;
  /// Where this rank's tensors are.
  virtual torch::Device device() const = 0;
  /// After an error: waits for nothing any more.
  virtual void abandon() noexcept = 0;
};

}  // namespace ddpm::dist
