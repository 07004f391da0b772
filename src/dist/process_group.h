#pragma once

#include "ddpm/dist/launch.h"
#include "ddpm/dist/world.h"
#include "survivors.h"

#include <chrono>
#include <exception>
#include <memory>
#include <string>
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
  /// and this build has NCCL, else gloo; tensors on the CPU always use gloo. `survives`: if a rank is
  /// lost, the others may regroup.
  static std::unique_ptr<ProcessGroup> connect(const Launch& launch, const torch::Device& device,
                                               std::chrono::milliseconds timeout,
                                               const Identity& identity, bool survives);
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
  /// After an error: stops all waiting, in a group that survives also that of the other ranks.
  virtual void abandon() noexcept = 0;
  /// After abandon: agrees with the others on who is left and connects these. `step`: the last that
  /// this rank has completed. Returns them in the order of their new ranks; alone, this rank is not
  /// connected. Throws Error if the others went on without this one, and another exception if the
  /// store does not answer. Sums that were made before must not be used again.
  virtual std::vector<Survivor> regroup(int64_t step) = 0;
  /// "node01:4711": machine and process of the rank that was `member` at the start.
  virtual std::string process_of(int64_t member) = 0;
};

}  // namespace ddpm::dist
