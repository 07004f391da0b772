#pragma once

#include "ddpm/data/factory.h"

#include <filesystem>
#include <string>

// Rules for a run in an existing folder.

namespace ddpm::train {

/// Whether the program has trained in this folder.
bool is_run(const std::filesystem::path& folder);

/// Throws IoError if a new run in `run` would replace a user's file. Throws UsageError if the run's
/// folder and the folder of images lie within each other, because samples would become training
/// data; warns only, if the run exists. Changes nothing.
void check_run_folder(const std::filesystem::path& run, const data::DataConfig& data);

/// Writes config.toml, the effective config of a run that continues at `step`, and keeps what it
/// replaces beside it: `former`, the config that the run was trained with until then ("": none), as
/// config-until-step-N.toml if it `changed`; and a config.toml that is neither of the two, as a
/// user may have edited it, as config-given-step-N.toml. Throws IoError.
void write_run_config(const std::filesystem::path& run, int64_t step, const std::string& former,
                      bool changed, const std::string& effective);

}  // namespace ddpm::train
