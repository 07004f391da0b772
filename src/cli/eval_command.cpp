#include "ddpm/base/progress.h"
#include "ddpm/cli/app.h"
#include "ddpm/data/factory.h"
#include "ddpm/data/statistics.h"
#include "ddpm/io/image.h"
#include "ddpm/io/json_text.h"
#include "end_on_signal.h"
#include "eval_setup.h"
#include "eval_subcommands.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kDefaultSamples = 1000;
constexpr int64_t kNeighbourRows = 12;
constexpr int64_t kNeighbourColumns = 8;

struct ScoreOptions : EvalOptions {
  std::string neighbours;
  bool frechet_only = false;
};

// What is to be measured, and how the protocol names it.
struct Samples {
  eval::ImageSource source;
  std::vector<int64_t> indices;
  data::ImageShape shape;
  nlohmann::ordered_json protocol;
  fs::path checkpoint;
  std::shared_ptr<const data::Dataset> files;  // keeps those of --samples alive
};

Samples samples_of_files(const EvalOptions& o) {
  data::DataConfig config;
  config.path = o.samples;
  Samples s;
  s.files = data::open_dataset(config, 0);
  const int64_t num = o.sample.num.value_or(s.files->size());
  if (num > s.files->size()) {
    throw UsageError(
        fmt::format("--num {}: {} holds only {} images", num, o.samples, s.files->size()));
  }
  s.source = eval::images_of(*s.files);
  s.indices = data::spread_indices(s.files->size(), num);
  s.shape = s.files->shape();
  s.protocol = {{"num", num}, {"samples", o.samples}};
  return s;
}

Samples samples_of_checkpoint(const EvalOptions& o, const Processes& world) {
  SampleOptions options = o.sample;
  options.num = options.num.value_or(kDefaultSamples);
  SamplePlan plan = plan_sampling(options);
  plan.generate.device = world.device;
  Samples s;
  s.source = drawn_images(plan);
  s.indices = plan.generate.images;
  s.shape = {plan.generate.channels, plan.generate.height, plan.generate.width};
  s.protocol = {{"num", s.indices.size()},
                {"samples", plan.checkpoint.string()},
                {"weights", options.weights},
                {"sampler", describe_sampler(plan.config)},
                {"seed", options.seed}};
  s.checkpoint = plan.checkpoint;
  return s;
}

std::string size_text(const data::ImageShape& s) {
  return fmt::format("{}x{} with {} channels", s.height, s.width, s.channels);
}

void check_shapes(const Samples& samples, const ReferenceData& data) {
  if (data.images == nullptr || data.images->shape() == samples.shape) return;
  throw UsageError(fmt::format(
      "the samples are {}, the reference {}: a comparison would measure the resizing; for a config "
      "set data.image_size and data.channels, else convert the images",
      size_text(samples.shape), size_text(data.images->shape())));
}

// Keeps the first pictures that pass through.
eval::ImageSource keep_first(eval::ImageSource source, std::vector<torch::Tensor>& kept) {
  return [source = std::move(source), &kept](const std::vector<int64_t>& images,
                                             const eval::ImageSink& sink) {
    source(images, [&](int64_t first, const torch::Tensor& batch) {
      for (int64_t i = 0; first + i < kNeighbourRows && i < batch.size(0); ++i)
        kept.push_back(batch[i].clone());
      sink(first, batch);
    });
  };
}

void draw_neighbours(const std::string& file, const std::vector<torch::Tensor>& first,
                     const Ruler& ruler) {
  const torch::Tensor images = torch::stack(first);
  const torch::Tensor features = ruler.features->extract(images).pooled.cpu();
  io::write_png(file, eval::neighbour_picture(images, features, ruler.reference, *ruler.data.images,
                                              kNeighbourColumns));
  spdlog::info("{}: samples (left) and their nearest reference images in feature space", file);
}

int run_eval(const ScoreOptions& o) {
  if (!o.samples.empty() && !o.sample.checkpoint.empty())
    throw UsageError("--samples and --ckpt: give one of them");
  const EndOnSignal ending("what was drawn and measured is lost");
  const Processes world = join_to_draw(detected_launch(), o.sample.device);
  Samples samples = o.samples.empty() ? samples_of_checkpoint(o, world) : samples_of_files(o);
  const auto num = static_cast<int64_t>(samples.indices.size());
  if (num < std::max<int64_t>(2, world.world.size()))
    throw UsageError("--num: a distance needs at least two images, and one a process");
  const Ruler ruler = open_ruler(o, samples.checkpoint, world);
  check_shapes(samples, ruler.data);
  if (!o.neighbours.empty() && ruler.data.images == nullptr)
    throw UsageError("--neighbours needs reference images, not statistics");

  std::vector<torch::Tensor> first;
  const auto begin = std::chrono::steady_clock::now();
  const eval::FeatureSet set =
      eval::collect(o.neighbours.empty() ? samples.source : keep_first(samples.source, first),
                    samples.indices, *ruler.features,
                    {.title = o.samples.empty() ? "drawing and measuring" : "measuring",
                     .keep = o.frechet_only ? 0 : num,
                     .device = world.device},
                    world.world);
  const double seconds = seconds_since(begin);
  if (!world.world.is_main()) return kOk;

  const auto seed = static_cast<uint64_t>(o.sample.seed);
  const eval::Metrics metrics = eval::measure(set, ruler.reference, {.seed = seed});
  for (const std::string& warning : metrics.warnings) spdlog::warn("{}", warning);
  if (!o.neighbours.empty()) draw_neighbours(o.neighbours, first, ruler);

  nlohmann::ordered_json protocol = samples.protocol;
  protocol.update(protocol_json(ruler));
  if (!o.json) {
    print_metrics(metrics, ruler.features->description().distance_name);
    fmt::print("{}\n", protocol_line(protocol));
    return kOk;
  }
  nlohmann::ordered_json json = metrics_json(metrics);
  json["num"] = num;
  json["seconds"] = seconds;
  json["protocol"] = protocol;
  json["protocol_line"] = protocol_line(protocol);
  fmt::print("{}\n", io::json_text(json));
  return kOk;
}

}  // namespace

void add_eval(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<ScoreOptions>();
  CLI::App* command = app.add_subcommand(
      "eval", "Measure samples: Frechet and kernel distance, precision, recall, ...");
  add_network_flags(*command, o->sample);
  add_sampler_flags(*command, o->sample);
  command->add_option("--samples", o->samples,
                      "measure these images (folder, zip, npz, ...) instead of drawing any");
  command
      ->add_option("--num", o->sample.num,
                   "images to measure (default: 1000 drawn ones; all of --samples)")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 40));
  add_reference_flags(*command, *o);
  add_feature_flags(*command, *o);
  command->add_flag("--frechet-only", o->frechet_only,
                    "the Frechet distance alone, in memory that does not grow with --num");
  command->add_option("--neighbours", o->neighbours,
                      "draw samples beside their nearest reference images: this .png");
  command->add_flag("--json", o->json, "print one machine-readable line");
  command->require_subcommand(0, 1);
  add_eval_likelihood(*command, chosen);
  add_eval_sweep(*command, chosen);
  command->callback([o, command, &chosen] {
    if (command->get_subcommands().empty()) chosen = [o] { return run_eval(*o); };
  });
}

}  // namespace ddpm::cli
