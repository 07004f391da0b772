#pragma once

#include "ddpm/base/device_graph.h"
#include "ddpm/diffusion/diffusion.h"

#include <torch/types.h>

namespace ddpm::sample {

/// A denoiser that is captured as a CUDA graph and replayed, if `graph` can: one launch per call
/// instead of hundreds. Results are the denoiser's, which runs itself if there is no capture. It must
/// not synchronize with the device, and the tensors that it reads besides x_t and t must keep their
/// addresses.
class GraphedDenoiser {
 public:
  GraphedDenoiser(diffusion::Denoiser denoiser, DeviceGraph graph)
      : denoiser_(std::move(denoiser)), graph_(std::move(graph)) {}
  GraphedDenoiser(const GraphedDenoiser&) = delete;
  GraphedDenoiser& operator=(const GraphedDenoiser&) = delete;

  /// As diffusion::Denoiser. Only calls with the first call's shape are captured; a smaller last
  /// batch is not.
  torch::Tensor operator()(const torch::Tensor& x_t, const torch::Tensor& t);
  /// Is the next call of that shape a replay?
  bool recorded() const { return graph_.recorded(); }

 private:
  diffusion::Denoiser denoiser_;
  DeviceGraph graph_;
  torch::Tensor x_, t_, output_;  // what the record reads and writes
};

}  // namespace ddpm::sample
