#pragma once

#include "ddpm/diffusion/denoiser.h"
#include "ddpm/diffusion/parameterization.h"
#include "ddpm/diffusion/schedule.h"
#include "ddpm/sample/reverse_process.h"
#include "ddpm/sample/sample_config.h"

#include <cstdint>
#include <functional>
#include <vector>

#include <torch/types.h>

namespace ddpm::sample {

/// Where a generate() call stands, after each step of each batch.
struct Progress {
  int64_t images_done;  ///< handed to the sink
  int64_t images_total;
  int64_t batch_images;  ///< in the batch under way
  int64_t step;          ///< 1..steps, done in this batch
  int64_t steps;         ///< S
  double seconds;        ///< since the beginning
};

/// Which images to draw, how large, and where.
struct GenerateOptions {
  /// The images' indices. Image i of a seed is the same picture whatever else is drawn beside it.
  std::vector<int64_t> images;
  int64_t channels = 3;
  int64_t height = 32;
  int64_t width = 32;
  int64_t batch = 64;  ///< images drawn at a time
  uint64_t seed = 0;
  torch::Device device = torch::kCPU;
  torch::ScalarType dtype = torch::kFloat32;  ///< of the chain's state: float32 or float64
  bool cuda_graph = true;  ///< the network's calls as a CUDA graph, where that can be

  /// Noise from outside instead of the seed's, any float dtype and device; row n belongs to
  /// images[n].
  torch::Tensor initial_noise;  ///< x_T [N,C,H,W], or undefined
  torch::Tensor step_noise;  ///< z [S,N,C,H,W] in the order of use (z[k] at plan position k, also
                             ///< where a step has no use for it), or undefined

  /// Before each batch, with its images: sets what differs between them (their classes) in tensors
  /// that the denoiser reads, so that it cannot depend on the batch.
  std::function<void(const std::vector<int64_t>& images)> before_batch;
  /// After each step; false stops, and the batch under way is dropped.
  std::function<bool(const Progress&)> progress;
  /// After each step, with the batch's first row in `images`: for pictures of the way.
  std::function<void(int64_t first, const TrajectoryPoint&)> observer;
};

/// first, first + 1, ..., first + count - 1: the usual GenerateOptions::images.
std::vector<int64_t> image_range(int64_t first, int64_t count);

/// Of `images`, those that process `rank` of `ranks` draws: whole batches in turn, so that every
/// batch is what a single process would draw at a time, and every image bit for bit the same.
std::vector<int64_t> images_of_rank(const std::vector<int64_t>& images, int64_t batch, int64_t rank,
                                    int64_t ranks);

/// Takes a finished batch: images[first], images[first + 1], ... as [B,C,H,W] in the chain's dtype,
/// on its device, about [-1,1], unclamped.
using Sink = std::function<void(int64_t first, const torch::Tensor& batch)>;

struct GenerateResult {
  int64_t images = 0;         ///< handed to the sink
  int64_t network_calls = 0;  ///< per image: S for a method with one call per step
  int64_t batches = 0;        ///< started; the network ran network_calls times in each finished one
  double seconds = 0;         ///< wall time, the sink's included
  bool stopped = false;       ///< by the progress callback
};

/// Draws images batch by batch, each batch a run of ReverseProcess, and hands every finished batch
/// over. x_T of image i is row i of the seed's stream kInitialNoise, z at plan position k is row i,
/// step k of kSamplerNoise; further draws within a step are of kFurtherSamplerNoise. Throws
/// UsageError where settings do not go together or a given noise has another shape, and NotFinite,
/// naming the image, if one is not finite: nothing of its batch is handed over. On CUDA the network is recorded as a graph once and replayed in every step of
/// every whole batch (GraphedDenoiser).
GenerateResult generate(const diffusion::Denoiser& denoiser, const diffusion::Schedule& schedule,
                        diffusion::Prediction prediction, const SampleConfig& config,
                        const GenerateOptions& options, const Sink& sink);
/// The same with a process of the caller.
GenerateResult generate(const diffusion::Denoiser& denoiser, const ReverseProcess& process,
                        const GenerateOptions& options, const Sink& sink);

}  // namespace ddpm::sample
