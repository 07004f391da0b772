#include "choice_flags.h"

#include "ddpm/base/error.h"
#include "flags.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace ddpm::cli {

void add_choice_flags(CLI::App& command, train::ChoiceRequest& request) {
  command
      .add_option("--minutes", request.minutes,
                  "the time for the training, which sets its length (default: 60)")
      ->check(real(0.5, 1e6))
      ->type_name("X");
  command
      .add_option("--size", request.size,
                  "side of the images in pixels (default: what the pictures, the device and the "
                  "time allow)")
      ->check(whole(8, 1024))
      ->type_name("N");
}

void expect_one_source(const train::ChoiceRequest& request, const std::string& config) {
  if (request.pictures.empty() && config.empty())
    throw UsageError(
        "nothing to train on: give your pictures (ddpm train PICTURES) or a config (--config "
        "FILE)");
  if (request.pictures.ends_with(".toml"))
    throw UsageError(
        fmt::format("{0} is no pictures; did you mean --config {0}?", request.pictures));
  if (!request.pictures.empty() && !config.empty())
    throw UsageError(fmt::format(
        "give {0} or --config, not both: to train with this config on them, use --config {1} --set "
        "data.path={0}",
        request.pictures, config));
  if (!config.empty() && (request.minutes || request.size))
    throw UsageError(fmt::format(
        "{} chooses settings for pictures (ddpm train PICTURES), but the config has them; set {}",
        request.minutes ? "--minutes" : "--size",
        request.minutes ? "train.steps" : "data.image_size"));
}

}  // namespace ddpm::cli
