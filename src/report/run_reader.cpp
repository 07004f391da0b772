#include "run_reader.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/checkpoint/state.h"
#include "ddpm/checkpoint/store.h"
#include "ddpm/config/document.h"
#include "ddpm/diffusion/diffusion_config.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/report/metrics_table.h"
#include "log_events.h"
#include "run_config.h"
#include "sample_grids.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include <fmt/format.h>

namespace ddpm::report {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Warnings = std::vector<std::string>;

constexpr size_t kMaxGrids = 60;                    // steps of a page
constexpr uint64_t kMaxBytes = uint64_t{24} << 20;  // of its grids
constexpr int64_t kSchedulePoints = 200;

// What cannot be read is left out with a warning.
void or_warn(Warnings& warnings, const fs::path& file, const std::function<void()>& read) {
  try {
    read();
  } catch (const Error& error) {
    warnings.emplace_back(error.what());
  } catch (const nlohmann::json::exception&) {
    warnings.push_back(file.string() + ": is damaged; it is left out");
  }
}

std::string text_of(const fs::path& file) {
  return fs::exists(file) ? io::read_text(file) : std::string();
}

std::vector<Json> lines_of(const fs::path& file, Warnings& warnings) {
  std::vector<Json> lines;
  or_warn(warnings, file, [&] { lines = steps_of_file(file, file.string(), warnings); });
  return lines;
}

Json sweeps_of(const fs::path& run, Warnings& warnings) {
  Json sweeps = Json::array();
  std::vector<fs::path> files;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(run / "generated", none))
    if (fs::exists(entry.path() / "sweep.json")) files.push_back(entry.path() / "sweep.json");
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    or_warn(warnings, file, [&] {
      const Json sweep = io::parsed_json(io::read_text(file));
      Json cells = Json::array();
      for (const Json& cell : sweep.at("cells"))
        cells.push_back({{"method", cell.at("method")},
                         {"steps", cell.at("steps")},
                         {"frechet", cell.at("frechet")},
                         {"frechet_error", cell.at("frechet_error")},
                         {"seconds_per_image", cell.at("seconds_per_image")}});
      sweeps.push_back({{"name", file.parent_path().filename().string()}, {"cells", cells}});
    });
  }
  return sweeps;
}

Json schedule_of(const diffusion::DiffusionConfig& config) {
  const diffusion::Schedule schedule(config.schedule);
  const int64_t last = schedule.timesteps();
  const int64_t points = std::min(last, kSchedulePoints);
  Json t = Json::array(), beta = Json::array(), alpha_bar = Json::array(), snr = Json::array();
  for (int64_t i = 0; i < points; ++i) {
    const int64_t at = points == 1 ? last : 1 + (last - 1) * i / (points - 1);
    t.push_back(at);
    beta.push_back(schedule.beta(at));
    alpha_bar.push_back(schedule.alpha_bar(at));
    snr.push_back(schedule.snr(at));
  }
  return {{"kind", config::to_string(config.schedule.kind)},
          {"prediction", config::to_string(config.prediction)},
          {"t", t},
          {"beta", beta},
          {"alpha_bar", alpha_bar},
          {"snr", snr}};
}

// The newest checkpoint's folder; "" if there is none. Not verified: only its texts are read.
fs::path newest_checkpoint(const fs::path& run) {
  const checkpoint::CheckpointStore store(run / "checkpoints");
  const std::vector<int64_t> steps = store.steps();
  return steps.empty() ? fs::path() : store.folder_of(steps.front());
}

Json rows_of_state(const checkpoint::TrainingState& state) {
  return Json::array({{"data", state.dataset},
                      {"images to train on", with_commas(state.dataset_size)},
                      {"batch", with_commas(state.batch_size)},
                      {"images seen", with_commas(state.samples_seen)},
                      {"skipped steps", with_commas(state.skipped_steps)},
                      {"seed", fmt::format("{}", state.seed)},
                      {"precision", state.precision},
                      {"machine", fmt::format("{}, {} each", counted(state.world_size, "process"),
                                              counted(state.threads, "CPU thread"))},
                      {"last saved", fmt::format("step {}, {}, torch {}", state.step,
                                                 state.saved_at, state.torch_version)}});
}

void read_checkpoint_(Json& run, const fs::path& checkpoint) {
  const auto model = nn::read_model_description(checkpoint / "model.toml");
  Json rows = rows_of_state(checkpoint::read_training_state(checkpoint));
  const nn::ImageSpec& image = model.unet.image;
  rows.push_back({"image size", fmt::format("{} x {}, {}", image.height, image.width,
                                            counted(image.channels, "channel"))});
  std::string names;
  for (const std::string& name : model.class_names) names += (names.empty() ? "" : ", ") + name;
  rows.push_back({"classes", names.empty() ? with_commas(image.classes)
                                           : fmt::format("{}: {}", image.classes, names)});
  run["data"] = rows;
  run["schedule"] = schedule_of(model.diffusion);
}

// Before the first checkpoint, the schedule is that of the config.
void read_description_(Json& run, const fs::path& folder, Warnings& warnings) {
  const fs::path checkpoint = newest_checkpoint(folder), config = folder / "config.toml";
  if (!checkpoint.empty()) {
    or_warn(warnings, checkpoint, [&] { read_checkpoint_(run, checkpoint); });
  } else if (fs::exists(config)) {
    or_warn(warnings, config, [&] {
      config::Document document = config::Document::load(config);
      config::Reader section = document.section("diffusion");
      run["schedule"] = schedule_of(diffusion::read_diffusion_config(section));
    });
  }
}

}  // namespace

Json read_run(const fs::path& run, size_t runs, Warnings& warnings) {
  if (!fs::is_directory(run))
    throw IoError(run, "does not exist or is no folder; name a run's folder, as runs/mine");
  if (!fs::exists(run / "metrics.jsonl") && !fs::exists(run / "config.toml"))
    throw IoError(run, "is no run: it holds neither metrics.jsonl nor config.toml");
  Json json{{"name", run.lexically_normal().string()}};
  const std::vector<Json> lines = lines_of(run / "metrics.jsonl", warnings);
  json["metrics"] = metrics_table(lines);
  json["lines"] = lines.size();
  json["quality"] = lines_of(run / "quality.jsonl", warnings);
  json["sweeps"] = sweeps_of(run, warnings);
  json["samples"] = sample_grids(run, kMaxGrids / runs + 1, kMaxBytes / runs, warnings);
  json["events"] = Json::array();
  or_warn(warnings, run / "log.txt",
          [&] { json["events"] = log_events(text_of(run / "log.txt")); });
  json.update(run_config(run, warnings));
  json["data"] = Json::array();
  json["schedule"] = nullptr;
  read_description_(json, run, warnings);
  return json;
}

}  // namespace ddpm::report
