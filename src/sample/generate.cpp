#include "ddpm/sample/generate.h"

#include "ddpm/base/clock.h"
#include "ddpm/base/error.h"
#include "ddpm/base/rng.h"
#include "ddpm/kernels/elementwise.h"
#include "graphed_denoiser.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

void check_noise(const torch::Tensor& noise, const std::vector<int64_t>& shape,
                 const std::string& name, const std::string& axes) {
  if (noise.defined() && noise.sizes() != torch::IntArrayRef(shape)) {
    throw UsageError(fmt::format("{} has shape [{}]; drawing these images takes {} = [{}]", name,
                                 fmt::join(noise.sizes(), ", "), axes, fmt::join(shape, ", ")));
  }
}

void check(const GenerateOptions& options, int64_t steps) {
  TORCH_CHECK(options.batch >= 1, "a batch needs at least one image");
  const auto count = static_cast<int64_t>(options.images.size());
  std::vector<int64_t> shape{count, options.channels, options.height, options.width};
  check_noise(options.initial_noise, shape, "x_T", "[images, channels, height, width]");
  shape.insert(shape.begin(), steps);
  check_noise(options.step_noise, shape, "z", "[steps, images, channels, height, width]");
}

/// The noise of one batch: rows first .. first + count - 1 of GenerateOptions::images.
class BatchNoise {
 public:
  BatchNoise(const GenerateOptions& options, int64_t first, int64_t count)
      : options_(options), first_(first), count_(count) {
    const auto row = options.images.begin() + first;
    ids_ = torch::tensor(std::vector<int64_t>(row, row + count), torch::kInt64).to(options.device);
  }

  torch::Tensor initial() const {
    return options_.initial_noise.defined() ? given(options_.initial_noise)
                                            : drawn(Purpose::kInitialNoise, 0);
  }
  torch::Tensor at(int64_t k, int64_t draw) const {
    constexpr int64_t kPositions = int64_t{1} << 20;  // above the largest T
    constexpr int64_t kMaxDraw = int64_t{1} << 12;    // the stream's step has 32 bits
    TORCH_CHECK(draw >= 0 && draw <= kMaxDraw, "draw ", draw, " is not in 0..", kMaxDraw);
    if (options_.step_noise.defined()) {
      if (draw > 0)
        throw UsageError("the given noise z has one draw per step, this method needs more");
      return given(options_.step_noise.select(0, k));
    }
    return draw == 0 ? drawn(Purpose::kSamplerNoise, k)
                     : drawn(Purpose::kFurtherSamplerNoise, k + (draw - 1) * kPositions);
  }

 private:
  torch::TensorOptions layout() const {
    return torch::dtype(options_.dtype).device(options_.device);
  }
  torch::Tensor given(const torch::Tensor& all) const {
    return all.narrow(0, first_, count_).to(layout());
  }
  torch::Tensor drawn(Purpose purpose, int64_t step) const {
    const torch::Tensor out =
        torch::empty({count_, options_.channels, options_.height, options_.width}, layout());
    kernels::fill_normal_(out, rng_key(options_.seed, purpose), ids_, static_cast<uint32_t>(step));
    return out;
  }

  const GenerateOptions& options_;
  int64_t first_;
  int64_t count_;
  torch::Tensor ids_;  // int64 [count]
};

// Why the network's calls, `calls` of one shape, are not to be recorded; empty: they are.
std::string why_not_recorded(const GenerateOptions& options, int64_t calls) {
  constexpr int64_t kFewest = 16;  // recording costs about as much as a call or two
  if (!options.cuda_graph) return "it is switched off";
  if (calls < kFewest) return "so few calls of the network do not repay it";
  return "";
}

}  // namespace

torch::Tensor initial_noise(const GenerateOptions& options) {
  GenerateOptions drawn = options;
  drawn.initial_noise.reset();
  return BatchNoise(drawn, 0, std::ssize(options.images)).initial();
}

std::vector<int64_t> image_range(int64_t first, int64_t count) {
  std::vector<int64_t> images(static_cast<size_t>(count));
  std::iota(images.begin(), images.end(), first);
  return images;
}

std::vector<int64_t> images_of_rank(const std::vector<int64_t>& images, int64_t batch, int64_t rank,
                                    int64_t ranks) {
  std::vector<int64_t> own;
  for (int64_t i = 0; i < std::ssize(images); ++i) {
    if (i / batch % ranks == rank) own.push_back(images[static_cast<size_t>(i)]);
  }
  return own;
}

GenerateResult generate(const diffusion::Denoiser& denoiser, const diffusion::Diffusion& diffusion,
                        const SampleConfig& config, const GenerateOptions& options,
                        const Sink& sink) {
  return generate(denoiser, ReverseProcess(diffusion, config), options, sink);
}

GenerateResult generate(const diffusion::Denoiser& denoiser, const ReverseProcess& process,
                        const GenerateOptions& options, const Sink& sink) {
  const auto begin = std::chrono::steady_clock::now();
  const auto steps = static_cast<int64_t>(process.plan().size());
  const auto total = static_cast<int64_t>(options.images.size());
  check(options, steps);
  const std::string why_not = why_not_recorded(options, steps * (total / options.batch));
  GraphedDenoiser graphed(denoiser, DeviceGraph("sampling", options.device, why_not));
  int64_t calls = 0;
  const auto network = [&](const torch::Tensor& x, const torch::Tensor& t) {
    ++calls;
    return graphed(x, t);
  };

  GenerateResult result;
  for (int64_t first = 0; first < total && !result.stopped; first += options.batch) {
    const int64_t count = std::min(options.batch, total - first);
    const BatchNoise noise(options, first, count);
    const auto hook = [&](const TrajectoryPoint& point) {
      if (options.observer) {
        options.observer(first, point);
      }
      return !options.progress || options.progress({result.images, total, count, point.position + 1,
                                                    steps, seconds_since(begin)});
    };
    ++result.batches;
    const auto row = options.images.begin() + first;
    if (options.before_batch) options.before_batch({row, row + count});
    const auto batch = [&] {
      try {
        return process.run(
            network, noise.initial(), [&](int64_t k, int64_t draw) { return noise.at(k, draw); },
            hook);
      } catch (const NotFinite& error) {  // a row of the batch
        NotFinite::Place place = error.place();
        place.image = options.images[static_cast<size_t>(first + place.image)];
        throw NotFinite(place);
      }
    }();
    if (result.batches == 1) result.network_calls = calls;
    if (batch) {
      sink(first, *batch);
      result.images += count;
    }
    result.stopped = !batch;
  }
  result.seconds = seconds_since(begin);
  return result;
}

}  // namespace ddpm::sample
