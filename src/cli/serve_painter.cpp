#include "serve_painter.h"

#include "ddpm/base/device.h"
#include "ddpm/checkpoint/store.h"
#include "ddpm/diffusion/image_range.h"
#include "ddpm/io/image.h"
#include "ddpm/io/png_text.h"
#include "ddpm/sample/methods.h"
#include "ddpm/train/experiment.h"
#include "estimates.h"
#include "flags.h"
#include "picture_note.h"
#include "processes.h"
#include "sample_flags.h"

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <utility>

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMaxRequestPixels = int64_t{1} << 25;  // of all images of a request
constexpr int64_t kShownEstimates = 16;                  // images of a preview

// Images side by side without a gap: uint8 [B,C,H,W] -> [C,H,B*W].
torch::Tensor in_a_row(const torch::Tensor& images) {
  const int64_t count = images.size(0);
  return images.permute({1, 2, 0, 3})
      .reshape({images.size(1), images.size(2), count * images.size(3)})
      .contiguous();
}

// Messages about flags, for whoever wrote a key: "--eta = 0.5 needs ..." as "eta = 0.5 needs ...".
std::string without_dashes(const std::string& message) {
  std::string text;
  for (size_t i = 0; i < message.size(); ++i) {
    const bool begins = i == 0 || message[i - 1] == ' ' || message[i - 1] == '(';
    if (begins && message.compare(i, 2, "--") == 0) {
      ++i;
    } else {
      text += message[i];
    }
  }
  return text;
}

// The network in memory. Only the thread of the tasks touches it.
struct Loaded {
  std::shared_ptr<const exchange::Model> network;
  nn::UNet unet = nullptr;
};

class SampleTask : public serve::Task {
 public:
  SampleTask(SamplePlan plan, PictureNotes notes, std::shared_ptr<Loaded> loaded, int64_t previews,
             int threads)
      : plan_(std::move(plan)),
        notes_(std::move(notes)),
        loaded_(std::move(loaded)),
        previews_(previews),
        threads_(threads) {}

  Json settings() const override { return Json::parse(plan_.settings); }
  Json source() const override { return Json::parse(plan_.source); }

  void run(const serve::TaskHooks& hooks) override {
    at::set_num_threads(threads_);  // OpenMP's number belongs to the calling thread
    const c10::OptionalDeviceGuard device(plan_.generate.device);
    load();
    sample::GenerateOptions generate = plan_.generate;
    generate.progress = [&](const sample::Progress& p) {
      return hooks.progress({p.step, p.steps, p.images_done});
    };
    if (previews_ > 0)
      generate.observer = [&](int64_t first, const sample::TrajectoryPoint& point) {
        show(hooks, first, point);
      };
    const auto sink = [&](int64_t first, const torch::Tensor& batch) {
      const torch::Tensor pixels = diffusion::to_uint8(batch.cpu());
      const auto image = generate.images.begin() + first;
      const std::vector<int64_t> images(image, image + pixels.size(0));
      for (size_t i = 0; i < images.size(); ++i)
        hooks.image(images[i], io::with_png_texts(io::encode_png(pixels[static_cast<int64_t>(i)]),
                                                  notes_.of_image(images[i], images)));
    };
    sample_images(plan_, loaded_->unet, generate, sink);
  }

 private:
  // Unless it is the network of the task before.
  void load() {
    if (loaded_->network == plan_.network) return;
    *loaded_ = {};  // there may be no room for two
    loaded_->unet = load_unet(plan_);
    loaded_->network = plan_.network;
  }

  // The estimates at evenly spread steps; not at the last, which is the image.
  void show(const serve::TaskHooks& hooks, int64_t first, const sample::TrajectoryPoint& point) {
    const int64_t steps = plan_.config.steps, k = point.position + 1;
    const int64_t every = std::max<int64_t>(1, (steps + previews_ - 1) / previews_);
    if (k % every != 0 || k >= steps) return;
    const int64_t shown = std::min(point.x0_hat.size(0), kShownEstimates);
    const torch::Tensor estimates =
        diffusion::to_uint8(point.x0_hat.narrow(0, 0, shown).detach().cpu());
    hooks.preview(first, point.step.t, io::encode_png(in_a_row(estimates)));
  }

  SamplePlan plan_;
  PictureNotes notes_;
  std::shared_ptr<Loaded> loaded_;
  int64_t previews_;
  int threads_;
};

class NetworkPainter : public serve::Painter {
 public:
  NetworkPainter(SampleOptions options, std::filesystem::path run)
      : base_(std::move(options)), run_(std::move(run)) {
    const auto network = newest();
    if (network && !network->description.unet.condition.is_set())
      plan_sampling(base_, network);  // says what is wrong before anybody asks
  }

  Json model() override;
  std::unique_ptr<serve::Task> plan(const serve::SampleRequest& request) override;

 private:
  std::shared_ptr<const exchange::Model> newest();
  SampleOptions options_of(const serve::SampleRequest& request) const;
  std::unique_ptr<serve::Task> planned(const serve::SampleRequest& request,
                                       const std::shared_ptr<const exchange::Model>& network) const;

  const SampleOptions base_;
  const std::filesystem::path run_;  // whose newest checkpoint is the network; "": base_.checkpoint
  const std::string device_ = describe_device(parse_device(base_.device));
  const int threads_ = at::get_num_threads();
  const std::shared_ptr<Loaded> loaded_ = std::make_shared<Loaded>();
  std::mutex mutex_;  // of the two below
  std::shared_ptr<const exchange::Model> network_;
  int64_t step_ = -1;  // of network_ in the run
};

