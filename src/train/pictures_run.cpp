#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "ddpm/train/choose_settings.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/run_folder.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kChosen = "init.toml";

// The run's own config: the effective one or, if it was stopped before that was written, the chosen
// one. Empty if there is no run.
fs::path config_of_run(const fs::path& run) {
  if (!is_run(run)) return {};
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

void expect_same_pictures(const fs::path& config, const ChoiceRequest& request,
                          const fs::path& run) {
  config::Document document = config::Document::load(config);
  const fs::path before = read_experiment(document).data.path;
  if (is_same_place(before, request.pictures)) return;
  throw UsageError(fmt::format(
      "the run {} is trained on {}, not on {}; choose another folder with --out", run.string(),
      before.empty() ? "procedural images" : before.string(), request.pictures));
}

}  // namespace

config::Document config_for_pictures(const ChoiceRequest& request, const fs::path& run,
                                     const std::vector<std::string>& overrides, bool single,
                                     bool writes) {
  if (const fs::path config = config_of_run(run); !config.empty()) {
    expect_same_pictures(config, request, run);
    spdlog::info("the run {} exists: its settings are those of {}; nothing is chosen anew",
                 run.string(), config.string());
    return config::Document::load(config);
  }
  if (!single)
    throw UsageError(fmt::format(
        "settings are chosen by one process: run ddpm init {} first, then start the processes with "
        "ddpm train --config",
        request.pictures));
  data::DataConfig data;
  data.path = request.pictures;
  check_run_folder(run, data);
  const Choice choice =
      choose_settings(request, fmt::format("ddpm train {}", request.pictures), overrides);
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

}  // namespace ddpm::train
