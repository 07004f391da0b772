#include "sample_plan.h"

#include "ddpm/base/utf8.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/json_text.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/nn/drawing_network.h"
#include "ddpm/train/checkpoint.h"
#include "ddpm/train/checkpoint_manifest.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/young_average.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

template <class Enum>
Enum index_of(const std::vector<std::string>& names, const std::string& name) {
  return static_cast<Enum>(std::find(names.begin(), names.end(), name) - names.begin());
}

// The checkpoint's own [sample] section.
sample::SampleConfig saved_config(const fs::path& checkpoint) {
  config::Document document = config::Document::load(checkpoint / "config.toml");
  config::Reader section = document.section("sample");
  return sample::read_sample_config(section);
}

// What the flags say over the checkpoint's own settings.
sample::SampleConfig sample_config(const SampleOptions& options, sample::SampleConfig c,
                                   const nn::ModelDescription& model) {
  const int64_t timesteps = model.diffusion.schedule.timesteps;
  const bool hat = options.sigma == "hat";
  if (options.ddim || options.eta || hat) {
    c.method = sample::Method::kDdim;
    c.eta = options.eta.value_or(0.0);
    c.sigma = sample::Sigma::kSmall;
  } else if (options.ddpm || options.sigma) {
    c.method = sample::Method::kDdpm;
    c.eta = 0.0;
    c.sigma = sample::Sigma::kSmall;
    c.last_alpha = sample::LastAlpha::kOne;
  }
  if (options.sigma) c.sigma = index_of<sample::Sigma>(sample::sigma_names(), *options.sigma);
  if (options.spacing)
    c.spacing = index_of<sample::Spacing>(sample::spacing_names(), *options.spacing);
  if (options.clip) c.clip = index_of<sample::Clip>(sample::clip_names(), *options.clip);
  c.steps = options.steps.value_or(c.steps);
  c.num = options.num.value_or(c.num);
  c.batch = options.batch.value_or(c.batch);
  if (const auto conflict = sample::find_conflict(c, timesteps)) {
    throw UsageError(fmt::format("--{} {}", conflict->key, conflict->message));
  }
  if (c.sigma == sample::Sigma::kLearned && !model.unet.learned_variance) {
    throw UsageError(
        "--sigma learned needs a network with model.learned_variance; this one has none");
  }
  if (c.steps == 0) c.steps = timesteps;
  return c;
}

// "ddpm-1000", "ddim-50", "ddim-50-eta-0.5", "ddpm-50-large": names the default output folder.
std::string method_name(const sample::SampleConfig& c) {
  std::string name = fmt::format("{}-{}", sample::to_string(c.method), c.steps);
  if (c.eta > 0.0) name += fmt::format("-eta-{}", c.eta);
  if (c.sigma != sample::Sigma::kSmall) name += "-" + sample::to_string(c.sigma);
  return name;
}

// RUN/generated/..., where the checkpoint is RUN/checkpoints/step-N; else generated/... here.
fs::path default_folder(const fs::path& checkpoint, const sample::SampleConfig& c,
                        const SampleOptions& options) {
  const fs::path parent = checkpoint.parent_path();
  const fs::path base = parent.filename() == "checkpoints" ? parent.parent_path() / "generated"
                                                           : fs::path("generated");
  return base /
         fmt::format("{}-{}-seed-{}", checkpoint.filename().string(), method_name(c), options.seed);
}

void read_noise(const std::string& path, sample::GenerateOptions& generate) {
  const auto file = io::SafetensorsFile::open(path);
  if (!file.contains("x_T"))
    throw IoError(path, "holds no tensor x_T [N,C,H,W] (and, if wanted, z [S,N,C,H,W])");
  generate.initial_noise = file.get("x_T");
  if (file.contains("z")) generate.step_noise = file.get("z");
}

