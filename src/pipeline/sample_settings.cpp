#include "ddpm/base/error.h"
#include "ddpm/exchange/model.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"
#include "ddpm/pipeline/sample_plan.h"
#include "ddpm/sample/methods.h"
#include "ddpm/sample/sample_config.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace ddpm::pipeline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Images depend on the schedule and the prediction too.
Json diffusion_settings(const diffusion::DiffusionConfig& config) {
  Json json = config::to_json(config);
  if (json.erase("betas") > 0)
    json["betas_crc32c"] = io::crc32c(io::bytes_of(std::span(config.schedule.betas)));
  return json;
}

// Whether a text is safe in a folder's name and has no '-', which separates its parts.
bool is_plain(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) || c == '_' || c == '.');
  });
}

// Each class by name if that is plain, else by number; a long list by its checksum. "" if there are
// no classes, or all are sampled in turn.
std::string name_of_classes(const SamplePlan& plan) {
  const auto& names = plan.network->description.class_names;
  if (plan.classes.empty() ||  // the network has none, even if the data has
      plan.classes == sample::image_range(0, plan.network->description.unet.image.classes))
    return "";
  std::vector<std::string> named;
  for (const int64_t c : plan.classes) {
    const bool has = c < std::ssize(names) && is_plain(names[c]) &&
                     std::count(names.begin(), names.end(), names[c]) == 1;
    named.push_back(has ? names[c] : fmt::format("{}", c));
  }
  const std::string text = fmt::format("{}", fmt::join(named, "-"));
  if (text.size() <= 60) return "-class-" + text;
  const std::string numbers = fmt::format("{}", fmt::join(plan.classes, "-"));
  return fmt::format("-classes-{:08x}", io::crc32c(numbers));
}

// The checkpoint's step, or the name of the file or folder with a checksum: two files of the same
// name may lie in different folders.
std::string name_of_source(const SamplePlan& plan, const Json& settings) {
  const fs::path path = fs::absolute(plan.network->path).lexically_normal();
  const std::string name = (path.has_filename() ? path : path.parent_path()).filename().string();
  if (plan.network->is_checkpoint) return name;
  return fmt::format("{}-{:08x}", name, settings.at("weights_crc32c").get<uint32_t>());
}

// RUN/generated/... if the checkpoint is RUN/checkpoints/step-N; else generated/... here.
fs::path default_folder(const SampleOptions& options, const SamplePlan& plan,
                        const Json& settings) {
  std::string name = name_of_source(plan, settings) + "-" + sample::short_name(plan.config);
  name += name_of_classes(plan);
  if (!plan.task_name.empty()) name += "-" + plan.task_name;
  if (plan.weights_name() != "only" && plan.weights_name() != "ema")
    name += "-" + plan.weights_name();
  if (plan.precision != nn::Precision::kFp32) name += "-" + config::to_string(plan.precision);
  if (settings.contains("condition_crc32c"))
    name += fmt::format("-condition-{:08x}", settings["condition_crc32c"].get<uint32_t>());
  if (plan.vectors.chosen) name += fmt::format("-vector-{:08x}", plan.vectors.crc32c);
  if (settings.contains("guide_crc32c"))
    name += fmt::format("-guide-{:08x}", settings["guide_crc32c"].get<uint32_t>());
  if (settings.contains("script_guide_crc32c"))
    name += fmt::format("-guide-{:08x}-scale-{}", settings["script_guide_crc32c"].get<uint32_t>(),
                        plan.guide_scale);
  if (settings.contains("init_noise_crc32c"))
    name += fmt::format("-noise-{:08x}", settings["init_noise_crc32c"].get<uint32_t>());
  if (plan.depth != plan.network->description.depth) name += fmt::format("-{}-bit", plan.depth);
  name += fmt::format("-seed-{}", options.seed);
  if (!options.only.empty())  // apart from the whole set, which stays
    name += fmt::format("-only-{}", options.only.size() <= 40
                                        ? options.only
                                        : fmt::format("{:08x}", io::crc32c(options.only)));
  return exchange::run_of(*plan.network) / "generated" / name;
}

