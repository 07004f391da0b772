#include "ddpm/base/signals.h"
#include "ddpm/checkpoint/averages.h"
#include "ddpm/eval/result_folder.h"
#include "ddpm/eval/sweep.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"
#include "ddpm/pipeline/choices.h"
#include "ddpm/pipeline/sample_images.h"
#include "ddpm/sample/methods.h"
#include "estimates.h"
#include "eval_setup.h"
#include "eval_subcommands.h"
#include "flags.h"
#include "shared_flags.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

struct SweepOptions : EvalOptions {
  std::vector<int64_t> steps;     // none: eval::default_sweep_steps
  std::vector<std::string> etas;  // none: see rows_of
  std::vector<std::string> methods, sigmas;
  std::vector<double> guidances;
  std::vector<double> ema_lengths;
  std::string out;
};

// A row, and the flags of `ddpm sample` for it.
struct Sampling {
  eval::SweepRow row;
  pipeline::SampleOptions flags;
};

// DDIM with this eta: a number of 0 to 1, or "hat". Throws UsageError.
Sampling by_ddim(const SweepOptions& o, const std::string& text) {
  Sampling s{{"eta-" + text, text == "hat" ? "sigma-hat" : "eta " + text}, o.sample};
  s.flags.ddim = true;
  if (text == "hat") {
    s.flags.sigma = "hat";
    return s;
  }
  size_t used = 0;
  double eta = -1.0;
  try {
    eta = std::stod(text, &used);
  } catch (const std::logic_error&) {
  }
  if (used != text.size() || !(eta >= 0.0 && eta <= 1.0))
    throw UsageError(fmt::format("--eta {}: each is a number of 0 to 1, or hat", text));
  s.flags.eta = eta;
  return s;
}

// The rows of one method: DDIM by eta, Algorithm 2 by sigma.
std::vector<Sampling> by_method(const SweepOptions& o, const std::string& method) {
  std::vector<Sampling> rows;
  if (method == sample::kDdim) {
    for (const std::string& eta : o.etas.empty() ? std::vector<std::string>{"0"} : o.etas)
      rows.push_back(by_ddim(o, eta));
    return rows;
  }
  const bool varies = method == sample::kDdpm && !o.sigmas.empty();
  for (const std::string& sigma : varies ? o.sigmas : std::vector<std::string>{""}) {
    Sampling s{{method, method}, o.sample};
    s.flags.method = method;
    if (varies) {
      s.flags.sigma = sigma;
      s.row = {method + "-" + sigma, method + ", " + sigma};
    }
    rows.push_back(std::move(s));
  }
  return rows;
}

// Throws UsageError if a list belongs to no method of the sweep.
void check_lists(const SweepOptions& o) {
  const auto sweeps = [&](const char* method) {
    return std::find(o.methods.begin(), o.methods.end(), method) != o.methods.end();
  };
  if (!o.methods.empty() && !o.etas.empty() && !sweeps(sample::kDdim))
    throw UsageError("--eta is for method ddim: leave it out, or add ddim to --method");
  if (!o.sigmas.empty() && !sweeps(sample::kDdpm))
    throw UsageError("--sigma is for method ddpm: leave it out, or add ddpm to --method");
}

// Every row with each of these values; all rows as they are if there are none.
std::vector<Sampling> times(const std::vector<Sampling>& rows, const std::vector<double>& values,
                            const std::string& name,
                            const std::function<void(pipeline::SampleOptions&, double)>& set) {
  if (values.empty()) return rows;
  std::vector<Sampling> product;
  for (const Sampling& row : rows) {
    for (const double value : values) {
      Sampling s = row;
      set(s.flags, value);
      s.row.key += fmt::format("-{}-{}", name, value);
      s.row.label += fmt::format(", {} {}", name, value);
      product.push_back(std::move(s));
    }
  }
  return product;
}

