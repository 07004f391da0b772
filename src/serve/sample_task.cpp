#include "sample_task.h"

#include "ddpm/diffusion/image_range.h"
#include "ddpm/io/image.h"
#include "ddpm/io/json_text.h"
#include "ddpm/io/png.h"
#include "ddpm/pipeline/sample_images.h"

#include <algorithm>
#include <utility>

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <nlohmann/json.hpp>

namespace ddpm::serve {
namespace {

using TaskJson = nlohmann::ordered_json;

constexpr int64_t kShownEstimates = 16;  // images of a preview

// Images side by side without a gap: uint8 [B,C,H,W] -> [C,H,B*W].
torch::Tensor in_a_row(const torch::Tensor& images) {
  const int64_t count = images.size(0);
  return images.permute({1, 2, 0, 3})
      .reshape({images.size(1), images.size(2), count * images.size(3)})
      .contiguous();
}

class SampleTask : public Task {
 public:
  SampleTask(SampleWork work, std::shared_ptr<Loaded> loaded, int threads)
      : work_(std::move(work)), loaded_(std::move(loaded)), threads_(threads) {}

  std::string command() const override { return work_.command; }
  TaskJson settings() const override { return io::parsed_json(plan_.settings); }
  TaskJson source() const override { return io::parsed_json(plan_.source); }
  std::vector<TaskInput> inputs() const override { return work_.inputs; }

  void run(const TaskHooks& hooks) override {
    at::set_num_threads(threads_);  // OpenMP's number belongs to the calling thread
    const c10::OptionalDeviceGuard device(plan_.generate.device);
    load();
    sample::GenerateOptions generate = plan_.generate;
    if (work_.way)
      generate.initial_noise = pipeline::noise_of_way(plan_, work_.way->ends, work_.way->frames);
    generate.progress = [&](const sample::Progress& p) {
      return hooks.progress({p.step, p.steps, p.images_done});
    };
    if (work_.previews > 0)
      generate.observer = [&](int64_t first, const sample::TrajectoryPoint& point) {
        show(hooks, first, point);
      };
    const auto sink = [&](int64_t first, const torch::Tensor& batch) {
      const torch::Tensor pixels = io::viewable(pipeline::pixels_of(plan_, batch));
      const auto image = generate.images.begin() + first;
      const std::vector<int64_t> images(image, image + pixels.size(0));
      for (size_t i = 0; i < images.size(); ++i)
        hooks.image(images[i], io::with_png_texts(io::encode_png(pixels[static_cast<int64_t>(i)]),
                                                  work_.notes.of_image(images[i], images)));
    };
    pipeline::sample_images(plan_, loaded_->unet, generate, sink);
  }

 private:
  // Unless it is the network of the task before.
  void load() {
    if (loaded_->network == plan_.network) return;
    *loaded_ = {};  // there may be no room for two
    loaded_->unet = pipeline::load_unet(plan_);
    loaded_->network = plan_.network;
  }

  // The estimates at evenly spread steps; not at the last, which is the image.
  void show(const TaskHooks& hooks, int64_t first, const sample::TrajectoryPoint& point) {
    const int64_t steps = plan_.config.steps, k = point.position + 1;
    const int64_t every = std::max<int64_t>(1, (steps + work_.previews - 1) / work_.previews);
    if (k % every != 0 || k >= steps) return;
    const int64_t shown = std::min(point.x0_hat.size(0), kShownEstimates);
    const torch::Tensor estimates =
        diffusion::to_uint8(point.x0_hat.narrow(0, 0, shown).detach().cpu());
    hooks.preview(first, point.step.t, io::encode_png(in_a_row(io::viewable(estimates))));
  }

  const SampleWork work_;
  const pipeline::SamplePlan& plan_ = work_.plan;
  std::shared_ptr<Loaded> loaded_;
  int threads_;
};

}  // namespace

std::unique_ptr<Task> make_sample_task(SampleWork work, std::shared_ptr<Loaded> loaded,
                                       int threads) {
  return std::make_unique<SampleTask>(std::move(work), std::move(loaded), threads);
}

}  // namespace ddpm::serve
