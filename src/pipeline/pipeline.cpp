#include "ddpm/pipeline/pipeline.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/diffusion/condition.h"
#include "ddpm/exchange/model.h"
#include "ddpm/pipeline/choices.h"
#include "ddpm/pipeline/fit_file.h"
#include "ddpm/pipeline/sample_images.h"
#include "ddpm/sample/bespoke_fit.h"

#include <algorithm>
#include <utility>

#include <c10/core/DeviceGuard.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::pipeline {
namespace {

constexpr const char* kSource = "settings";  // in place of a file's name in messages

PipelineOptions settled(PipelineOptions options) {
  options.precision = nn::precision_on(options.device, options.precision);
  return options;
}

struct Assignment {
  std::string key, value;  // the value as TOML or a bare word
};

Assignment parsed(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos)
    throw UsageError(fmt::format("\"{}\" must have the form key=value, as in steps=50", text));
  const std::string_view whole = text;
  return {std::string(trimmed(whole.substr(0, equals))),
          std::string(trimmed(whole.substr(equals + 1)))};
}

std::string unquoted(const std::string& value) {
  const bool quoted = value.size() > 1 && value.front() == value.back() &&
                      (value.front() == '"' || value.front() == '\'');
  return quoted ? value.substr(1, value.size() - 2) : value;
}

sample::SampleConfig changed(const sample::SampleConfig& start,
                             const std::vector<Assignment>& assignments) {
  config::Document document = config::Document::parse(config::to_toml(start, "sample"), kSource);
  for (const auto& [key, value] : assignments)
    document.set(fmt::format("sample.{}={}", key, value), "the call");
  config::Reader reader = document.section("sample");
  sample::SampleConfig config = sample::read_sample_config(reader);
  document.check_all_read();
  return config;
}

void check_network_has(const sample::SampleConfig& config, const nn::UNetConfig& unet) {
  if (config.guidance.weight != 1.0 && !nn::can_be_guided(unet))
    throw UsageError(fmt::format("guidance = {} needs a network trained with train.{}_dropout",
                                 config.guidance.weight,
                                 unet.condition.is_set() ? "condition" : "label"));
  if (config.sigma == sample::Sigma::kLearned && !unet.learned_variance)
    throw UsageError(
        "sigma = learned needs a network with model.learned_variance; this one has none");
  if (sample::needs_posterior_variance(config) && config.posterior_variance.empty())
    throw UsageError(
        "sigma = analytic and spacing = optimal need an estimate from training images, which only "
        "the command ddpm sample makes");
}

}  // namespace

Pipeline::Pipeline(const std::filesystem::path& source, const PipelineOptions& options)
    : model_(std::make_shared<const exchange::Model>(exchange::open(source, options.weights))),
      options_(settled(options)),
      unet_(exchange::make_unet(*model_, options_.device, options_.precision)) {}

sample::SampleConfig Pipeline::settings(const std::vector<std::string>& assignments) const {
  sample::SampleConfig start = model_->sample;
  std::vector<Assignment> others;
  std::string method;
  for (const std::string& text : assignments) {
    const Assignment a = parsed(text);
    if (a.key == "steps") start.steps_at.clear();
    if (a.key == "guidance") start.guidance = {};
    if (a.key == "method") method = unquoted(a.value);
    if (a.key != "method" || method != kAutoMethod) others.push_back(a);
  }
  if (method == kAutoMethod) {
    start.steps = changed(start, others).steps;
    take_auto_(start, std::nullopt, *model_);
  } else if (!method.empty()) {
    begin_with_(start, method);
  }
  sample::SampleConfig config = changed(start, others);
  if (!config.steps_at.empty()) config.steps = std::ssize(config.steps_at);
  const int64_t timesteps = model_->description.diffusion.schedule.timesteps;
  if (const auto conflict = sample::find_conflict(config, timesteps))
    throw UsageError(conflict->key + " " + conflict->message);
  check_network_has(config, model_->description.unet);
  if (config.steps == 0) config.steps = timesteps;
  return config;
}

std::vector<int64_t> Pipeline::classes_of(const SampleRequest& request) const {
  const nn::UNetConfig& unet = model_->description.unet;
  if (unet.class_conditional) {
    auto classes = chosen_classes(request.classes, model_->description.class_names,
                                  unet.image.classes, "classes");
    return classes.empty() ? sample::image_range(0, unet.image.classes) : classes;
  }
  if (!request.classes.empty())
    throw UsageError("classes need a class-conditional network; this one is not");
  return {};
}