// All rows: every way to sample with every guidance and every EMA length.
std::vector<Sampling> rows_of(const SweepOptions& o) {
  check_lists(o);
  std::vector<Sampling> ways;
  if (o.methods.empty()) {
    const std::vector<std::string> all{"0", "0.2", "0.5", "1", "hat"};
    for (const std::string& eta : o.etas.empty() ? all : o.etas) ways.push_back(by_ddim(o, eta));
  }
  for (const std::string& method : o.methods) {
    const std::vector<Sampling> rows = by_method(o, method);
    ways.insert(ways.end(), rows.begin(), rows.end());
  }
  ways = times(ways, o.guidances, "guidance",
               [](pipeline::SampleOptions& flags, double value) { flags.guidance = value; });
  return times(ways, o.ema_lengths, "ema-length", [](pipeline::SampleOptions& flags, double value) {
    flags.weights = checkpoint::ema_length_name(value);
  });
}

using Network = std::shared_ptr<const exchange::Model>;

// The weights of the row: those of all rows, or rebuilt ones, which are read once.
Network network_of(const Sampling& row, const SweepOptions& o, const Network& common,
                   std::map<std::string, Network>& rebuilt) {
  if (o.ema_lengths.empty()) return common;
  Network& network = rebuilt[row.flags.weights];
  if (!network)
    network = std::make_shared<const exchange::Model>(
        exchange::read_model(common->path, row.flags.weights));
  return network;
}

// The plan of every cell, by the cell's name.
using Plans = std::map<std::string, pipeline::SamplePlan>;

Plans plans_of(const std::vector<Sampling>& rows, const SweepOptions& o, const Network& common,
               const Processes& processes) {
  Plans plans;
  std::map<std::string, Network> rebuilt;
  for (const Sampling& sampling : rows)
    for (const int64_t s : o.steps) {
      pipeline::SampleOptions flags = sampling.flags;
      flags.steps = s;
      const eval::SweepCell cell{s, sampling.row};
      pipeline::SamplePlan plan =
          pipeline::plan_sampling(flags, network_of(sampling, o, common, rebuilt));
      settle_(plan, flags, processes);
      plans.emplace(cell.name(), std::move(plan));
    }
  return plans;
}

nlohmann::ordered_json protocol_of(const SweepOptions& o, const pipeline::SamplePlan& plan,
                                   const eval::Evaluator& evaluator) {
  nlohmann::ordered_json protocol{{"num", *o.sample.num},
                                  {"sampler", sample::describe_spacing(plan.config)}};
  protocol.update(pipeline::samples_json(plan, o.sample));
  if (!o.ema_lengths.empty())
    protocol["weights"] = fmt::format("ema-length {}", fmt::join(o.ema_lengths, ", "));
  protocol.update(evaluator.protocol());
  return protocol;
}

// CRC32C of the weights: of all rows together if they differ.
uint32_t weights_of(const SweepOptions& o, const Plans& plans, const pipeline::SamplePlan& first) {
  if (o.ema_lengths.empty()) return first.weights_crc32c;
  std::string sums;
  for (const auto& [name, plan] : plans) sums += fmt::format("{:08x} ", plan.weights_crc32c);
  return io::crc32c(sums);
}

// The folder of the results. It may hold results of the same protocol.
eval::SweepFolder open_sweep_folder(const SweepOptions& o, const pipeline::SamplePlan& plan,
                                    uint32_t weights, nlohmann::ordered_json protocol,
                                    const dist::World& world) {
  // As an int, as in existing folders: a folder with another text is refused.
  protocol["settings"] = static_cast<int>(weights);
  const std::string settings = io::json_text(protocol, 1);
  const fs::path path =
      o.out.empty() ? eval::default_result_folder(plan.folder.parent_path(), "sweep", settings)
                    : fs::path(o.out);
  world.on_main("make the folder", [&] { eval::claim_result_folder(path, settings); });
  return {path, settings};
}

