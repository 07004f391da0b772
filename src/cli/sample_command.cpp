#include "ddpm/base/progress.h"
#include "ddpm/cli/app.h"
#include "ddpm/cli/common.h"
#include "ddpm/io/image.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/sample/generate.h"
#include "ddpm/train/checkpoint.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/stop_signal.h"

#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

struct SampleOptions {
  std::string checkpoint;
  bool ddim = false;
  bool ddpm = false;
  std::optional<double> eta;
  std::optional<std::string> sigma, spacing, clip;
  std::optional<int64_t> steps, num, batch;
  int64_t seed = 0;
  int64_t label = -1;
  std::string weights = "ema";
  std::string precision = "fp32";
  std::string device = "auto";
  std::string out, save_tensors, init_noise;
  bool json = false;
};

template <class Enum>
Enum index_of(const std::vector<std::string>& names, const std::string& name) {
  return static_cast<Enum>(std::find(names.begin(), names.end(), name) - names.begin());
}

// The checkpoint's own [sample] section, with what the flags say over it.
sample::SampleConfig sample_config(const SampleOptions& options, const fs::path& checkpoint,
                                   int64_t timesteps) {
  config::Document document = config::Document::load(checkpoint / "config.toml");
  config::Reader section = document.section("sample");
  sample::SampleConfig c = sample::read_sample_config(section);
  const bool hat = options.sigma == "hat";
  if (options.ddim || options.eta || hat) {
    c.method = sample::Method::kDdim;
    c.eta = options.eta.value_or(0.0);
    c.sigma = sample::Sigma::kSmall;
  } else if (options.ddpm || options.sigma) {
    c.method = sample::Method::kDdpm;
    c.eta = 0.0;
    c.sigma = sample::Sigma::kSmall;
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

int64_t class_label(const SampleOptions& options, const nn::ModelDescription& model) {
  const int64_t classes = model.unet.image.classes;
  if (!model.unet.class_conditional) {
    if (options.label >= 0)
      throw UsageError("--class needs a class-conditional network; this one is not");
    return 0;
  }
  if (options.label < 0 || options.label >= classes) {
    throw UsageError(
        fmt::format("--class must be 0 to {}: the network is class-conditional", classes - 1));
  }
  return options.label;
}

fs::path weights_file(const fs::path& checkpoint, const std::string& weights) {
  return checkpoint / (weights == "raw" ? "model.safetensors" : train::ema_file_name(0));
}

void print_summary(const SampleOptions& options, const std::vector<std::string>& files,
                   const fs::path& grid, const fs::path& checkpoint, const sample::SampleConfig& c,
                   const sample::GenerateResult& result) {
  const double rate = static_cast<double>(result.images) / std::max(result.seconds, 1e-9);
  if (!options.json) {
    spdlog::info("{} images in {} ({:.2f} images/s, {} network calls each) in {}", result.images,
                 format_duration(result.seconds), rate, result.network_calls,
                 grid.parent_path().string());
    fmt::print("{}\n", grid.string());
    return;
  }
  const nlohmann::ordered_json json{
      {"checkpoint", checkpoint.string()},
      {"weights", options.weights},
      {"method", sample::to_string(c.method)},
      {"steps", c.steps},
      {"eta", c.eta},
      {"sigma", sample::to_string(c.sigma)},
      {"spacing", sample::spacing_names()[static_cast<size_t>(c.spacing)]},
      {"clip", sample::clip_names()[static_cast<size_t>(c.clip)]},
      {"seed", options.seed},
      {"images", result.images},
      {"network_calls", result.network_calls},
      {"seconds", result.seconds},
      {"images_per_s", rate},
      {"grid", grid.string()},
      {"files", files}};
  fmt::print("{}\n", json.dump());
}

int run_sample(const SampleOptions& options) {
  // Which network.
  fs::path checkpoint;
  if (options.checkpoint.empty()) {
    if (!fs::exists("runs"))
      throw UsageError("there is no folder runs here; name a checkpoint or run with --ckpt");
    checkpoint = train::resolve_checkpoint("runs");
  } else {
    const auto report = [](const fs::path& damaged, const std::string& problem) {
      spdlog::warn("{} is damaged ({}); using the one before it", damaged.string(), problem);
    };
    checkpoint = train::resolve_checkpoint(options.checkpoint, report);
  }
  const nn::ModelDescription model = nn::read_model_description(checkpoint / "model.toml");
  const diffusion::Schedule schedule(model.diffusion.schedule);
  sample::SampleConfig config = sample_config(options, checkpoint, schedule.timesteps());
  const torch::Device device = train::parse_device(options.device);
  const nn::Precision precision = nn::parse_precision(options.precision);
  const int64_t label = class_label(options, model);

  // What to draw.
  sample::GenerateOptions generate;
  if (!options.init_noise.empty()) {
    read_noise(options.init_noise, generate);
    if (!options.num) config.num = generate.initial_noise.size(0);
  }
  generate.images = sample::image_range(0, config.num);
  generate.channels = model.unet.image.channels;
  generate.height = model.unet.image.height;
  generate.width = model.unet.image.width;
  generate.batch = config.batch;
  generate.seed = static_cast<uint64_t>(options.seed);
  generate.device = device;
  generate.dtype = nn::storage_type(precision);
  const fs::path out =
      options.out.empty() ? default_folder(checkpoint, config, options) : fs::path(options.out);
  std::error_code error;
  fs::create_directories(out, error);
  if (error) throw IoError(out, fmt::format("cannot be made: {}", error.message()));

  const nn::UNet unet =
      nn::load_unet(model.unet, weights_file(checkpoint, options.weights), device, precision);
  spdlog::info("{} ({} weights): {} images by {}, {} steps, on {}", checkpoint.string(),
               options.weights, config.num, sample::to_string(config.method), config.steps,
               device.str());

  // Drawing: files appear batch by batch.
  const train::StopSignal signal;
  Progress progress("sampling", config.num * config.steps);
  generate.progress = [&](const sample::Progress& p) {
    const double rate = static_cast<double>(p.images_done) / std::max(p.seconds, 1e-9);
    progress.update(p.images_done * p.steps + p.step * p.batch_images,
                    fmt::format("{}/{} images{}", p.images_done, p.images_total,
                                p.images_done > 0 ? fmt::format("  {:.2f} images/s", rate) : ""));
    return !signal.stop_requested();
  };
  std::vector<std::string> files;
  std::vector<torch::Tensor> pictures, floats;
  const auto sink = [&](int64_t first, const torch::Tensor& batch) {
    const torch::Tensor host = batch.cpu();
    const torch::Tensor pixels = io::to_uint8(host);
    for (int64_t i = 0; i < pixels.size(0); ++i) {
      const fs::path path = out / fmt::format("{:06}.png", generate.images[first + i]);
      io::write_png(path, pixels[i]);
      files.push_back(path.string());
    }
    pictures.push_back(pixels);
    if (!options.save_tensors.empty()) floats.push_back(host.to(torch::kFloat));
  };
  const auto result = sample::generate(nn::make_denoiser(unet, precision, label), schedule,
                                       model.diffusion.prediction, config, generate, sink);
  progress.clear();
  if (pictures.empty()) {
    spdlog::warn("stopped before the first image was finished");
    return kStopped;
  }
  const fs::path grid = out / "grid.png";
  io::write_png(grid, io::make_grid(torch::cat(pictures)));
  if (!options.save_tensors.empty())
    io::write_safetensors(options.save_tensors, {{"samples", torch::cat(floats)}});
  print_summary(options, files, grid, checkpoint, config, result);
  return result.stopped ? kStopped : kOk;
}

}  // namespace

void add_sample(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<SampleOptions>();
  CLI::App* command =
      app.add_subcommand("sample", "Draw images from a checkpoint (Algorithm 2 or DDIM)");
  command->add_option("--ckpt", o->checkpoint,
                      "a checkpoint, a run, or a folder of runs (default: newest below runs/)");
  command
      ->add_option("--steps", o->steps,
                   "network calls an image, 1 to T (default: the checkpoint's sample.steps)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  auto* ddim = command->add_flag("--ddim", o->ddim,
                                 "DDIM; eta 0 (deterministic) unless --eta says otherwise");
  command->add_flag("--ddpm", o->ddpm, "Algorithm 2, also where the checkpoint's config says ddim")
      ->excludes(ddim);
  command->add_option("--eta", o->eta, "DDIM's noise: 0 none, 1 as much as Algorithm 2")
      ->check(CLI::Range(0.0, 1.0));
  command
      ->add_option("--sigma", o->sigma,
                   "noise of a step: small (beta_tilde), large (beta), hat (DDIM paper)")
      ->check(CLI::IsMember(sample::sigma_names()));
  command->add_option("--spacing", o->spacing, "which of the T steps")
      ->check(CLI::IsMember(sample::spacing_names()));
  command
      ->add_option(
          "--clip", o->clip,
          "what becomes of an x0 outside [-1,1]: none; clip; rederive (clip, eps to match)")
      ->check(CLI::IsMember(sample::clip_names()));
  command->add_option("--num", o->num, "images to draw")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  command->add_option("--batch", o->batch, "images drawn at a time; changes no image")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command->add_option("--seed", o->seed, "image i of a seed is always the same picture")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 53))
      ->capture_default_str();
  command->add_option("--class", o->label, "class to draw, for class-conditional networks")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--weights", o->weights, "the averaged or the raw weights")
      ->check(CLI::IsMember({"ema", "raw"}))
      ->capture_default_str();
  command->add_option("--precision", o->precision, "what the network computes in")
      ->check(CLI::IsMember(nn::precision_names()))
      ->capture_default_str();
  command->add_option("--device", o->device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  command->add_option("--out", o->out, "folder for the pictures (default: RUN/generated/...)");
  command->add_option("--save-tensors", o->save_tensors,
                      "also write samples [N,C,H,W] float32, unclamped, to this .safetensors");
  command->add_option("--init-noise", o->init_noise,
                      "read x_T [N,C,H,W] and, if there, z [S,N,C,H,W] from this .safetensors");
  command->add_flag("--json", o->json, "print one machine-readable line");
  command->callback([o, &chosen] { chosen = [o] { return run_sample(*o); }; });
}

}  // namespace ddpm::cli