torch::Tensor Pipeline::vectors_of(const SampleRequest& request) const {
  const nn::UNetConfig& unet = model_->description.unet;
  const torch::Tensor& all = request.vectors;
  if (!all.defined()) return {};
  if (!unet.vector_conditional)
    throw UsageError(
        "vectors are for a network trained with model.vector_conditional; this one was not");
  if (all.dim() != 2 || all.size(0) == 0 || all.size(1) != unet.vectors.width() || all.is_complex())
    throw UsageError(fmt::format(
        "this network needs vectors of shape [M,{}], at least one, not "
        "[{}]; its columns are {}",
        unet.vectors.width(), fmt::join(all.sizes(), ","), fmt::join(unet.vectors.names, ", ")));
  torch::Tensor rows = all.to(torch::kCPU, torch::kFloat);
  if (!rows.isfinite().all().item<bool>())
    throw UsageError("vectors holds NaN or infinity; all must be finite numbers");
  return rows;
}

std::function<torch::Tensor(const std::vector<int64_t>&)> Pipeline::conditions_of(
    const SampleRequest& request) const {
  const nn::UNetConfig& unet = model_->description.unet;
  const torch::Tensor& all = request.conditions;
  if (!unet.condition.is_set()) {
    if (!all.defined()) return {};
    throw UsageError("conditions are for a network trained with model.condition; this one was not");
  }
  const auto shape = diffusion::condition_shape(unet.condition, unet.image.channels,
                                                unet.image.height, unet.image.width);
  const bool fits = all.defined() && all.scalar_type() == torch::kByte && all.dim() == 4 &&
                    all.size(0) > 0 && std::equal(shape.begin(), shape.end(), &all.sizes()[1]);
  if (!fits)
    throw UsageError(fmt::format(
        "this network needs conditions: uint8 [M,{}], at least one{}", fmt::join(shape, ","),
        all.defined() ? fmt::format(", not {} [{}]", torch::toString(all.scalar_type()),
                                    fmt::join(all.sizes(), ","))
                      : ""));
  return condition_pictures(all, "the call").of;
}

SamplePlan Pipeline::plan_of(const SampleRequest& request,
                             const sample::SampleConfig& settings) const {
  const nn::ImageSpec& image = model_->description.unet.image;
  SamplePlan plan;
  plan.network = model_;
  plan.config = settings;
  plan.classes = classes_of(request);
  plan.pictures.of = conditions_of(request);
  plan.vectors.rows = vectors_of(request);
  plan.precision = options_.precision;
  plan.generate.images = sample::image_range(request.first, request.num);
  plan.generate.channels = image.channels;
  plan.generate.height = image.height;
  plan.generate.width = image.width;
  plan.generate.batch = std::min(request.batch, request.num);
  plan.generate.seed = request.seed;
  plan.generate.device = options_.device;
  plan.generate.dtype = nn::storage_type(options_.precision);
  return plan;
}

torch::Tensor Pipeline::sample(const SampleRequest& request,
                               const sample::SampleConfig& settings) const {
  if (request.num < 1 || request.batch < 1 || request.first < 0)
    throw UsageError(fmt::format(
        "num = {}, batch = {}, first = {}: num and batch are at least 1, first at least 0",
        request.num, request.batch, request.first));
  const nn::ImageSpec& image = model_->description.unet.image;
  const c10::OptionalDeviceGuard device(options_.device);
  SamplePlan plan = plan_of(request, settings);
  if (sample::needs_fit(plan.config)) {
    plan.weights_crc32c = exchange::weights_checksum(*model_);
    plan.config.bespoke = kept_fit(
        plan, [&](const SamplePlan& of_all) { return fit_to(of_all, unet_, of_all.generate); });
  }
  plan.generate.progress = request.progress;
  std::vector<torch::Tensor> batches_done{
      torch::empty({0, image.channels, image.height, image.width})};
  const auto result =
      sample_images(plan, unet_, plan.generate, [&](int64_t, const torch::Tensor& batch) {
        batches_done.push_back(batch.to(torch::kCPU, torch::kFloat));
      });
  return result.stopped ? batches_done.front() : torch::cat(batches_done);
}

}  // namespace ddpm::pipeline
