#include "ddpm/train/run_folder.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::train {
namespace {

namespace fs = std::filesystem;

// Files that a run overwrites.
constexpr std::array kReplaced{"config.toml", "metrics.jsonl"};

bool lies_within(const fs::path& inner, const fs::path& outer) {
  const auto [end, rest] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  return end == outer.end();
}

fs::path real_path(const fs::path& path) {
  fs::path real = fs::weakly_canonical(fs::absolute(path)).lexically_normal();
  return real.has_filename() ? real : real.parent_path();  // "runs/a/" has no last component
}

// An error if samples of the run could become training images; "" if not.
std::string mixed_with_data(const fs::path& run, const data::DataConfig& data) {
  std::error_code ignored;
  if (data.kind == "procedural" || !fs::is_directory(data.path, ignored)) return "";
  const std::string kind = data.kind == "auto" ? data::kind_of_path(data.path) : data.kind;
  if (kind != "folder") return "";
  const fs::path images = real_path(data.path), folder = real_path(run);
  if (lies_within(folder, images)) return fmt::format("lies in data.path, {}", data.path.string());
  if (lies_within(images, folder)) return fmt::format("holds data.path, {}", data.path.string());
  return "";
}

// `stem`.toml or `stem`-N.toml: the first that does not exist or already has the content `text`.
fs::path free_name(const fs::path& run, const std::string& stem, const std::string& text) {
  fs::path path = run / (stem + ".toml");
  for (int i = 2; fs::exists(path) && io::read_text(path) != text; ++i)
    path = run / fmt::format("{}-{}.toml", stem, i);
  return path;
}

void keep(const fs::path& run, const std::string& stem, const std::string& text) {
  const fs::path path = free_name(run, stem, text);
  if (!fs::exists(path)) io::write_file_atomic(path, text);
  spdlog::info("the former config is kept as {}", path.string());
}

}  // namespace

bool is_run(const fs::path& folder) {
  return fs::exists(folder / "run.lock") || fs::exists(folder / "checkpoints");
}

void check_run_folder(const fs::path& run, const data::DataConfig& data) {
  const bool exists = is_run(run);
  for (const char* name : kReplaced) {
    if (exists || !fs::exists(run / name)) continue;
    throw IoError(run / name,
                  "already exists and is not that of a run: training would replace it; rename it, "
                  "or choose another folder with --out");
  }
  const std::string mixed = mixed_with_data(run, data);
  if (mixed.empty()) return;
  if (!exists) {
    throw UsageError(fmt::format(
        "the run's folder {} {}: samples of the run would become training data; choose a folder "
        "outside with --out",
        run.string(), mixed));
  }
  spdlog::warn("the run's folder {} {}: see that its samples do not become training data",
               run.string(), mixed);
}

void write_run_config(const fs::path& run, int64_t step, const std::string& former, bool changed,
                      const std::string& effective) {
  const fs::path path = run / "config.toml";
  const std::string there = fs::exists(path) ? io::read_text(path) : effective;
  if (changed) keep(run, fmt::format("config-until-step-{:09}", step), former);
  if (there != effective && there != former)
    keep(run, fmt::format("config-given-step-{:09}", step), there);
  io::write_file_atomic(path, effective);
}

}  // namespace ddpm::train