// A class by its name or its number.
int64_t class_of(const std::string& text, const nn::ModelDescription& model) {
  const auto& names = model.class_names;
  if (const auto found = std::find(names.begin(), names.end(), as_utf8(text)); found != names.end())
    return found - names.begin();
  const bool number = !text.empty() && text.size() < 10 &&
                      text.find_first_not_of("0123456789") == std::string::npos;
  const int64_t classes = model.unet.image.classes;
  if (number && std::stoll(text) < classes) return std::stoll(text);
  throw UsageError(fmt::format("--class {}: the network knows 0 to {}{}", text, classes - 1,
                               names.empty() ? "" : fmt::format(" ({})", fmt::join(names, ", "))));
}

std::vector<int64_t> classes_in_turn(const SampleOptions& options,
                                     const nn::ModelDescription& model) {
  std::vector<int64_t> classes;
  if (!model.unet.class_conditional) {
    if (!options.classes.empty())
      throw UsageError("--class needs a class-conditional network; this one is not");
    return classes;
  }
  for (const std::string& text : options.classes) classes.push_back(class_of(text, model));
  if (classes.empty()) classes = sample::image_range(0, model.unet.image.classes);
  return classes;
}

// "raw", "ema", "ema-2", ... to the checkpoint's file.
fs::path weights_file(const fs::path& checkpoint, std::string weights) {
  const size_t averages = train::read_training_state(checkpoint).ema_decays.size();
  if (averages == 0 && weights == "ema") weights = "raw";  // imported: it has one set of weights
  std::vector<std::string> known{"raw"};
  for (size_t i = 0; i < averages; ++i) known.push_back(train::ema_name(i));
  if (std::find(known.begin(), known.end(), weights) == known.end()) {
    throw UsageError(
        fmt::format("--weights {}: this checkpoint has {}", weights, fmt::join(known, ", ")));
  }
  return checkpoint / (weights == "raw" ? "model.safetensors" : weights + ".safetensors");
}

uint32_t weights_checksum(const exchange::Model& model) {
  uint32_t sum = 0;
  for (const io::NamedTensor& weight : model.weights) {
    const torch::Tensor tensor = weight.tensor.contiguous();
    sum = io::crc32c({static_cast<const uint8_t*>(tensor.const_data_ptr()), tensor.nbytes()}, sum);
  }
  return sum;
}

fs::path find_checkpoint(const std::string& given) {
  if (given.empty() && !fs::exists("runs"))
    throw UsageError("there is no folder runs here; name a checkpoint or run with --ckpt");
  const auto report = [](const fs::path& damaged, const std::string& problem) {
    spdlog::warn("{} is damaged ({}); using the one before it", damaged.string(), problem);
  };
  return train::resolve_checkpoint(given.empty() ? "runs" : given, report);
}

// Before hours of drawing, not after them.
void check_tensor_file(const SampleOptions& options) {
  if (options.save_tensors.empty()) return;
  if (options.keep)
    throw UsageError("--save-tensors needs every image drawn anew; leave out --continue");
  const fs::path file = fs::absolute(options.save_tensors);
  if (fs::is_directory(file)) throw IoError(options.save_tensors, "is a folder; name a file");
  if (!fs::is_directory(file.parent_path())) {
    throw IoError(options.save_tensors,
                  fmt::format("cannot be written: there is no folder {}; make it first",
                              file.parent_path().string()));
  }
}

// As the checkpoint's manifest has it: the file was compared with it when the checkpoint was found.
uint32_t manifest_checksum(const fs::path& file) {
  const fs::path path = file.parent_path() / train::kManifestName;
  for (const train::CheckpointFile& f : train::parse_manifest(path, io::read_text(path)).files) {
    if (f.name == file.filename()) return f.sum.crc32c;
  }
  throw IoError(path, fmt::format("does not list {}", file.filename().string()));
}