// sweep.json, the evidence for --method auto.
void write_evidence(const eval::SweepTable& table, const Plans& plans,
                    const eval::SweepFolder& folder) {
  nlohmann::ordered_json cells = nlohmann::ordered_json::array();
  const std::vector<eval::SweepCell> all = table.cells();
  for (size_t i = 0; i < all.size(); ++i) {
    const eval::SweepResult& r = table.results.at(i);
    cells.push_back(pipeline::evidence_json(plans.at(all[i].name()).config, r.frechet,
                                            r.frechet_error, r.seconds_per_image));
  }
  io::write_file_atomic(folder.path() / "sweep.json", io::json_text({{"cells", cells}}, 1) + "\n");
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
  if (!o.ema_lengths.empty() && !o.sample.weights.empty())
    throw UsageError("--ema-lengths chooses the weights; leave out --weights and --ema-length");
  condition_on_data_(o.sample, o, *o.sample.num);
  const Network network = pipeline::plan_sampling(o.sample).network;
  if (o.steps.empty())
    o.steps = eval::default_sweep_steps(network->description.diffusion.schedule.timesteps);
  const std::vector<Sampling> rows = rows_of(o);
  eval::SweepTable table{o.steps, {}, {}};
  for (const Sampling& s : rows) table.rows.push_back(s.row);
  const Plans plans = plans_of(rows, o, network, processes);  // checks all before any work
  const pipeline::SamplePlan& first = plans.at(table.cells().front().name());
  const eval::Evaluator evaluator = open_evaluator(o, network->path, processes);
  evaluator.expect_shape({first.generate.channels, first.generate.height, first.generate.width});
  for (const std::string& warning : evaluator.network().warnings) spdlog::warn("{}", warning);
  const nlohmann::ordered_json protocol = protocol_of(o, first, evaluator);
  const eval::SweepFolder folder =
      open_sweep_folder(o, first, weights_of(o, plans, first), protocol, world);

  const auto samples = [&](const eval::SweepCell& cell) {
    return pipeline::samples_of(plans.at(cell.name()));
  };
  eval::run_sweep(table, folder, evaluator, samples, first.generate.seed, world);
  if (!world.is_main()) return kOk;
  eval::write_sweep(table, folder, evaluator, *o.sample.num);
  write_evidence(table, plans, folder);
  print_sweep(o, table, folder, evaluator, protocol);
  return kOk;
}

// --eta, --method, --sigma, --guidance, --ema-lengths: the rows.
void add_row_flags(CLI::App& command, SweepOptions& o) {
  command
      .add_option("--eta", o.etas,
                  "randomness of DDIM, one row each: numbers of 0 to 1, or hat (default: "
                  "0,0.2,0.5,1,hat; with --method: 0)")
      ->type_name("ETA")
      ->delimiter(',');
  command
      .add_option("--method", o.methods,
                  "methods instead of DDIM alone, one row each, as in ddim,dpmpp_2m,unipc")
      ->check(one_of(sample::method_names()).description(""))
      ->type_name("NAME,...")
      ->delimiter(',');
  command
      .add_option("--sigma", o.sigmas, "variances of method ddpm, one row each (default: small)")
      ->check(one_of({"small", "large", "learned", "analytic"}))
      ->delimiter(',');
  command.add_option("--guidance", o.guidances, "guidance weights: every row with each of them")
      ->check(real(0.0, 1000.0))
      ->type_name("W")
      ->delimiter(',');
  command
      .add_option("--ema-lengths", o.ema_lengths,
                  "lengths of --ema-length, as in 0.05,0.1,0.15: every row with each of them")
      ->check(real(nn::kMinPowerLength, nn::kMaxPowerLength))
      ->type_name("LENGTH")
      ->delimiter(',');
}

}  // namespace

void add_eval_sweep(CLI::App& eval, Command& chosen) {
  auto o = std::make_shared<SweepOptions>();
  CLI::App* command = eval.add_subcommand("sweep",
                                          "Distance by number of steps and eta (Song 2021) or "
                                          "method and guidance; resumes if it was stopped");
  add_network_flags(*command, o->sample);
  command
      ->add_option(
          "--steps", o->steps,
          "numbers of denoising steps per image, one column each (default: 10, 20, 50, 100 "
          "and 1000, up to T)")
      ->delimiter(',')
      ->check(whole(1, int64_t{1} << 40));
  add_row_flags(*command, *o);
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
  command->footer(
      "Example:\n  ddpm eval sweep --ckpt runs/mine --steps 5,10,20,50 --method "
      "ddim,dpmpp_2m,unipc");
  command->callback([o, &chosen] { chosen = [o] { return run_sweep(*o); }; });
}

}  // namespace ddpm::cli
