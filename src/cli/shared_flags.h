#pragma once

#include "ddpm/config/document.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

// Flags that several commands have.

namespace ddpm::cli {

/// --config and --set.
struct ConfigFlags {
  std::string config;
  std::vector<std::string> overrides;
};
void add_config_flags(CLI::App& command, ConfigFlags& flags);
/// --set alone. `of`: which config ("the config").
void add_set_flag(CLI::App& command, std::vector<std::string>& overrides, const std::string& of);

/// The config file with the overrides applied in order.
config::Document load_config(const std::filesystem::path& path,
                             const std::vector<std::string>& overrides);
config::Document load_config(const ConfigFlags& flags);

/// --device of a command whose config has run.device: an override of it.
void add_run_device_flag(CLI::App& command, std::string& device);
/// Sets run.device, unless `device` is "".
void set_run_device_(config::Document& document, const std::string& device);

/// --json.
void add_json_flag(CLI::App& command, bool& json);

/// --seed.
void add_seed_flag(CLI::App& command, int64_t& seed);

/// --out, the folder of a command's files.
void add_folder_flag(CLI::App& command, std::string& out, const std::string& help);
/// --out, the picture that a command writes.
void add_picture_flag(CLI::App& command, std::string& out);

/// --weights, and --ema-length, which names other weights (checkpoint::ema_length_name). `weights`
/// must live as long as the command.
void add_weights_flag(CLI::App& command, std::string& weights);

}  // namespace ddpm::cli
