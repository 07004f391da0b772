#pragma once

#include "ddpm/base/device_graph.h"
#include "ddpm/diffusion/denoiser.h"

#include <torch/types.h>

namespace ddpm::sample {

/// A denoiser whose operations are recorded as a graph and replayed, where `graph` can: one launch
/// instead of hundreds a call. Results are those of the denoiser, which is also what runs where
/// nothing can be recorded. It must wait for nothing, and what it reads beside x_t and t must stay
/// where it is.
class GraphedDenoiser {
 public:
  GraphedDenoiser(diffusion::Denoiser denoiser, DeviceGraph graph)
      : denoiser_(std::move(denoiser)), graph_(std::move(graph)) {}
  GraphedDenoiser(const GraphedDenoiser&) = delete;
  GraphedDenoiser& operator=(const GraphedDenoiser&) = delete;

  /// As diffusion::Denoiser. Only calls of the first one's shape are recorded: a last, smaller
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
