#include "ddpm/serve/network_painter.h"

#include "ddpm/base/device.h"
#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/checkpoint/store.h"
#include "ddpm/pipeline/choices.h"
#include "ddpm/pipeline/fit_file.h"
#include "ddpm/pipeline/inputs.h"
#include "ddpm/pipeline/tasks.h"
#include "ddpm/sample/bespoke_fit.h"
#include "ddpm/sample/methods.h"
#include "sample_task.h"
#include "uploads.h"

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <optional>
#include <utility>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

namespace ddpm::serve {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMaxRequestPixels = int64_t{1} << 25;  // of all images of a request

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

class NetworkPainter : public Painter {
 public:
  NetworkPainter(pipeline::SampleOptions options, std::filesystem::path run)
      : base_(std::move(options)), run_(std::move(run)) {
    const auto network = newest();
    if (network && !network->description.unet.condition.is_set())
      pipeline::plan_sampling(base_, network);  // says what is wrong before anybody asks
  }

  Json model() override;
  std::unique_ptr<Task> plan(const SampleRequest& request) override;

 private:
  std::shared_ptr<const exchange::Model> newest();
  pipeline::SampleOptions options_of(const SampleRequest& request) const;
  std::unique_ptr<Task> planned(const SampleRequest& request,
                                const std::shared_ptr<const exchange::Model>& network) const;

