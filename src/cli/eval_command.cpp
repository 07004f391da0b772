#include "ddpm/base/clock.h"
#include "ddpm/base/signals.h"
#include "ddpm/base/text.h"
#include "ddpm/cli/app.h"
#include "ddpm/data/factory.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"
#include "ddpm/io/image_grid.h"
#include "ddpm/io/json_text.h"
#include "ddpm/sample/methods.h"
#include "eval_setup.h"
#include "eval_subcommands.h"
#include "flags.h"
#include "output_path.h"
#include "shared_flags.h"

#include <array>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kDefaultSamples = 1000;
constexpr int64_t kNeighbourRows = 12;
constexpr int64_t kNeighbourColumns = 8;
constexpr std::array kSamplingFlags{"--ckpt",   "--steps", "--ddim",    "--ddpm",
                                    "--method", "--eta",   "--sigma",   "--spacing",
                                    "--clip",   "--class", "--weights", "--precision"};

struct ScoreOptions : EvalOptions {
  std::string neighbours;
  bool frechet_only = false;
  std::vector<std::string> sampling_flags;  // given, of those that --samples has no use for
};

// What is to be measured, and how the protocol names it.
struct Samples {
  eval::ImageSource source;
  std::vector<int64_t> indices;
  data::ImageShape shape;
  std::vector<int64_t> classes;  // of each; those in turn, or labels; empty if not known
  nlohmann::ordered_json protocol;
  fs::path checkpoint;
  std::shared_ptr<const data::Dataset> files;  // keeps those of --samples alive
};

// What `ddpm sample` noted of pictures that it wrote; an empty object if it wrote none.
nlohmann::json record_of(const fs::path& folder) {
  const fs::path file = folder / "sampling.json";
  if (!fs::is_regular_file(file)) return nlohmann::json::object();
  auto json = nlohmann::json::parse(io::read_text(file), nullptr, false);
  return json.is_object() ? json : nlohmann::json::object();
}

// The classes in turn of pictures that `ddpm sample` wrote: how many there are. 0 if they are not
// known.
int64_t number_of_classes(const fs::path& folder, int64_t pictures) {
  if (!fs::exists(folder / fmt::format("{:06}.png", pictures - 1))) return 0;
  const nlohmann::json json = record_of(folder);
  const nlohmann::json::json_pointer classes("/settings/classes");
  return json.contains(classes) && json[classes].is_array() ? std::ssize(json[classes]) : 0;
}

void warn_if_cut_short(const fs::path& folder, int64_t pictures) {
  const nlohmann::json json = record_of(folder);
  if (!json.contains("images") || !json["images"].is_number_integer()) return;
  const int64_t asked = json["images"].get<int64_t>();
  if (asked > pictures)
    spdlog::warn(
        "{}: {} of {} images are there: the sampling was cut short, and --continue draws the rest",
        folder.string(), pictures, asked);
}

std::vector<int64_t> classes_of_files(const Samples& s, const fs::path& path) {
  if (s.files->class_count() == 0)
    return classes_in_turn(s.indices, number_of_classes(path, s.files->size()));
  std::vector<int64_t> classes;
  eval::visit_examples(*s.files, s.indices, 64,
                       [&](int64_t, const torch::Tensor&, const torch::Tensor& labels) {
                         const auto* label = labels.const_data_ptr<int64_t>();
                         classes.insert(classes.end(), label, label + labels.size(0));
                       });
  return classes;
}

Samples samples_of_files(const EvalOptions& o) {
  data::DataConfig config;
  config.path = o.samples;
  config.has_config = false;
  Samples s;
  s.files = data::open_dataset(config, 0);
  const int64_t num = o.sample.num.value_or(s.files->size());
  if (num > s.files->size()) {
    throw UsageError(
        fmt::format("--num {}: {} holds only {} images", num, o.samples, s.files->size()));
  }
  warn_if_cut_short(o.samples, s.files->size());
  s.source = eval::images_of(*s.files);
  s.indices = eval::representative_indices(s.files->size(), num);
  s.classes = classes_of_files(s, o.samples);
  s.shape = s.files->shape();
  s.protocol = {{"num", num}, {"samples", o.samples}, {"seed", o.sample.seed}};
  return s;
}