uint32_t crc32c_of(const std::vector<sample::BespokeStep>& fitted) {
  std::vector<double> weights;
  for (const sample::BespokeStep& step : fitted)
    weights.insert(weights.end(), step.weights.begin(), step.weights.end());
  return io::crc32c(io::bytes_of(std::span(weights)));
}

// What the images are made from besides noise, and the networks that guide.
void describe_given_(const SamplePlan& plan, Json& source, Json& settings) {
  if (plan.pictures.of) {
    source["condition"] = plan.pictures.source;
    settings["condition_crc32c"] = plan.pictures.crc32c;
  }
  if (plan.vectors.rows.defined()) {
    source["vectors"] = plan.vectors.source;
    settings["vectors_crc32c"] = plan.vectors.crc32c;
  }
  if (plan.guide) {
    source["guide"] = plan.guide->path.string();
    settings["guide_crc32c"] = exchange::weights_checksum(*plan.guide);
  }
  if (!plan.script_guide.empty()) {
    source["script_guide"] = plan.script_guide;
    settings["script_guide_crc32c"] = io::file_sum(plan.script_guide).crc32c;
    settings["guide_scale"] = plan.guide_scale;
  }
}

}  // namespace

void describe_settings(const SampleOptions& options, SamplePlan& plan) {
  Json source{{"checkpoint", plan.network->path.string()},
              {"weights", plan.network->weights_file.string()}};
  Json settings = sample::image_settings(plan.config);
  if (!plan.config.posterior_variance.empty())
    settings["posterior_variance_crc32c"] =
        io::crc32c(io::bytes_of(std::span(plan.config.posterior_variance)));
  if (!plan.config.bespoke.empty()) settings["bespoke_crc32c"] = crc32c_of(plan.config.bespoke);
  settings["seed"] = options.seed;
  settings["classes"] = plan.classes;
  settings["precision"] = config::to_string(plan.precision);
  settings["weights"] = plan.weights_name();
  if (plan.depth != 8) settings["depth"] = plan.depth;
  plan.weights_crc32c = exchange::weights_checksum(*plan.network);
  settings["weights_crc32c"] = plan.weights_crc32c;
  settings.update(diffusion_settings(plan.network->description.diffusion));
  if (!plan.task_settings.empty()) {
    settings.update(io::parsed_json(plan.task_settings));
    source["inputs"] = plan.task_inputs;
  }
  describe_given_(plan, source, settings);
  if (!options.init_noise.empty()) {
    source["init_noise"] = options.init_noise;
    settings["init_noise_crc32c"] = io::file_sum(options.init_noise).crc32c;
  }
  plan.source = io::json_text(source);
  plan.settings = io::json_text(settings);
  plan.folder =
      options.out.empty() ? default_folder(options, plan, settings) : fs::path(options.out);
}

void set_task_(SamplePlan& plan, const SampleOptions& options, const std::string& name,
               const std::string& settings, const std::string& inputs) {
  plan.task_name = name;
  plan.task_settings = settings;
  plan.task_inputs = inputs;
  describe_settings(options, plan);
}

void expect_no_memory(const SamplePlan& plan, const std::string& what, const std::string& way_out) {
  if (!sample::method_named(plan.config.method).remembers) return;
  std::vector<std::string> others;
  for (const sample::MethodEntry& method : sample::methods())
    if (!method.remembers) others.emplace_back(method.name);
  throw UsageError(
      fmt::format("{} needs a method without memory ({}): {} remembers former steps; {}", what,
                  fmt::join(others, ", "), plan.config.method, way_out));
}

sample::PictureSet picture_set(const SamplePlan& plan) {
  Json defaults = sample::image_settings({});
  defaults["depth"] = 8;
  defaults.update(diffusion_settings({}));
  return {.count = plan.config.num,
          .settings = plan.settings,
          .defaults = io::json_text(defaults),
          .source = plan.source,
          .beside = {}};
}

}  // namespace ddpm::pipeline
