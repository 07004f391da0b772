#include "ddpm/pipeline/sample_plan.h"

#include "ddpm/base/device.h"
#include "ddpm/checkpoint/averages.h"
#include "ddpm/nn/script_module.h"
#include "ddpm/pipeline/choices.h"
#include "ddpm/sample/generate.h"
#include "ddpm/sample/methods.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

namespace ddpm::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxImages = 100'000'000;

// --steps, --steps-at or --sections replaces the checkpoint's number and list of steps.
void take_steps_(sample::SampleConfig& c, const SampleOptions& options, int64_t timesteps) {
  if (options.steps || options.steps_at || options.sections) c.steps_at.clear();
  c.steps = options.steps.value_or(c.steps);
  if (options.steps_at) c.steps_at = *options.steps_at;
  if (options.sections) c.steps_at = sample::steps_of_sections(timesteps, *options.sections);
  if (options.steps_at || options.sections) c.steps = std::ssize(c.steps_at);
}

// The checkpoint's guidance, overridden by the flags. Another weight starts from the defaults.
void take_guidance_(diffusion::Guidance& g, const SampleOptions& options) {
  if (options.guidance) g = {.weight = *options.guidance};
  if (options.guidance_interval) g.interval = *options.guidance_interval;
  g.rescale = options.guidance_rescale.value_or(g.rescale);
  g.parallel = options.guidance_parallel.value_or(g.parallel);
  g.norm = options.guidance_norm.value_or(g.norm);
  g.momentum = options.guidance_momentum.value_or(g.momentum);
}

// The method that the flags ask for, "" if they ask for none.
std::string method_asked_for(const SampleOptions& options, const sample::SampleConfig& c) {
  const bool hat = options.sigma == "hat";
  std::string method = options.ddim ? sample::kDdim : options.ddpm ? sample::kDdpm : options.method;
  if (method == sample::kDdpm && options.eta)
    throw UsageError("--eta is the noise of DDIM: leave out --ddpm or --eta");
  if (method == sample::kDdpm && hat)
    throw UsageError(
        "--sigma hat is a noise of DDIM: leave out --ddpm, or use --sigma large, which is the same "
        "noise with Algorithm 2");
  if (method.empty() && (options.eta || hat)) return sample::kDdim;
  if (method.empty() && options.sigma == "analytic") return c.method;  // ddpm and ddim have it
  if (method.empty() && options.sigma) return sample::kDdpm;
  return method;
}

void take_method_(sample::SampleConfig& c, const SampleOptions& options,
                  const exchange::Model& network) {
  const std::string method = method_asked_for(options, c);
  if (method == kAutoMethod)
    take_auto_(c, options.steps, network);
  else if (!method.empty())
    begin_with_(c, method);
  if (!method.empty()) c.eta = options.eta.value_or(c.eta);
  if (options.sigma) c.sigma = config::value_named<sample::Sigma>(*options.sigma).value();
  c.order = options.order.value_or(c.order);
}

// Throws UsageError if settings conflict, or the network lacks what they need.
void check_config(const sample::SampleConfig& c, const SampleOptions& options,
                  const nn::ModelDescription& model) {
  if (const auto conflict = sample::find_conflict(c, model.diffusion.schedule.timesteps)) {
    std::string flag = conflict->key;
    std::replace(flag.begin(), flag.end(), '_', '-');
    throw UsageError(fmt::format("--{} {}", flag, conflict->message));
  }
  if (c.guidance.weight != 1.0 && !nn::can_be_guided(model.unet) && options.guide.empty()) {
    throw UsageError(fmt::format(
        "--guidance {} needs a network trained with train.{}_dropout, or a second network "
        "(--guide-ckpt)",
        c.guidance.weight, model.unet.condition.is_set() ? "condition" : "label"));
  }
  if (c.sigma == sample::Sigma::kLearned && !model.unet.learned_variance) {
    throw UsageError(
        "--sigma learned needs a network with model.learned_variance; this one has none");
  }
}

