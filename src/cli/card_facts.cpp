#include "card_facts.h"

#include "ddpm/base/error.h"
#include "ddpm/checkpoint/state.h"
#include "ddpm/eval/evaluator.h"
#include "ddpm/exchange/model.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_lines.h"
#include "ddpm/io/json_text.h"
#include "ddpm/pipeline/sample_plan.h"
#include "ddpm/report/report.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// The newest grid of these weights up to the checkpoint's step; empty if there is none.
fs::path grid_of(const fs::path& run, const std::string& weights, int64_t step) {
  fs::path newest;
  for (const auto& [at, grids] : report::sample_grid_files(run))
    for (const report::SampleGrid& grid : grids)
      if (at <= step && grid.weights == weights) newest = grid.file;
  return newest;
}

// The line of RUN/quality.jsonl for this step, of the EMA weights; "" without one.
std::string quality_text(const fs::path& run, int64_t step) {
  std::string found;
  for (const Json& json : io::read_json_lines(run / "quality.jsonl").objects) {
    if (json.at("step") != step) continue;
    found = fmt::format("during training, step {}: Frechet distance {:.4g} +- {:.2g}\n", step,
                        json.at("frechet").get<double>(), json.at("frechet_error").get<double>());
  }
  return found;
}

// The table and the protocol line of a sweep; "" if it is of other weights.
std::string sweep_text(const fs::path& folder, uint32_t weights_crc32c) {
  Json protocol = io::parsed_json(io::read_text(folder / "protocol.json"));
  if (protocol.value("settings", int64_t{0}) != static_cast<int>(weights_crc32c)) return "";
  protocol.erase("settings");
  protocol.erase("samples");  // a path of this machine
  return io::read_text(folder / "sweep.txt") + eval::protocol_line(protocol) + "\n";
}

std::string sweeps_text(const fs::path& run, uint32_t weights_crc32c) {
  std::vector<fs::path> folders;
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(run / "generated", none)) {
    if (fs::exists(entry.path() / "sweep.txt") && fs::exists(entry.path() / "protocol.json"))
      folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  std::string text;
  for (const fs::path& folder : folders) {
    const std::string one = sweep_text(folder, weights_crc32c);
    if (!one.empty()) text += (text.empty() ? "" : "\n") + one;
  }
  return text;
}

}  // namespace

exchange::CardFacts card_facts(const exchange::Model& model) {
  exchange::CardFacts facts;
  const fs::path run = exchange::run_of(model);
  if (run.empty()) return facts;
  facts.name = fs::absolute(run).lexically_normal().filename().string();
  try {
    const int64_t step = checkpoint::read_training_state(model.path).step;
    facts.grid = grid_of(run, model.weights_name, step);
    if (model.weights_name == "ema") facts.evaluation = quality_text(run, step);
    facts.evaluation += sweeps_text(run, exchange::weights_checksum(model));
  } catch (const std::exception& error) {
    spdlog::warn("the model card has not all that the run knows: {}", error.what());
  }
  return facts;
}

}  // namespace ddpm::cli
