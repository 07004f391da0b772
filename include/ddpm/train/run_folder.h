#pragma once

#include "ddpm/data/factory.h"

#include <filesystem>
#include <string>

// Rules for a run in an existing folder.

namespace ddpm::train {

/// Whether the folder is a training run of this program.
bool is_run(const std::filesystem::path& folder);

/// Throws IoError if a new run in `run` would overwrite a user's file. Throws UsageError if the
/// run's folder contains the folder of images or is inside it, because samples would become
/// training data. Only warns if the run already exists. Changes nothing.
void check_run_folder(const std::filesystem::path& run, const data::DataConfig& data);

/// Writes config.toml, the effective config of a run that continues at `step`, and keeps the config
/// that it replaces. `former` is the config of the training up to `step` ("": none); if it
/// `changed`, it is kept as config-until-step-N.toml. If config.toml differs from both, a user may
/// have edited it; it is kept as config-given-step-N.toml. Throws IoError.
void write_run_config(const std::filesystem::path& run, int64_t step, const std::string& former,
                      bool changed, const std::string& effective);

}  // namespace ddpm::train
