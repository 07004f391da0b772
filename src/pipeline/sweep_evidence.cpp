#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"
#include "ddpm/pipeline/choices.h"
#include "ddpm/sample/methods.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace ddpm::pipeline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr double kNearby = 1.5;  // ratio of numbers of calls that still counts as evidence

// The sweep.json files of a run, the newest first.
std::vector<fs::path> sweeps_of(const fs::path& run) {
  std::vector<std::pair<fs::file_time_type, fs::path>> found;
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(run / "generated", none)) {
    const fs::path file = entry.path() / "sweep.json";
    if (entry.path().filename().string().starts_with("sweep-") && fs::is_regular_file(file))
      found.emplace_back(fs::last_write_time(file), file);
  }
  std::sort(found.rbegin(), found.rend());
  std::vector<fs::path> files;
  for (auto& [time, file] : found) files.push_back(std::move(file));
  return files;
}

Evidence evidence_of(const Json& cell, const fs::path& file) {
  const auto text = cell.at("settings").get<std::string>();
  config::Document document = config::Document::parse(text, file.string());
  config::Reader reader = document.section("sample");
  return {sample::read_sample_config(reader), cell.at("frechet").get<double>(), file};
}

// log of the ratio of the two numbers of calls.
double distance_in_calls(const Evidence& evidence, int64_t calls) {
  return std::abs(
      std::log(static_cast<double>(evidence.config.steps) / static_cast<double>(calls)));
}

// Nearest in calls, then best.
std::optional<Evidence> best_of(const fs::path& file, int64_t calls,
                                const diffusion::Guidance& guidance) {
  std::optional<Evidence> best;
  const Json sweep = io::parsed_json(io::read_text(file));
  for (const Json& cell : sweep.at("cells")) {
    const Evidence e = evidence_of(cell, file);
    const double away = distance_in_calls(e, calls);
    if (e.config.guidance != guidance || away > std::log(kNearby)) continue;
    const double before = best ? distance_in_calls(*best, calls) : away;
    if (!best || away < before || (away == before && e.distance < best->distance)) best = e;
  }
  return best;
}

}  // namespace

std::optional<Evidence> best_of_sweeps(const exchange::Model& network, int64_t calls,
                                       const diffusion::Guidance& guidance) {
  const fs::path run = exchange::run_of(network);
  if (run.empty()) return std::nullopt;
  for (const fs::path& file : sweeps_of(run)) {
    try {
      if (auto best = best_of(file, calls, guidance)) return best;
    } catch (const std::exception& error) {
      spdlog::warn("{}: cannot be read for --method auto, so it is left out: {}", file.string(),
                   error.what());
    }
  }
  return std::nullopt;
}

Json evidence_json(const sample::SampleConfig& config, double distance, double error,
                   double seconds_per_image) {
  return {{"method", config.method},
          {"steps", config.steps},
          {"frechet", distance},
          {"frechet_error", error},
          {"seconds_per_image", seconds_per_image},
          {"settings", config::to_toml(config, "sample")}};
}

}  // namespace ddpm::pipeline
