#include "run_watch.h"

#include "ddpm/base/error.h"
#include "ddpm/io/json_text.h"
#include "ddpm/report/metrics_table.h"
#include "ddpm/report/report.h"
#include "ddpm/train/run_view.h"

#include <chrono>
#include <utility>

#include <nlohmann/json.hpp>

namespace ddpm::serve {
namespace {

namespace fs = std::filesystem;
using RunJson = nlohmann::ordered_json;

constexpr int64_t kEveryMs = 1000;
constexpr int64_t kRows = 600;      // of the curves
constexpr size_t kShownGrids = 12;  // steps

int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

const char* name_of(train::RunView::State state) {
  switch (state) {
    case train::RunView::State::kRunning:
      return "running";
    case train::RunView::State::kStopped:
      return "stopped";
    case train::RunView::State::kFinished:
      return "finished";
  }
  return "unknown";
}

RunJson number(const std::optional<double>& value) { return value ? RunJson(*value) : RunJson(); }

void add_view_(RunJson& json, const train::RunView& view) {
  json["state"] = name_of(view.state);
  json["step"] = view.step;
  json["steps"] = view.steps;
  json["loss"] = number(view.loss);
  json["images_per_s"] = number(view.images_per_s);
  json["eta_s"] = view.state == train::RunView::State::kRunning ? number(view.eta_s) : RunJson();
  json["checkpoint"] = view.checkpoint ? RunJson(*view.checkpoint) : RunJson();
  json["message"] = view.last_message;
}

// The newest grids, by step, each {step, weights, url}.
RunJson grids_of(const fs::path& run) {
  const auto all = report::sample_grid_files(run);
  auto first = all.begin();
  if (all.size() > kShownGrids) std::advance(first, all.size() - kShownGrids);
  RunJson grids = RunJson::array();
  for (auto item = first; item != all.end(); ++item) {
    for (const report::SampleGrid& grid : item->second)
      grids.push_back({{"step", item->first},
                       {"weights", grid.weights},
                       {"url", "/v1/run/grids/" + grid.file.filename().string()}});
  }
  return grids;
}

}  // namespace

std::string RunWatch::read(Snapshot& snapshot) const {
  RunJson json{{"run", run_.lexically_normal().string()}, {"state", "unknown"}, {"step", 0}};
  std::vector<std::string> warnings;
  try {
    add_view_(json, train::view_of_run(run_));
    for (const std::string name : {"metrics", "quality"}) {
      const std::string file = name + ".jsonl";
      json[name] = report::metrics_table(report::steps_of_file(run_ / file, file, warnings), kRows);
    }
    json["grids"] = grids_of(run_);
  } catch (const Error& error) {  // a run that has just begun, or was deleted
    warnings.emplace_back(error.what());
  } catch (const fs::filesystem_error& error) {
    warnings.emplace_back(error.what());
  }
  json["warnings"] = warnings;
  snapshot.state = json["state"];
  snapshot.step = json["step"];
  return io::json_text(json);
}

std::shared_ptr<const RunWatch::Snapshot> RunWatch::now() {
  const std::lock_guard lock(mutex_);
  const int64_t now = now_ms();
  if (last_ && now - read_at_ms_ < kEveryMs) return last_;
  Snapshot next;
  next.json = read(next);
  read_at_ms_ = now_ms();
  if (last_ && next.json == last_->json) return last_;
  next.version = last_ ? last_->version + 1 : 1;
  last_ = std::make_shared<const Snapshot>(std::move(next));
  return last_;
}

fs::path RunWatch::grid(const std::string& name) const {
  for (const auto& [step, grids] : report::sample_grid_files(run_))
    for (const report::SampleGrid& grid : grids)
      if (grid.file.filename() == name && fs::is_regular_file(grid.file)) return grid.file;
  return {};
}

}  // namespace ddpm::serve
