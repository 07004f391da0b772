#include "shared_flags.h"

#include "ddpm/checkpoint/averages.h"
#include "flags.h"

#include <fmt/format.h>

namespace ddpm::cli {

void add_config_flags(CLI::App& command, ConfigFlags& flags) {
  command.add_option("--config", flags.config, "TOML file; see configs/ and docs/config.md")
      ->type_name("FILE")
      ->required();
  add_set_flag(command, flags.overrides, "the config");
}

void add_set_flag(CLI::App& command, std::vector<std::string>& overrides, const std::string& of) {
  command
      .add_option("--set", overrides,
                  fmt::format("override a value of {}, as in train.batch_size=64; repeatable", of))
      ->type_name("SECTION.KEY=VALUE")
      ->allow_extra_args(false);
}

config::Document load_config(const std::filesystem::path& path,
                             const std::vector<std::string>& overrides) {
  config::Document document = config::Document::load(path);
  for (const std::string& assignment : overrides) document.set(assignment);
  return document;
}

config::Document load_config(const ConfigFlags& flags) {
  return load_config(flags.config, flags.overrides);
}

void add_run_device_flag(CLI::App& command, std::string& device) {
  command.add_option("--device", device, "where to run (default: run.device)")
      ->type_name("auto|cpu|cuda|cuda:N");
}

void set_run_device_(config::Document& document, const std::string& device) {
  if (!device.empty()) document.set("run.device=\"" + device + "\"");
}

void add_json_flag(CLI::App& command, bool& json) {
  command.add_flag("--json", json, "print one line of JSON");
}

void add_seed_flag(CLI::App& command, int64_t& seed) {
  command.add_option("--seed", seed, "random seed; the same seed gives the same images")
      ->check(whole(0, int64_t{1} << 53))
      ->capture_default_str();
}

void add_folder_flag(CLI::App& command, std::string& out, const std::string& help) {
  command.add_option("--out", out, help)->type_name("FOLDER");
}

void add_picture_flag(CLI::App& command, std::string& out) {
  command.add_option("--out", out, "the image file to write")
      ->type_name("FILE")
      ->capture_default_str();
}

void add_weights_flag(CLI::App& command, std::string& weights) {
  CLI::Option* named =
      command
          .add_option("--weights", weights,
                      "ema: EMA weights (ema-2: of the second decay, ...); raw: as trained "
                      "(default: ema if there are any)")
          ->type_name("ema|raw|ema-2");
  command
      .add_option_function<double>(
          "--ema-length",
          [&weights](const double& length) { weights = checkpoint::ema_length_name(length); },
          "weights averaged over this share of the training, as 0.05, rebuilt from the run's "
          "snapshots (needs ema.power_lengths; Karras 2024)")
      ->check(real(nn::kMinPowerLength, nn::kMaxPowerLength))
      ->type_name("LENGTH")
      ->excludes(named);
}

}  // namespace ddpm::cli