Samples samples_of_checkpoint(const EvalOptions& o, const Processes& world) {
  SampleOptions options = o.sample;
  const std::string near = nearest(options.checkpoint, {"likelihood", "sweep"});
  if (!near.empty() && !fs::exists(options.checkpoint)) {
    throw UsageError(fmt::format("{}: no such checkpoint; did you mean ddpm eval {}?",
                                 options.checkpoint, near));
  }
  options.num = options.num.value_or(kDefaultSamples);
  SamplePlan plan = plan_sampling(options);
  plan.generate.device = world.device;
  Samples s;
  s.source = drawn_images(plan);
  s.indices = plan.generate.images;
  s.shape = {plan.generate.channels, plan.generate.height, plan.generate.width};
  s.classes = classes_of(plan);
  s.protocol = {{"num", s.indices.size()}, {"sampler", sample::describe(plan.config)}};
  s.protocol.update(samples_json(plan, options));
  s.checkpoint = plan.network->path;
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
  io::write_png(file, io::enlarged(eval::neighbour_picture(images, features, ruler.reference,
                                                           *ruler.data.images, kNeighbourColumns)));
  spdlog::info("{}: samples (left) and their nearest reference images in feature space", file);
}

int run_eval(const ScoreOptions& o) {
  if (!o.samples.empty() && !o.sampling_flags.empty()) {
    throw UsageError(fmt::format("--samples measures images that exist; {} is for sampling some",
                                 o.sampling_flags.front()));
  }
  expect_beside_input("--neighbours", o.neighbours, "the samples", o.samples);
  expect_beside_input("--neighbours", o.neighbours, "the reference images", o.reference);
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
                     .classes = samples.classes,
                     .keep_bytes = o.frechet_only ? 0 : eval::kKeepAll,
                     .device = world.device},
                    world.world);
  const double seconds = seconds_since(begin);
  if (!world.world.is_main()) return kOk;

  const auto seed = static_cast<uint64_t>(o.sample.seed);
  eval::Metrics metrics = eval::measure(set, ruler.reference, {.seed = seed});
  const eval::ExtractorDescription& network = ruler.features->description();
  metrics.warnings.insert(metrics.warnings.begin(), network.warnings.begin(),
                          network.warnings.end());
  for (const std::string& warning : metrics.warnings) spdlog::warn("{}", warning);
  if (!o.neighbours.empty()) draw_neighbours(o.neighbours, first, ruler);

  nlohmann::ordered_json protocol = samples.protocol;
  protocol.update(protocol_json(ruler));
  if (!o.json) {
    print_metrics(metrics, network);
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
      "eval",
      "Measure samples: Frechet distance (FID), kernel distance (KID), precision, recall, ...");
  add_network_flags(*command, o->sample);
  add_sampler_flags(*command, o->sample);
  command
      ->add_option("--samples", o->samples,
                   "measure these images (folder, zip, npz, ...) instead of sampling any")
      ->type_name("PATH");
  command
      ->add_option("--num", o->sample.num,
                   "images to measure (default: 1000 sampled ones; all of --samples)")
      ->check(whole(2, int64_t{1} << 40));
  add_reference_flags(*command, *o);
  add_feature_flags(*command, *o);
  command->add_flag("--frechet-only", o->frechet_only,
                    "the Frechet distance alone, in memory that does not grow with --num");
  command
      ->add_option("--neighbours", o->neighbours,
                   "write a picture of samples beside their nearest reference images to this .png")
      ->type_name("FILE");
  add_json_flag(*command, o->json);
  command->footer(
      "Example:\n"
      "  ddpm eval --ckpt runs/mine --steps 50 --ddim --num 5000");
  command->require_subcommand(0, 1);
  add_eval_likelihood(*command, chosen);
  add_eval_sweep(*command, chosen);
  command->callback([o, command, &chosen] {
    for (const char* flag : kSamplingFlags)
      if (command->count(flag) > 0) o->sampling_flags.emplace_back(flag);
    if (command->get_subcommands().empty()) chosen = [o] { return run_eval(*o); };
  });
}

}  // namespace ddpm::cli