std::string settings_text(const SamplePlan& plan, const SampleOptions& options) {
  const sample::SampleConfig& c = plan.config;
  nlohmann::ordered_json json{{"checkpoint", plan.checkpoint.string()},
                              {"weights", plan.weights.filename().string()},
                              {"weights_crc32c", plan.foreign ? weights_checksum(*plan.foreign)
                                                              : manifest_checksum(plan.weights)},
                              {"method", sample::to_string(c.method)},
                              {"steps", c.steps},
                              {"eta", c.eta},
                              {"sigma", sample::to_string(c.sigma)},
                              {"spacing", sample::to_string(c.spacing)},
                              {"clip", sample::to_string(c.clip)},
                              {"clip_range", c.clip_range},
                              {"steps_offset", c.steps_offset},
                              {"last_alpha", sample::to_string(c.last_alpha)},
                              {"seed", options.seed},
                              {"classes", plan.classes},
                              {"precision", options.precision}};
  if (!options.init_noise.empty()) {
    json["init_noise"] = options.init_noise;
    json["init_noise_crc32c"] = io::crc32c(io::read_file(options.init_noise));
  }
  return io::json_text(json);
}

// Sets checkpoint, model, weights and foreign; returns how to draw where the flags say nothing.
sample::SampleConfig open_source(const SampleOptions& options, SamplePlan& plan) {
  if (!options.checkpoint.empty() && exchange::is_foreign(options.checkpoint)) {
    plan.checkpoint = plan.weights = options.checkpoint;
    plan.foreign = std::make_shared<const exchange::Model>(
        exchange::read_model(plan.checkpoint, options.weights));
    plan.model = plan.foreign->description;
    return plan.foreign->sample;
  }
  plan.checkpoint = find_checkpoint(options.checkpoint);
  plan.model = nn::read_model_description(plan.checkpoint / "model.toml");
  plan.weights = weights_file(plan.checkpoint, options.weights);
  if (const auto young = train::young_average(plan.checkpoint, options.weights); !young.empty())
    spdlog::warn("{}: draw with --weights raw, or train on", young);
  return saved_config(plan.checkpoint);
}

}  // namespace

SamplePlan plan_sampling(const SampleOptions& options) {
  check_tensor_file(options);

  SamplePlan plan;
  const sample::SampleConfig own = open_source(options, plan);
  plan.config = sample_config(options, own, plan.model);
  plan.classes = classes_in_turn(options, plan.model);
  plan.precision = nn::parse_precision(options.precision);
  plan.deterministic = options.deterministic;
  if (plan.deterministic && plan.precision == nn::Precision::kTf32)
    throw UsageError("--deterministic goes with every --precision but tf32; use fp32");

  sample::GenerateOptions& generate = plan.generate;
  if (!options.init_noise.empty()) {
    read_noise(options.init_noise, generate);
    if (!options.num) plan.config.num = generate.initial_noise.size(0);
  }
  generate.images = sample::image_range(0, plan.config.num);
  generate.channels = plan.model.unet.image.channels;
  generate.height = plan.model.unet.image.height;
  generate.width = plan.model.unet.image.width;
  generate.batch = plan.config.batch;
  generate.seed = static_cast<uint64_t>(options.seed);
  generate.device = train::parse_device(options.device);
  generate.dtype = nn::storage_type(plan.precision);
  generate.cuda_graph = options.cuda_graph == "auto";
  plan.folder = options.out.empty() ? default_folder(plan.checkpoint, plan.config, options)
                                    : fs::path(options.out);
  plan.settings = settings_text(plan, options);
  return plan;
}

nn::UNet load_unet(const SamplePlan& plan) {
  const torch::Device& device = plan.generate.device;
  return plan.foreign ? exchange::make_unet(*plan.foreign, device, plan.precision)
                      : nn::load_unet(plan.model.unet, plan.weights, device, plan.precision);
}

sample::GenerateResult draw_images(const SamplePlan& plan, const nn::UNet& unet,
                                   const sample::GenerateOptions& options,
                                   const sample::Sink& sink) {
  const nn::ArithmeticGuard arithmetic(plan.precision, plan.deterministic);
  nn::DrawingNetwork network(unet, plan.precision, plan.classes, options.batch, options.device);
  sample::GenerateOptions generate = options;
  generate.before_batch = [&](const std::vector<int64_t>& images) { network.set_batch_(images); };
  return sample::generate(network.denoiser(), diffusion::Schedule(plan.model.diffusion.schedule),
                          plan.model.diffusion.prediction, plan.config, generate, sink);
}

}  // namespace ddpm::cli