  const pipeline::SampleOptions base_;
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

// Methods that remember former steps, which several rounds of inpainting would make wrong. What auto
// chooses may be one.
Json methods_with_memory() {
  std::vector<std::string> words;
  for (const sample::MethodEntry& method : sample::methods())
    if (method.remembers) words.emplace_back(method.name);
  words.emplace_back(pipeline::kAutoMethod);
  return words;
}

// The pictures that a network needs, or null.
Json condition_of_network(const nn::UNetConfig& unet) {
  if (!unet.condition.is_set()) return nullptr;
  const nn::ImageSpec spec = pipeline::condition_spec(unet);
  return {{"what", pipeline::describe_condition(unet)},
          {"channels", spec.channels},
          {"height", spec.height},
          {"width", spec.width}};
}

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
      {"condition", condition_of_network(model.unet)},
      {"vector_names", model.unet.vectors.names},
      {"methods", pipeline::method_words()},
      {"methods_with_memory", methods_with_memory()},
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
pipeline::SampleOptions NetworkPainter::options_of(const SampleRequest& request) const {
  pipeline::SampleOptions options = base_;
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
  if (request.vector) {
    options.vector = *request.vector;
    give("vector", options.vector);
  }
  options.seed = request.seed;
  give("seed", fmt::format("{}", request.seed));
  if (!request.interpolation) {
    options.num = request.num;
    give("num", fmt::format("{}", request.num));
  }
  return options;
}

void expect_one_of(const char* key, const std::optional<std::string>& value,
                   const std::vector<std::string>& words) {
  if (!value) return;
  const std::string problem = problem_of_choice(*value, words);
  if (!problem.empty()) throw UsageError(fmt::format("{}: {}", key, problem));
}

void check_request(const SampleRequest& request, const nn::ImageSpec& image) {
  expect_one_of("method", request.method, pipeline::method_words());
  expect_one_of("sigma", request.sigma, config::names<sample::Sigma>());
  expect_one_of("spacing", request.spacing, config::names<sample::Spacing>());
  const int64_t most = std::max<int64_t>(1, kMaxRequestPixels / (image.height * image.width));
  if (request.num > most)
    throw UsageError(fmt::format("num: at most {} images of {}x{} at a time, not {}", most,
                                 image.height, image.width, request.num));
}

std::unique_ptr<Task> NetworkPainter::plan(const SampleRequest& request) {
  const auto network = newest();
  if (!network) throw NoNetwork("the run has no checkpoint yet; it saves its first one soon");
  check_request(request, network->description.unet.image);
  try {
    return planned(request, network);
  } catch (const UsageError& error) {
    throw UsageError(without_dashes(error.what()));
  }
}

// The condition of a request, as the flag --condition of a file that the client has.
void take_condition_(pipeline::SampleOptions& options, const SampleRequest& request,
                     const nn::UNetConfig& unet, std::vector<TaskInput>& inputs) {
  if (!unet.condition.is_set()) {
    if (request.condition)
      throw UsageError(
          "condition: is for a network that was trained with model.condition; this one was not");
    return;
  }
  if (!request.condition)
    throw UsageError(fmt::format("condition: missing; this network needs {}",
                                 pipeline::describe_condition(unet)));
  const Upload upload = uploaded_picture(
      *request.condition, "condition", pipeline::condition_spec(unet), "this network's conditions");
  options.default_condition = [upload](const exchange::Model&) {
    return pipeline::condition_pictures(upload.pixels.unsqueeze(0), upload.file.name);
  };
  options.given.flags.push_back({"condition", {upload.file.name}});
  inputs.push_back(upload.file);
}

// The plan as `ddpm interpolate` makes it.
Way plan_way_(pipeline::SamplePlan& plan, pipeline::SampleOptions& options,
              const Interpolation& request) {
  std::vector<std::string> words;
  for (const WayEnd& end : request.between)
    words.push_back(end.seed ? fmt::format("{}:{}", *end.seed, end.image)
                             : fmt::format("{}", end.image));
  options.given.command = "interpolate";
  options.given.flags.push_back({"between", {fmt::format("{}", fmt::join(words, ","))}});
  options.given.flags.push_back({"frames", {fmt::format("{}", request.frames)}});
  Way way{pipeline::noise_ends(words), request.frames};
  pipeline::interpolate_(plan, options, way.ends, way.frames);
  return way;
}

// The plan as `ddpm inpaint` makes it.
void plan_inpainting_(pipeline::SamplePlan& plan, pipeline::SampleOptions& options,
                      const Inpainting& request, std::vector<TaskInput>& inputs) {
  const nn::ImageSpec& spec = plan.network->description.unet.image;
  const Upload image = uploaded_picture(request.image, "image", spec, "the network's images");
  const Upload mask = uploaded_mask(request.mask, "mask", spec);
  options.given.command = "inpaint";
  options.given.flags.push_back({"image", {image.file.name}});
  options.given.flags.push_back({"mask", {mask.file.name}});
  options.given.flags.push_back({"rounds", {fmt::format("{}", request.rounds)}});
  pipeline::inpaint_(plan, options,
                     {image.pixels.unsqueeze(0), mask.pixels,
                      fmt::format("{} with {}", image.file.name, mask.file.name)},
                     request.rounds);
  inputs.push_back(image.file);
  inputs.push_back(mask.file);
}

// Variances and fits that a server does not measure: they must have been.
void settle_for_serving_(pipeline::SamplePlan& plan, const pipeline::SampleOptions& options) {
  const bool measured = pipeline::read_variances_(plan);
  if (sample::needs_posterior_variance(plan.config) && !measured)
    throw UsageError(
        "sigma analytic and spacing optimal need measured variances; run ddpm estimate on this "
        "checkpoint once");
  if (sample::needs_fit(plan.config) && !std::filesystem::exists(fit_file(plan)))
    throw UsageError(fmt::format(
        "method: bespoke is not fitted to this checkpoint with these settings; run ddpm sample on "
        "it once, with method bespoke and {} steps",
        plan.config.steps));
  if (pipeline::settle_fit_(plan, dist::single_process()) || measured)
    pipeline::describe_settings(options, plan);
}

// Method auto without a fit: what comes next to it.
pipeline::SamplePlan plan_serving(pipeline::SampleOptions& options,
                                  const std::shared_ptr<const exchange::Model>& network) {
  pipeline::SamplePlan plan = pipeline::plan_sampling(options, network);
  const bool is_auto = options.method == pipeline::kAutoMethod;
  if (!is_auto || !sample::needs_fit(plan.config) || std::filesystem::exists(fit_file(plan)))
    return plan;
  options.method = pipeline::kAutoWithoutFit;
  options.spacing = config::to_string(plan.config.spacing);
  // The command in a picture makes it again, also once there is a fit.
  std::erase_if(options.given.flags, [](const pipeline::GivenFlag& flag) {
    return flag.name == "method" || flag.name == "spacing";
  });
  options.given.flags.push_back({"method", {options.method}});
  options.given.flags.push_back({"spacing", {*options.spacing}});
  return pipeline::plan_sampling(options, network);
}

std::unique_ptr<Task> NetworkPainter::planned(
    const SampleRequest& request, const std::shared_ptr<const exchange::Model>& network) const {
  pipeline::SampleOptions options = options_of(request);
  std::vector<TaskInput> inputs;
  take_condition_(options, request, network->description.unet, inputs);
  pipeline::SamplePlan plan = plan_serving(options, network);
  settle_for_serving_(plan, options);
  std::optional<Way> way;
  if (request.interpolation) way = plan_way_(plan, options, *request.interpolation);
  if (request.inpainting) plan_inpainting_(plan, options, *request.inpainting, inputs);
  pipeline::PictureNotes notes(options, plan);
  return make_sample_task({options.given.command, std::move(plan), std::move(notes), std::move(way),
                           std::move(inputs), request.previews},
                          loaded_, threads_);
}

}  // namespace

std::unique_ptr<Painter> make_painter(const pipeline::SampleOptions& options,
                                      const std::filesystem::path& run) {
  return std::make_unique<NetworkPainter>(options, run);
}

}  // namespace ddpm::serve
