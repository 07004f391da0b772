#pragma once

#include "ddpm/diffusion/diffusion.h"
#include "ddpm/diffusion/schedule.h"
#include "ddpm/sample/reverse_process.h"
#include "ddpm/sample/sample_config.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include <torch/types.h>

namespace ddpm::sample {

/// The progress of a generate() call, after each step of each batch.
struct Progress {
  int64_t images_done;  ///< passed to the sink
  int64_t images_total;
  int64_t batch_images;  ///< in the present batch
  int64_t step;          ///< 1..steps, done in this batch
  int64_t steps;         ///< S
  double seconds;        ///< since the beginning
};

/// Which images to sample, their size, and the device.
struct GenerateOptions {
  /// The images' indices. Image i of a seed does not depend on the other images.
  std::vector<int64_t> images;
  int64_t channels = 3;
  int64_t height = 32;
  int64_t width = 32;
  int64_t batch = 64;  ///< images drawn at a time
  uint64_t seed = 0;
  torch::Device device = torch::kCPU;
  torch::ScalarType dtype = torch::kFloat32;  ///< of the chain's state: float32 or float64
  bool cuda_graph = true;  ///< capture the network's calls as a CUDA graph, if possible

  /// Given noise instead of the seed's, of any float dtype and device; row n is for images[n].
  torch::Tensor initial_noise;  ///< x_T [N,C,H,W], or undefined
  torch::Tensor step_noise;     ///< z [S,N,C,H,W], z[k] for plan position k (also for a step that
                                ///< does not read it), or undefined

  /// Called before each batch with its images. Sets what differs between batches (the classes) in
  /// tensors that the denoiser reads.
  std::function<void(const std::vector<int64_t>& images)> before_batch;
  /// Called after each step; false stops, and the present batch is dropped.
  std::function<bool(const Progress&)> progress;
  /// Called after each step, with the batch's first row in `images`: for pictures of intermediate
  /// estimates.
  std::function<void(int64_t first, const TrajectoryPoint&)> observer;
};

/// x_T of the options' images, [N,C,H,W]: a function of the seed and each image's number.
torch::Tensor initial_noise(const GenerateOptions& options);

/// first, first + 1, ..., first + count - 1: the usual GenerateOptions::images.
std::vector<int64_t> image_range(int64_t first, int64_t count);

/// The images that process `rank` of `ranks` samples: whole batches in turn. The batches are those
/// of a single process, so every image has the same bits.
std::vector<int64_t> images_of_rank(const std::vector<int64_t>& images, int64_t batch, int64_t rank,
                                    int64_t ranks);

/// Takes a finished batch: images[first], images[first + 1], ... as [B,C,H,W] in the chain's dtype,
/// on its device, about [-1,1], unclamped.
using Sink = std::function<void(int64_t first, const torch::Tensor& batch)>;

struct GenerateResult {
  int64_t images = 0;         ///< passed to the sink
  int64_t network_calls = 0;  ///< per image: S for a method with one call per step
  int64_t batches = 0;        ///< started; the network ran network_calls times in each finished one
  double seconds = 0;         ///< wall time, the sink's included
  bool stopped = false;       ///< by the progress callback
};

/// Samples images batch by batch. Each batch is a run of ReverseProcess; the sink gets every finished
/// one. x_T of image i is row i of the seed's stream kInitialNoise. z at plan position k is row i,
/// step k of kSamplerNoise; further draws within a step are of kFurtherSamplerNoise. Throws
/// UsageError if settings conflict or given noise has another shape. Throws NotFinite, which names
/// the image, if one is not finite; the sink gets nothing of its batch. On a GPU the network is
/// captured as a CUDA graph once and replayed for every step of every full batch (GraphedDenoiser).
GenerateResult generate(const diffusion::Denoiser& denoiser, const diffusion::Diffusion& diffusion,
                        const SampleConfig& config, const GenerateOptions& options,
                        const Sink& sink);
/// The same with the caller's process.
GenerateResult generate(const diffusion::Denoiser& denoiser, const ReverseProcess& process,
                        const GenerateOptions& options, const Sink& sink);

/// Reads the noise of a .safetensors into the options: x_T [N,C,H,W], and z [S,N,C,H,W] if it holds
/// one. Throws IoError if x_T is missing or has no images, and if a number is NaN or infinite.
void read_noise_(const std::filesystem::path& path, GenerateOptions& options);

}  // namespace ddpm::sample
