#include "ddpm/base/signals.h"
#include "ddpm/eval/result_folder.h"
#include "ddpm/eval/sweep.h"
#include "ddpm/io/json_text.h"
#include "ddpm/sample/methods.h"
#include "eval_setup.h"
#include "eval_subcommands.h"
#include "flags.h"
#include "shared_flags.h"

#include <map>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

struct SweepOptions : EvalOptions {
  std::vector<int64_t> steps;  // none: eval::default_sweep_steps
  std::vector<std::string> etas{"0", "0.2", "0.5", "1", "hat"};
  std::string out;
};

// The flags of `ddpm sample` for this cell. Throws UsageError if eta is neither "hat" nor a number
// of 0..1.
SampleOptions options_of(const SweepOptions& o, const eval::SweepCell& cell) {
  SampleOptions s = o.sample;
  s.steps = cell.steps;
  s.ddim = true;
  if (cell.eta == "hat") {
    s.sigma = "hat";
    return s;
  }
  size_t used = 0;
  double eta = -1.0;
  try {
    eta = std::stod(cell.eta, &used);
  } catch (const std::logic_error&) {
  }
  if (used != cell.eta.size() || !(eta >= 0.0 && eta <= 1.0))
    throw UsageError(fmt::format("--eta {}: each is a number of 0 to 1, or hat", cell.eta));
  s.eta = eta;
  return s;
}

// The plan of every cell, by the cell's name. All are of one network, which is read once.
using Plans = std::map<std::string, SamplePlan>;

Plans plans_of(const SweepOptions& o, const eval::SweepTable& table,
               const std::shared_ptr<const exchange::Model>& network, const Processes& processes) {
  Plans plans;
  for (const eval::SweepCell& cell : table.cells()) {
    SamplePlan plan = plan_sampling(options_of(o, cell), network);
    plan.generate.device = processes.device;
    plans.emplace(cell.name(), std::move(plan));
  }
  return plans;
}

nlohmann::ordered_json protocol_of(const SweepOptions& o, const SamplePlan& plan,
                                   const eval::Evaluator& evaluator) {
  nlohmann::ordered_json protocol{{"num", *o.sample.num},
                                  {"sampler", sample::describe_spacing(plan.config)}};
  protocol.update(samples_json(plan, o.sample));
  protocol.update(evaluator.protocol());
  return protocol;
}

// The folder of the results. It may hold results of the same protocol.
eval::SweepFolder open_sweep_folder(const SweepOptions& o, const SamplePlan& plan,
                                    nlohmann::ordered_json protocol, const dist::World& world) {
  // As an int, as in existing folders: a folder with another text is refused.
  protocol["settings"] = static_cast<int>(plan.weights_crc32c);
  const std::string settings = io::json_text(protocol, 1);
  const fs::path path =
      o.out.empty() ? eval::default_result_folder(plan.folder.parent_path(), "sweep", settings)
                    : fs::path(o.out);
  world.on_main("make the folder", [&] { eval::claim_result_folder(path, settings); });
  return {path, settings};
}

void print_sweep(const SweepOptions& o, const eval::SweepTable& table,
                 const eval::SweepFolder& folder, const eval::Evaluator& evaluator,
                 const nlohmann::ordered_json& protocol) {
  const std::string picture = (folder.path() / "sweep.png").string();
  if (o.json) {
    const nlohmann::ordered_json json{
        {"protocol", protocol}, {"cells", eval::to_json(table)}, {"picture", picture}};
    fmt::print("{}\n", io::json_text(json));
    return;
  }
  fmt::print("{}{}\n{}\n", eval::to_text(table, evaluator.network().distance_name),
             eval::protocol_line(protocol), picture);
}

int run_sweep(SweepOptions o) {
  const EndOnSignal ending("the same command resumes after the last finished cell", kStopped);
  const Processes processes = join_to_sample(detected_launch(), o.sample.device);
  const dist::World& world = processes.world;
  o.sample.num = o.sample.num.value_or(1000);
  const std::shared_ptr<const exchange::Model> network = plan_sampling(o.sample).network;
  if (o.steps.empty())
    o.steps = eval::default_sweep_steps(network->description.diffusion.schedule.timesteps);
  eval::SweepTable table{o.steps, o.etas, {}};
  const Plans plans = plans_of(o, table, network, processes);  // checks every cell before any work
  const SamplePlan& first = plans.at(table.cells().front().name());
  const eval::Evaluator evaluator = open_evaluator(o, network->path, processes);
  evaluator.expect_shape({first.generate.channels, first.generate.height, first.generate.width});
  for (const std::string& warning : evaluator.network().warnings) spdlog::warn("{}", warning);
  const nlohmann::ordered_json protocol = protocol_of(o, first, evaluator);
  const eval::SweepFolder folder = open_sweep_folder(o, first, protocol, world);

  const auto samples = [&](const eval::SweepCell& cell) {
    return samples_of(plans.at(cell.name()));
  };
  eval::run_sweep(table, folder, evaluator, samples, first.generate.seed, world);
  if (!world.is_main()) return kOk;
  eval::write_sweep(table, folder, evaluator, *o.sample.num);
  print_sweep(o, table, folder, evaluator, protocol);
  return kOk;
}

}  // namespace

void add_eval_sweep(CLI::App& eval, Command& chosen) {
  auto o = std::make_shared<SweepOptions>();
  CLI::App* command = eval.add_subcommand(
      "sweep",
      "The table of Song 2021: distance by number of steps and eta; resumes if it was stopped");
  add_network_flags(*command, o->sample);
  command
      ->add_option(
          "--steps", o->steps,
          "numbers of denoising steps per image, one column each (default: 10, 20, 50, 100 "
          "and 1000, up to T)")
      ->delimiter(',')
      ->check(whole(1, int64_t{1} << 40));
  command
      ->add_option("--eta", o->etas, "randomness of DDIM, one row each: numbers of 0 to 1, or hat")
      ->type_name("ETA")
      ->delimiter(',')
      ->capture_default_str();
  add_spacing_flag(*command, o->sample);
  add_clip_flag(*command, o->sample);
  command->add_option("--num", o->sample.num, "images per cell (default: 1000)")
      ->check(whole(2, int64_t{1} << 40));
  add_reference_flags(*command, *o);
  add_feature_flags(*command, *o);
  command
      ->add_option(
          "--out", o->out,
          "folder of the cells and the table (default: RUN/generated/sweep-DIGEST, another for "
          "other settings)")
      ->type_name("FOLDER");
  add_json_flag(*command, o->json);
  command->footer("Example:\n  ddpm eval sweep --ckpt runs/mine --steps 10,20,50 --eta 0,1");
  command->callback([o, &chosen] { chosen = [o] { return run_sweep(*o); }; });
}

}  // namespace ddpm::cli
