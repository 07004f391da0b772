#include "pictures_run.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/run_folder.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kChosen = "init.toml";

// The run's own config: the effective one or, if it was stopped before that was written, the chosen
// one. Empty if there is no run.
fs::path config_of_run(const fs::path& run) {
  if (!train::is_run(run)) return {};
  for (const char* name : {"config.toml", kChosen}) {
    if (fs::exists(run / name)) return run / name;
  }
  return {};
}

bool is_same_place(const fs::path& a, const fs::path& b) {
  std::error_code ignored;
  return fs::equivalent(a, b, ignored) ||
         fs::absolute(a).lexically_normal() == fs::absolute(b).lexically_normal();
}

void expect_same_pictures(const fs::path& config, const ChoiceFlags& flags, const fs::path& run) {
  config::Document document = config::Document::load(config);
  const fs::path before = train::read_experiment(document).data.path;
  if (is_same_place(before, flags.pictures)) return;
  throw UsageError(fmt::format(
      "the run {} is trained on {}, not on {}; choose another folder with --out", run.string(),
      before.empty() ? "procedural images" : before.string(), flags.pictures));
}

}  // namespace

void expect_one_source(const ChoiceFlags& flags, const std::string& config) {
  if (flags.pictures.empty() && config.empty())
    throw UsageError(
        "nothing to train on: give your pictures (ddpm train PICTURES) or a config (--config "
        "FILE)");
  if (flags.pictures.ends_with(".toml"))
    throw UsageError(fmt::format("{0} is no pictures; did you mean --config {0}?", flags.pictures));
  if (!flags.pictures.empty() && !config.empty())
    throw UsageError(fmt::format(
        "give {0} or --config, not both: to train with this config on them, use --config {1} --set "
        "data.path={0}",
        flags.pictures, config));
  if (!config.empty() && (flags.minutes || flags.size))
    throw UsageError(fmt::format(
        "{} chooses settings for pictures (ddpm train PICTURES), but the config has them; set {}",
        flags.minutes ? "--minutes" : "--size", flags.minutes ? "train.steps" : "data.image_size"));
}

config::Document config_for_pictures(const ChoiceFlags& flags, const fs::path& run,
                                     const std::vector<std::string>& overrides, bool single,
                                     bool writes) {
  if (const fs::path config = config_of_run(run); !config.empty()) {
    expect_same_pictures(config, flags, run);
    spdlog::info("the run {} exists: its settings are those of {}; nothing is chosen anew",
                 run.string(), config.string());
    return config::Document::load(config);
  }
  if (!single)
    throw UsageError(fmt::format(
        "settings are chosen by one process: run ddpm init {} first, then start the processes with "
        "ddpm train --config",
        flags.pictures));
  data::DataConfig data;
  data.path = flags.pictures;
  train::check_run_folder(run, data);
  const Choice choice =
      choose_settings(flags, fmt::format("ddpm train {}", flags.pictures), overrides);
  for (const auto& [name, text] : rows_of(choice)) {
    if (name == "warning") {
      spdlog::warn("{}", text);
    } else {
      spdlog::info("{}: {}", name, text);
    }
  }
  const fs::path file = run / kChosen;
  if (writes) {
    io::make_folder(run, "choose another folder with --out");
    io::write_file_atomic(file, choice.text);
    spdlog::info("the chosen settings are in {}", file.string());
  }
  return config::Document::parse(choice.text, file.string());
}

}  // namespace ddpm::cli
