#include "ddpm/base/clock.h"
#include "ddpm/base/signals.h"
#include "ddpm/eval/result_folder.h"
#include "ddpm/eval/sweep.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"
#include "ddpm/io/json_text.h"
#include "ddpm/sample/methods.h"
#include "eval_setup.h"
#include "eval_subcommands.h"
#include "flags.h"
#include "shared_flags.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kStripImages = 8;

struct SweepOptions : EvalOptions {
  std::vector<int64_t> steps;  // none: default_steps
  std::vector<std::string> etas{"0", "0.2", "0.5", "1", "hat"};
  std::string out;
};

// The columns of Song 2021, Table 1, as far as T goes; T itself if it is below the last.
std::vector<int64_t> default_steps(int64_t timesteps) {
  std::vector<int64_t> steps;
  for (const int64_t s : {10, 20, 50, 100, 1000})
    if (s < timesteps) steps.push_back(s);
  if (timesteps <= 1000) steps.push_back(timesteps);
  return steps;
}

// The flags of `ddpm sample` that draw this cell. Throws UsageError where eta is neither "hat" nor
// a number of 0..1.
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

// Draws and measures a cell. Every rank; the result is rank 0's.
eval::SweepResult fill(const SamplePlan& plan, const Ruler& ruler, const Processes& world,
                       const std::string& title, std::vector<torch::Tensor>& strip) {
  const eval::ImageSource drawn = drawn_images(plan);
  double drawing = 0.0;  // seconds, the features' not among them
  int64_t count = 0;
  auto mark = std::chrono::steady_clock::now();
  const eval::ImageSource timed = [&](const std::vector<int64_t>& images,
                                      const eval::ImageSink& sink) {
    mark = std::chrono::steady_clock::now();
    drawn(images, [&](int64_t first, const torch::Tensor& batch) {
      drawing += seconds_since(mark);
      count += batch.size(0);
      for (int64_t i = 0; first + i < kStripImages && i < batch.size(0); ++i)
        strip.push_back(batch[i].clone());
      sink(first, batch);
      mark = std::chrono::steady_clock::now();
    });
  };
  const eval::FeatureSet set = eval::collect(timed, plan.generate.images, *ruler.features,
                                             {.title = title,
                                              .classes = classes_of(plan),
                                              .keep_bytes = eval::kKeepAll,
                                              .device = world.device},
                                             world.world);
  eval::SweepResult result;
  if (!world.world.is_main()) return result;
  const eval::Metrics m = eval::measure(set, ruler.reference, {.seed = plan.generate.seed});
  result.frechet = m.frechet.value;
  result.frechet_error = m.frechet.error;
  if (m.kernel) result.kernel = m.kernel->value;
  if (m.manifold) {
    result.precision = m.manifold->precision.value;
    result.recall = m.manifold->recall.value;
  }
  result.seconds_per_image = drawing / static_cast<double>(std::max<int64_t>(count, 1));
  return result;
}

void write_table(const eval::SweepTable& table, const eval::SweepFolder& folder, const Ruler& ruler,
                 const SweepOptions& o) {
  const std::string distance = ruler.features->description().distance_name;
  const std::string title =
      fmt::format("{}, {} images a cell",
                  o.features == "train" ? "Frechet distance (features of a classifier)" : distance,
                  *o.sample.num);
  io::write_file_atomic(folder.path() / "sweep.txt", eval::to_text(table, distance));
  io::write_file_atomic(folder.path() / "sweep.csv", eval::to_csv(table));
  io::write_png(folder.path() / "sweep.png", eval::draw_sweep(table, folder, title));
  io::write_png(folder.path() / "curves.png", eval::draw_sweep_curves(table, title));
}

int run_sweep(SweepOptions o) {
  const EndOnSignal ending("the same command goes on after the last finished cell", kStopped);
  const Processes world = join_to_draw(detected_launch(), o.sample.device);
  o.sample.num = o.sample.num.value_or(1000);
  // All cells are of one network, which is read once.
  const std::shared_ptr<const exchange::Model> network = plan_sampling(o.sample).network;
  if (o.steps.empty()) o.steps = default_steps(network->description.diffusion.schedule.timesteps);
  eval::SweepTable table{o.steps, o.etas, {}};
  std::vector<eval::SweepCell> cells;
  std::vector<SamplePlan> plans;
  for (const std::string& eta : o.etas) {
    for (const int64_t steps : o.steps) {
      cells.push_back({steps, eta});
      plans.push_back(plan_sampling(options_of(o, cells.back()), network));  // before work
      plans.back().generate.device = world.device;
    }
  }
  const SamplePlan& first = plans.front();
  const Ruler ruler = open_ruler(o, first.network->path, world);

  for (const std::string& warning : ruler.features->description().warnings)
    spdlog::warn("{}", warning);
  nlohmann::ordered_json protocol{{"num", *o.sample.num},
                                  {"sampler", sample::describe_spacing(first.config)}};
  protocol.update(samples_json(first, o.sample));
  protocol.update(protocol_json(ruler));
  nlohmann::ordered_json exact = protocol;
  exact["settings"] =
      nlohmann::json::parse(first.settings, nullptr, false).value("weights_crc32c", 0);
  const std::string settings = io::json_text(exact, 1);
  const fs::path path =
      o.out.empty() ? eval::default_result_folder(first.folder.parent_path(), "sweep", settings)
                    : fs::path(o.out);
  world.world.on_main("make the folder", [&] { eval::claim_result_folder(path, settings); });
  const eval::SweepFolder folder(path, settings);

  for (size_t i = 0; i < cells.size(); ++i) {
    const auto known = folder.find(cells[i]);
    if (world.world.from_main({known ? 1 : 0}).front() == 1) {
      table.results.push_back(known.value_or(eval::SweepResult{}));
      spdlog::info("{}: already exists", cells[i].name());
      continue;
    }
    std::vector<torch::Tensor> strip;
    table.results.push_back(fill(plans[i], ruler, world,
                                 fmt::format("{} of {}, {}", i + 1, cells.size(), cells[i].name()),
                                 strip));
    if (!world.world.is_main()) continue;
    const eval::SweepResult& r = table.results.back();
    folder.write(cells[i], r, torch::stack(strip));
    spdlog::info("{}: {:.4g} +- {:.2g}, {:.3g} s an image", cells[i].name(), r.frechet,
                 r.frechet_error, r.seconds_per_image);
  }
  if (!world.world.is_main()) return kOk;
  write_table(table, folder, ruler, o);
  if (o.json) {
    nlohmann::ordered_json json{{"protocol", protocol}, {"cells", nlohmann::json::array()}};
    for (size_t i = 0; i < cells.size(); ++i) {
      json["cells"].push_back({{"steps", cells[i].steps},
                               {"eta", cells[i].eta},
                               {"frechet", table.results[i].frechet},
                               {"frechet_error", table.results[i].frechet_error},
                               {"seconds_per_image", table.results[i].seconds_per_image}});
    }
    json["picture"] = (path / "sweep.png").string();
    fmt::print("{}\n", io::json_text(json));
    return kOk;
  }
  fmt::print("{}{}\n{}\n", eval::to_text(table, ruler.features->description().distance_name),
             protocol_line(protocol), (path / "sweep.png").string());
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
          "and 1000, as far as T goes)")
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