// Opens it if there is a newer one. Only its description is read, and its checksums are verified.
std::shared_ptr<const exchange::Model> NetworkPainter::newest() {
  const std::lock_guard lock(mutex_);
  int64_t step = 0;
  if (!run_.empty()) {
    const auto steps = checkpoint::CheckpointStore(run_ / "checkpoints").steps();
    if (steps.empty()) return network_;
    step = steps.front();
  }
  if (network_ && step == step_) return network_;
  const std::filesystem::path source = run_.empty() ? base_.checkpoint : run_.string();
  network_ = std::make_shared<const exchange::Model>(
      exchange::open(source, base_.weights, {}, exchange::Parts::kDescription));
  step_ = step;
  spdlog::info("sampling from {}, {}", network_->path.string(),
               exchange::describe_weights(network_->weights_name));
  return network_;
}

Json names(const std::vector<std::string>& list) { return list; }

Json NetworkPainter::model() {
  const auto network = newest();
  if (!network) return nullptr;
  const nn::ModelDescription& model = network->description;
  const nn::ImageSpec& image = model.unet.image;
  const sample::SampleConfig& usual = network->sample;
  const int64_t timesteps = model.diffusion.schedule.timesteps;
  return {
      {"path", network->path.string()},
      {"weights", network->weights_name},
      {"device", device_},
      {"precision", base_.precision},
      {"image", {{"channels", image.channels}, {"height", image.height}, {"width", image.width}}},
      {"timesteps", timesteps},
      {"classes", model.unet.class_conditional ? image.classes : 0},
      {"class_names",
       model.unet.class_conditional ? model.class_names : std::vector<std::string>()},
      {"guidance", nn::can_be_guided(model.unet)},
      {"methods", method_words()},
      {"sigmas", names(config::names<sample::Sigma>())},
      {"spacings", names(config::names<sample::Spacing>())},
      {"defaults",
       {{"method", usual.method},
        {"steps", usual.steps == 0 ? timesteps : usual.steps},
        {"eta", usual.eta},
        {"sigma", config::to_string(usual.sigma)},
        {"spacing", config::to_string(usual.spacing)},
        {"guidance", usual.guidance.weight}}}};
}

// Both: the options themselves, and the flags that a picture's note repeats.
SampleOptions NetworkPainter::options_of(const serve::SampleRequest& request) const {
  SampleOptions options = base_;
  const auto give = [&](const char* name, const std::string& value) {
    options.given.flags.push_back({name, {value}});
  };
  const auto give_if = [&](const char* name, const auto& value, auto& option) {
    if (!value) return;
    option = *value;
    give(name, fmt::format("{}", *value));
  };
  give_if("method", request.method, options.method);
  give_if("steps", request.steps, options.steps);
  give_if("eta", request.eta, options.eta);
  give_if("sigma", request.sigma, options.sigma);
  give_if("spacing", request.spacing, options.spacing);
  give_if("guidance", request.guidance, options.guidance);
  options.classes = request.classes;
  for (const std::string& word : request.classes) give("class", word);
  options.seed = request.seed;
  give("seed", fmt::format("{}", request.seed));
  options.num = request.num;
  give("num", fmt::format("{}", request.num));
  return options;
}

void expect_one_of(const char* key, const std::optional<std::string>& value,
                   std::vector<std::string> words) {
  if (!value) return;
  std::string word = *value;
  const std::string problem = one_of(std::move(words))(word);
  if (!problem.empty()) throw UsageError(fmt::format("{}: {}", key, problem));
}

void check_request(const serve::SampleRequest& request, const nn::ImageSpec& image) {
  expect_one_of("method", request.method, method_words());
  expect_one_of("sigma", request.sigma, config::names<sample::Sigma>());
  expect_one_of("spacing", request.spacing, config::names<sample::Spacing>());
  const int64_t most = std::max<int64_t>(1, kMaxRequestPixels / (image.height * image.width));
  if (request.num > most)
    throw UsageError(fmt::format("num: at most {} images of {}x{} at a time, not {}", most,
                                 image.height, image.width, request.num));
}

std::unique_ptr<serve::Task> NetworkPainter::plan(const serve::SampleRequest& request) {
  const auto network = newest();
  if (!network)
    throw serve::NoNetwork("the run has no checkpoint yet; it saves its first one soon");
  if (network->description.unet.condition.is_set())
    throw UsageError(
        "this network makes images from pictures (model.condition), which ddpm serve does not "
        "take; "
        "use ddpm sample with --condition");
  check_request(request, network->description.unet.image);
  try {
    return planned(request, network);
  } catch (const UsageError& error) {
    throw UsageError(without_dashes(error.what()));
  }
}

std::unique_ptr<serve::Task> NetworkPainter::planned(
    const serve::SampleRequest& request,
    const std::shared_ptr<const exchange::Model>& network) const {
  const SampleOptions options = options_of(request);
  SamplePlan plan = plan_sampling(options, network);
  if (sample::needs_posterior_variance(plan.config)) {
    if (!std::filesystem::exists(estimates_file(plan)))
      throw UsageError(
          "sigma analytic and spacing optimal need measured variances; run ddpm estimate on this "
          "checkpoint once");
    settle_(plan, options, {{}, plan.generate.device});
  }
  PictureNotes notes(options, plan);
  return std::make_unique<SampleTask>(std::move(plan), std::move(notes), loaded_, request.previews,
                                      threads_);
}

}  // namespace

std::unique_ptr<serve::Painter> make_painter(const SampleOptions& options,
                                             const std::filesystem::path& run) {
  return std::make_unique<NetworkPainter>(options, run);
}

}  // namespace ddpm::cli