// The checkpoint's settings, overridden by the flags.
sample::SampleConfig sample_config(const SampleOptions& options, const exchange::Model& network) {
  const nn::ModelDescription& model = network.description;
  const int64_t timesteps = model.diffusion.schedule.timesteps;
  sample::SampleConfig c = network.sample;
  take_guidance_(c.guidance, options);
  take_method_(c, options, network);
  if (options.spacing) c.spacing = config::value_named<sample::Spacing>(*options.spacing).value();
  if (options.stepping)
    c.stepping = config::value_named<sample::Stepping>(*options.stepping).value();
  if (options.clip) c.clip = config::value_named<sample::Clip>(*options.clip).value();
  c.dynamic_threshold = options.dynamic_threshold.value_or(c.dynamic_threshold);
  c.dynamic_threshold_max = options.dynamic_threshold_max.value_or(c.dynamic_threshold_max);
  take_steps_(c, options, timesteps);
  c.num = options.num.value_or(c.num);
  c.batch = options.batch.value_or(c.batch);
  c.provenance = c.provenance && !options.no_provenance;
  check_config(c, options, model);
  if (c.steps == 0) c.steps = timesteps;
  return c;
}

std::vector<int64_t> image_shape(const nn::ImageSpec& image) {
  return {image.channels, image.height, image.width};
}

// The number of classes that --guide knows; 0 without one. Throws IoError.
int64_t classes_of_guide(const SampleOptions& options, const nn::ModelDescription& model) {
  if (options.script_guide.empty()) {
    if (options.guide_scale != 1.0)
      throw UsageError("--guide-scale is for --guide: leave it out, or name a TorchScript network");
    return 0;
  }
  const nn::UNetConfig& unet = model.unet;
  const nn::ScriptGuide guide(options.script_guide, torch::kCPU, image_shape(unet.image));
  if (guide.classes() > 0 && unet.class_conditional && guide.classes() != unet.image.classes)
    throw UsageError(fmt::format("--guide {}: knows {} classes, and the network knows {}",
                                 options.script_guide, guide.classes(), unet.image.classes));
  return guide.classes();
}

std::vector<int64_t> classes_in_turn(const SampleOptions& options,
                                     const nn::ModelDescription& model) {
  std::vector<int64_t> classes;
  const int64_t of_guide = classes_of_guide(options, model);
  if (!model.unet.class_conditional && of_guide > 0) {
    classes = chosen_classes(options.classes, {}, of_guide, "--class");
    return classes.empty() ? sample::image_range(0, of_guide) : classes;
  }
  if (!model.unet.class_conditional) {
    if (!options.classes.empty())
      throw UsageError(
          "--class needs a class-conditional network; this one is not: leave out --class, or train "
          "with model.class_conditional = true to choose classes");
    return classes;
  }
  classes = chosen_classes(options.classes, model.class_names, model.unet.image.classes, "--class");
  if (classes.empty()) classes = sample::image_range(0, model.unet.image.classes);
  return classes;
}

exchange::Model open_network(const SampleOptions& options) {
  if (options.checkpoint.empty() && !fs::exists("runs"))
    throw UsageError("there is no folder runs here; name a checkpoint or run with --ckpt");
  exchange::Model network = exchange::open(options.checkpoint.empty() ? "runs" : options.checkpoint,
                                           options.weights, {}, exchange::Parts::kDescription);
  if (!network.is_checkpoint) return network;
  const auto young = checkpoint::young_average(network.path, network.weights_name);
  if (!young.empty()) spdlog::warn("{}: sample with --weights raw, or train on", young);
  return network;
}

