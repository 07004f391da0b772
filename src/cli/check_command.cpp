#include "ddpm/base/progress.h"
#include "ddpm/base/signals.h"
#include "ddpm/cli/app.h"
#include "ddpm/eval/self_check.h"
#include "ddpm/io/json_text.h"
#include "ddpm/pipeline/sample_images.h"
#include "eval_setup.h"
#include "flags.h"
#include "sample_run.h"
#include "shared_flags.h"

#include <algorithm>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace ddpm::cli {
namespace {

struct CheckFlags {
  pipeline::SampleOptions sample;
  int64_t num = 4, steps = 10;
};

pipeline::SamplePlan plan_check(const CheckFlags& flags) {
  pipeline::SampleOptions sampling = flags.sample;
  sampling.num = flags.num;
  sampling.batch = flags.num;
  sampling.ddim = true;  // whatever the checkpoint's [sample] says
  sampling.clip = "none";
  sampling.dynamic_threshold = sampling.dynamic_threshold_max = 0.0;
  sampling.guidance = 1.0;
  condition_on_data_(sampling, {}, flags.num);
  return pipeline::plan_sampling(sampling);
}

std::vector<eval::CheckRow> measure(const CheckFlags& flags, const pipeline::SamplePlan& plan) {
  const nn::ArithmeticGuard arithmetic(plan.precision, plan.deterministic);
  const eval::CheckSubject subject = pipeline::check_subject(plan);
  std::optional<Progress> progress;
  return eval::run_self_check(
      subject, {.steps = flags.steps,
                .seed = plan.generate.seed,
                .progress = [&](const std::string& title, int64_t done, int64_t total) {
                  if (!progress) progress.emplace("checking", total);
                  progress->update(done, {.detail = title});
                }});
}

nlohmann::ordered_json json_of(const eval::CheckRow& row) {
  return {{"group", row.group},
          {"name", row.name},
          {"expected", row.expected},
          {"low", row.low},
          {"high", row.high},
          {"found", row.found},
          {"verdict", config::to_string(row.verdict)},
          {"note", row.note}};
}

void print_rows(const CheckFlags& flags, const pipeline::SamplePlan& plan,
                const std::vector<eval::CheckRow>& rows) {
  if (!flags.sample.json) {
    fmt::print("{} ({}), {} images, {} steps, {}\n\n{}", plan.network->path.string(),
               exchange::describe_weights(plan.network->weights_name), flags.num, flags.steps,
               config::to_string(plan.precision), eval::to_text(rows));
    return;
  }
  nlohmann::ordered_json checks = nlohmann::ordered_json::array();
  for (const eval::CheckRow& row : rows) checks.push_back(json_of(row));
  fmt::print("{}\n", io::json_text({{"network", plan.network->path.string()},
                                    {"weights", plan.weights_name()},
                                    {"precision", config::to_string(plan.precision)},
                                    {"num", flags.num},
                                    {"steps", flags.steps},
                                    {"failed", eval::failures(rows).size()},
                                    {"checks", checks}}));
}

int run_check(const CheckFlags& flags) {
  const EndOnSignal ending("nothing was written");
  const Processes alone = join_alone("ddpm check", flags.sample);
  pipeline::SamplePlan plan = plan_check(flags);
  plan.generate.device = alone.device;
  const std::vector<eval::CheckRow> rows = measure(flags, plan);
  print_rows(flags, plan, rows);
  const std::vector<eval::CheckRow> failed = eval::failures(rows);
  if (failed.empty()) return kOk;
  constexpr size_t kNamed = 3;
  std::vector<std::string> names;
  for (size_t i = 0; i < std::min(kNamed, failed.size()); ++i) names.push_back(failed[i].name);
  if (failed.size() > kNamed) names.emplace_back("...");
  throw Error(fmt::format("{} of {} checks failed: {}; docs/evaluation.md says what to do",
                          failed.size(), rows.size(), fmt::join(names, "; ")));
}

}  // namespace

void add_check(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<CheckFlags>();
  CLI::App* command = app.add_subcommand(
      "check", "Verify the mathematics on a network: samplers, schedule, solvers, precision");
  add_network_flags(*command, o->sample);
  command->remove_option(command->get_option("--batch"));  // --num is the batch
  command->add_option("--num", o->num, "images to check with, all in one batch")
      ->check(whole(2, 4096))
      ->capture_default_str();
  command
      ->add_option("--steps", o->steps,
                   "S: chains have S and 2 S steps, encoding 2 S and 4 S; more is slower and makes "
                   "the orders clearer")
      ->check(whole(2, 1000))
      ->capture_default_str();
  add_json_flag(*command, o->sample.json);
  command->footer(
      "Example:\n"
      "  ddpm check --ckpt runs/mine\n"
      "  ddpm check --ckpt runs/mine --device cuda --precision bf16");
  command->callback([o, &chosen] { chosen = [o] { return run_check(*o); }; });
}

}  // namespace ddpm::cli
