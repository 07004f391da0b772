#include "ddpm/train/run_view.h"

#include "ddpm/base/error.h"
#include "ddpm/base/log_line.h"
#include "ddpm/base/progress.h"
#include "ddpm/base/text.h"
#include "ddpm/checkpoint/run_lock.h"
#include "ddpm/checkpoint/store.h"
#include "ddpm/config/document.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_lines.h"
#include "ddpm/train/run_folder.h"

#include <algorithm>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::train {
namespace {

namespace fs = std::filesystem;

using Json = nlohmann::ordered_json;

std::optional<double> number(const Json& line, const char* key) {
  const auto found = line.find(key);
  if (found == line.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

int64_t step_of(const Json& line) { return line["step"].get<int64_t>(); }

std::optional<double> smoothed_loss(const std::vector<Json>& lines) {
  const double begin = 0.95 * static_cast<double>(step_of(lines.back()));
  double sum = 0;
  int64_t count = 0;
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    if (count > 0 && static_cast<double>(step_of(*line)) <= begin) break;
    if (const auto loss = number(*line, "loss")) sum += *loss, ++count;
  }
  if (count == 0) return std::nullopt;
  return sum / static_cast<double>(count);
}

void add_metrics_(RunView& view, const std::vector<Json>& lines) {
  if (lines.empty()) return;
  const Json& last = lines.back();
  view.step = step_of(last);
  view.loss = smoothed_loss(lines);
  view.last_loss = number(last, "loss");
  view.lr = number(last, "lr");
  view.grad_norm = number(last, "grad_norm");
  view.images_per_s = number(last, "images_per_s");
  view.data_wait = number(last, "data_wait");
  view.memory_mib = number(last, "memory_mib");
  view.eta_s = number(last, "eta_s");
  for (const Json& line : lines)
    if (const auto loss = number(line, "holdout_loss_ema")) view.holdout_loss = loss;
}

void add_quality_(RunView& view, const std::vector<Json>& lines) {
  for (const Json& line : lines) {
    const auto distance = number(line, "frechet");
    if (!distance || (view.best_frechet && *view.best_frechet <= *distance)) continue;
    view.best_frechet = distance;
    view.best_step = step_of(line);
  }
}

// The last message of the log: "[2026-11-27 13:54:36] info text" as "13:54:36 text".
std::string last_message(const fs::path& log) {
  if (!fs::exists(log)) return "";
  constexpr uint64_t kTail = 16 * 1024;
  const io::InputFile file(log);
  std::vector<uint8_t> bytes(std::min(file.size(), kTail));
  file.read_at(file.size() - bytes.size(), bytes);
  std::istringstream lines(std::string(bytes.begin(), bytes.end()));
  std::optional<LogLine> last;
  for (std::string line; std::getline(lines, line);)
    if (auto message = parse_log_line(line)) last = std::move(message);
  if (!last) return "";
  const std::string level = last->level == "info" ? "" : last->level + " ";
  return last->time.substr(11) + " " + level + last->text;
}

bool is_in_use(const fs::path& run) {
  try {
    checkpoint::RunLock::expect_free(run);
    return false;
  } catch (const IoError&) {
    return true;
  }
}

int64_t steps_in(const fs::path& config) {
  config::Document document = config::Document::load(config);
  return document.section("train").integer("steps", 0, config::at_least(0));
}

std::string joined(const std::vector<std::string>& parts) {
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string count_of(const RunView& view) {
  return with_commas(view.step) + "/" + with_commas(view.steps);
}

std::string state_text(const RunView& view) {
  switch (view.state) {
    case RunView::State::kRunning:
      return "training";
    case RunView::State::kStopped:
      return "stopped";
    case RunView::State::kFinished:
      return "finished";
  }
  return "";
}

std::vector<std::string> progress_numbers(const RunView& view) {
  std::vector<std::string> parts;
  if (view.loss) parts.push_back(fmt::format("loss {:.4f}", *view.loss));
  if (view.holdout_loss) parts.push_back(fmt::format("held out {:.4f}", *view.holdout_loss));
  if (view.lr) parts.push_back(fmt::format("lr {:.2g}", *view.lr));
  if (view.grad_norm) parts.push_back(fmt::format("gradient {:.2g}", *view.grad_norm));
  return parts;
}

std::vector<std::string> machine_numbers(const RunView& view) {
  std::vector<std::string> parts;
  if (view.images_per_s) parts.push_back(fmt::format("{:.1f} images/s", *view.images_per_s));
  if (view.data_wait && *view.data_wait >= 0.01)
    parts.push_back(fmt::format("{:.0f} % waiting for data", 100 * *view.data_wait));
  if (view.memory_mib) parts.push_back(fmt::format("{:.0f} MiB", *view.memory_mib));
  return parts;
}

std::string kept_text(const RunView& view) {
  std::vector<std::string> parts;
  if (view.checkpoint) parts.push_back("checkpoint at step " + with_commas(*view.checkpoint));
  if (view.best_frechet)
    parts.push_back(fmt::format("best Frechet distance {:.3g} at step {}", *view.best_frechet,
                                with_commas(view.best_step)));
  return joined(parts);
}

std::string fitted(const std::string& line, int width) {
  if (columns(line) <= width) return line;
  std::string cut;  // whole characters of UTF-8
  for (size_t i = 0; i < line.size(); ++i) {
    const bool begins = (static_cast<uint8_t>(line[i]) & 0xC0) != 0x80;
    if (begins && columns(cut) >= width - 3) break;
    cut += line[i];
  }
  return cut + "...";
}

}  // namespace

RunView view_of_run(const fs::path& run) {
  if (!is_run(run))
    throw IoError(run,
                  "is not a training run: it has no config.toml and checkpoints of ddpm train");
  RunView view;
  view.steps = steps_in(run / "config.toml");
  add_metrics_(view, io::read_json_lines(run / "metrics.jsonl").objects);
  add_quality_(view, io::read_json_lines(run / "quality.jsonl").objects);
  const std::vector<int64_t> saved = checkpoint::CheckpointStore(run / "checkpoints").steps();
  if (!saved.empty()) view.checkpoint = saved.front();
  view.last_message = last_message(run / "log.txt");
  const bool all_done = view.checkpoint.value_or(0) >= view.steps;
  view.state = is_in_use(run) ? RunView::State::kRunning
               : all_done     ? RunView::State::kFinished
                              : RunView::State::kStopped;
  return view;
}

std::vector<std::string> to_lines(const RunView& view, const std::string& title, int width) {
  ProgressParts bar{.title = title + " " + state_text(view), .count = count_of(view)};
  if (view.steps > 0) bar.share = static_cast<double>(view.step) / static_cast<double>(view.steps);
  if (view.state == RunView::State::kRunning && view.eta_s)
    bar.time = "ETA " + format_duration(*view.eta_s);
  std::vector<std::string> lines{progress_line(bar, width)};
  for (const std::string& line : {joined(progress_numbers(view)), joined(machine_numbers(view)),
                                  kept_text(view), view.last_message})
    if (!line.empty()) lines.push_back("  " + fitted(line, width - 2));
  return lines;
}

std::string to_line(const RunView& view) {
  std::vector<std::string> parts{state_text(view), "step " + count_of(view)};
  for (const auto& numbers : {progress_numbers(view), machine_numbers(view)})
    parts.insert(parts.end(), numbers.begin(), numbers.end());
  if (view.state == RunView::State::kRunning && view.eta_s)
    parts.push_back("ETA " + format_duration(*view.eta_s));
  return joined(parts);
}

}  // namespace ddpm::train
