#include "ddpm/base/clock.h"
#include "ddpm/base/signals.h"
#include "ddpm/base/text.h"
#include "ddpm/cli/app.h"
#include "ddpm/io/image.h"
#include "ddpm/io/json_text.h"
#include "ddpm/io/png.h"
#include "ddpm/pipeline/sample_images.h"
#include "ddpm/sample/methods.h"
#include "estimates.h"
#include "eval_setup.h"
#include "eval_subcommands.h"
#include "flags.h"
#include "output_path.h"
#include "paired_meter.h"
#include "shared_flags.h"

#include <algorithm>
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
constexpr std::array kSamplingFlags{"--ckpt",      "--steps",     "--ddim",    "--ddpm",
                                    "--method",    "--eta",       "--sigma",   "--spacing",
                                    "--clip",      "--class",     "--weights", "--ema-length",
                                    "--precision", "--condition", "--paired"};

struct ScoreOptions : EvalOptions {
  std::string samples;  // images to measure instead of a checkpoint's
  std::string neighbours;
  bool frechet_only = false;
  bool paired = false;
  std::vector<std::string> sampling_flags;  // those given, which do not go with --samples
};

// The samples, and how the protocol describes them.
struct Subject {
  eval::Samples samples;
  nlohmann::ordered_json protocol;
  fs::path checkpoint;
  std::shared_ptr<PairedMeter> paired;  // of --paired
};

Subject subject_of_files(const ScoreOptions& o) {
  Subject s;
  s.samples = eval::samples_at(o.samples, o.sample.num);
  s.protocol = {{"num", s.samples.indices.size()}, {"samples", o.samples}, {"seed", o.sample.seed}};
  return s;
}

// The images whose conditions the samples have. Throws UsageError if there are none.
ConditionImages expect_pairs(const std::optional<ConditionImages>& conditions,
                             const ScoreOptions& o) {
  if (conditions) {
    if (conditions->split == "train")
      spdlog::warn(
          "the network was trained on these images; hold some out with data.holdout, or name "
          "others "
          "with --reference");
    return *conditions;
  }
  throw UsageError(
      o.sample.condition.empty()
          ? "--paired is for a network that was trained with model.condition; this one was not"
          : "--paired needs the images that the conditions were made from; leave out --condition");
}

void keep_first_(pipeline::SamplePlan& plan, int64_t num) {
  if (num >= plan.config.num) return;
  plan.config.num = num;
  plan.generate.images = sample::image_range(0, num);
  plan.generate.batch = std::min(plan.generate.batch, num);
}

Subject subject_of_checkpoint(const ScoreOptions& o, const Processes& world) {
  pipeline::SampleOptions options = o.sample;
  const std::string near = nearest(options.checkpoint, {"likelihood", "sweep"});
  if (!near.empty() && !fs::exists(options.checkpoint)) {
    throw UsageError(fmt::format("{}: no such checkpoint; did you mean ddpm eval {}?",
                                 options.checkpoint, near));
  }
  options.num = options.num.value_or(kDefaultSamples);
  const auto conditions = condition_on_data_(options, o, *options.num);
  pipeline::SamplePlan plan = pipeline::plan_sampling(options);
  settle_(plan, options, world);
  Subject s;
  if (o.paired) {
    const ConditionImages pairs = expect_pairs(*conditions, o);
    if (!o.sample.num) keep_first_(plan, std::ssize(pairs.chosen));
    s.paired = std::make_shared<PairedMeter>(pairs, plan);
  }
  s.samples = pipeline::samples_of(plan);
  if (s.paired) s.samples.source = s.paired->around(s.samples.source);
  s.protocol = {{"num", s.samples.indices.size()}, {"sampler", sample::describe(plan.config)}};
  s.protocol.update(pipeline::samples_json(plan, options));
  s.checkpoint = plan.network->path;
  return s;
}

void check_eval_flags(const ScoreOptions& o) {
  if (!o.samples.empty() && !o.sampling_flags.empty()) {
    throw UsageError(fmt::format("--samples measures existing images; {} is for sampling new ones",
                                 o.sampling_flags.front()));
  }
  expect_beside_input("--neighbours", o.neighbours, "the samples", o.samples);
  expect_beside_input("--neighbours", o.neighbours, "the reference images", o.reference);
  if (!o.neighbours.empty()) expect_own_picture("--neighbours", o.neighbours);
}

void write_neighbours(const std::string& file, const eval::Evaluator& evaluator,
                      const std::vector<torch::Tensor>& first) {
  const torch::Tensor picture = evaluator.neighbours(first, kNeighbourColumns);
  io::write_marked_png(file, io::enlarged(picture), "ddpm eval");
  spdlog::info("{}: samples (left) and their nearest reference images in feature space", file);
}

void print_scores(const ScoreOptions& o, const eval::Evaluator& evaluator, const Subject& subject,
                  const eval::Metrics& metrics, double seconds) {
  nlohmann::ordered_json protocol = subject.protocol;
  protocol.update(evaluator.protocol());
  if (!o.json) {
    fmt::print("{}{}{}\n", eval::to_text(metrics, evaluator.network()),
               subject.paired ? subject.paired->to_text() : "", eval::protocol_line(protocol));
    return;
  }
  nlohmann::ordered_json json = eval::to_json(metrics);
  if (subject.paired) json.update(subject.paired->to_json());
  json["num"] = subject.samples.indices.size();
  json["seconds"] = seconds;
  json["protocol"] = protocol;
  json["protocol_line"] = eval::protocol_line(protocol);
  fmt::print("{}\n", io::json_text(json));
}

int run_eval(const ScoreOptions& o) {
  check_eval_flags(o);
  const EndOnSignal ending("samples and measurements are lost");
  const Processes processes = join_to_sample(detected_launch(), o.sample.device);
  const dist::World& world = processes.world;
  Subject subject = o.samples.empty() ? subject_of_checkpoint(o, processes) : subject_of_files(o);
  if (std::ssize(subject.samples.indices) < std::max<int64_t>(2, world.size()))
    throw UsageError("--num: a distance needs at least two images, and one per process");
  const eval::Evaluator evaluator = open_evaluator(o, subject.checkpoint, processes);
  evaluator.expect_shape(subject.samples.shape);
  if (!o.neighbours.empty() && evaluator.data().images == nullptr)
    throw UsageError("--neighbours needs reference images, not statistics");

  std::vector<torch::Tensor> first;
  if (!o.neighbours.empty())
    subject.samples.source = eval::keep_first(subject.samples.source, kNeighbourRows, first);
  const auto begin = std::chrono::steady_clock::now();
  const eval::FeatureSet set = evaluator.collect(
      subject.samples, o.samples.empty() ? "sampling and measuring" : "measuring", o.frechet_only);
  const double seconds = seconds_since(begin);
  if (subject.paired) subject.paired->finish(processes);
  if (!world.is_main()) return kOk;

  const eval::Metrics metrics =
      evaluator.measure(set, {.seed = static_cast<uint64_t>(o.sample.seed)});
  for (const std::string& warning : metrics.warnings) spdlog::warn("{}", warning);
  if (!o.neighbours.empty()) write_neighbours(o.neighbours, evaluator, first);
  print_scores(o, evaluator, subject, metrics, seconds);
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
                    "only the Frechet distance, in memory that does not grow with --num");
  command->add_flag("--paired", o->paired,
                    "also compare each sample with the held-out image that its condition was made "
                    "from: PSNR and SSIM, for a network with model.condition");
  command
      ->add_option("--neighbours", o->neighbours,
                   "write samples next to their nearest reference images to this .png")
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