// The network of --guide-ckpt, if any.
std::shared_ptr<const exchange::Model> open_guide(const SampleOptions& options,
                                                  const exchange::Model& network) {
  if (options.guide.empty()) return nullptr;
  auto guide = std::make_shared<const exchange::Model>(
      exchange::open(options.guide, options.guide_weights, {}, exchange::Parts::kDescription));
  const nn::ModelDescription own = nn::without_unused(network.description);
  const nn::ModelDescription other = nn::without_unused(guide->description);
  const auto refuse = [&](const std::string& what) {
    throw UsageError(
        fmt::format("--guide-ckpt {}: {} than {}", options.guide, what, network.path.string()));
  };
  const nn::ImageSpec &a = own.unet.image, &b = other.unet.image;
  if (a.channels != b.channels || a.height != b.height || a.width != b.width)
    refuse("makes images of another shape");
  if (!(own.diffusion == other.diffusion)) refuse("has another schedule or prediction");
  if (other.unet.class_conditional && a.classes != b.classes) refuse("has other classes");
  if (other.unet.vector_conditional && other.unet.vectors.names != own.unet.vectors.names)
    refuse("reads other vectors");
  if (other.unet.condition.is_set() && (other.unet.condition.kind != own.unet.condition.kind ||
                                        other.unet.condition.factor != own.unet.condition.factor))
    refuse("has another condition");
  return guide;
}

// The pictures of --condition, else those of default_condition. Throws UsageError or IoError.
ConditionPictures pictures_for(const SampleOptions& options, const exchange::Model& network) {
  const nn::UNetConfig& unet = network.description.unet;
  if (!unet.condition.is_set()) {
    if (options.condition.empty()) return {};
    throw UsageError(
        "--condition is for a network that was trained with model.condition; this one was not");
  }
  if (!options.condition.empty()) return condition_pictures(options.condition, unet);
  if (options.default_condition) return options.default_condition(network);
  throw UsageError(
      fmt::format("this network needs {} for each image: give one, or a folder of them, with "
                  "--condition",
                  describe_condition(unet)));
}

}  // namespace

SamplePlan plan_sampling(const SampleOptions& options,
                         std::shared_ptr<const exchange::Model> network) {
  if (!options.save_tensors.empty() && options.keep)
    throw UsageError("--save-tensors needs every image sampled anew; leave out --continue");

  SamplePlan plan;
  plan.network =
      network ? std::move(network) : std::make_shared<const exchange::Model>(open_network(options));
  plan.config = sample_config(options, *plan.network);
  plan.classes = classes_in_turn(options, plan.network->description);
  plan.pictures = pictures_for(options, *plan.network);
  plan.vectors = sample_vectors(options.vector, options.vectors, plan.network->description.unet);
  plan.guide = open_guide(options, *plan.network);
  plan.script_guide = options.script_guide;
  plan.guide_scale = options.guide_scale;
  sample::GenerateOptions& generate = plan.generate;
  generate.device = parse_device(options.device);
  plan.precision = nn::precision_on(generate.device, nn::parse_precision(options.precision));
  plan.deterministic = options.deterministic;
  if (plan.deterministic && plan.precision == nn::Precision::kTf32)
    throw UsageError("--deterministic cannot be combined with --precision tf32; use fp32");

  if (!options.init_noise.empty()) {
    sample::read_noise_(options.init_noise, generate);
    if (!options.num) plan.config.num = generate.initial_noise.size(0);
  }
  if (plan.config.num > kMaxImages)
    throw UsageError(
        fmt::format("--num {}: at most {} images at a time", plan.config.num, kMaxImages));
  generate.images = sample::image_range(0, plan.config.num);
  generate.channels = plan.network->description.unet.image.channels;
  generate.height = plan.network->description.unet.image.height;
  generate.width = plan.network->description.unet.image.width;
  generate.batch = std::min(plan.config.batch, plan.config.num);
  plan.depth = options.depth.value_or(plan.network->description.depth);
  generate.seed = static_cast<uint64_t>(options.seed);
  generate.dtype = nn::storage_type(plan.precision);
  generate.cuda_graph = options.cuda_graph == "auto";
  describe_settings(options, plan);
  return plan;
}

void expect_one_class(const SamplePlan& plan, const std::string& what) {
  if (plan.classes.size() > 1)
    throw UsageError(fmt::format(
        "{} of a class-conditional network need one class: name it with --class", what));
  if (plan.vectors.rows.defined() && plan.vectors.rows.size(0) > 1)
    throw UsageError(fmt::format(
        "{} of a vector-conditional network need one vector: give it with --vector", what));
}

}  // namespace ddpm::pipeline
