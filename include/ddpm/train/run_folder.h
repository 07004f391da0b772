#pragma once

#include "ddpm/data/factory.h"

#include <filesystem>
#include <string>

// What a run may do to a folder that was there before it.

namespace ddpm::train {

/// Has the program trained in this folder?
bool is_run(const std::filesystem::path& folder);

/// Throws if a new run in `run` would replace a file that a user made there (IoError), or if run
/// and folder of images lie within each other, so that samples would become training data
/// (UsageError). A run that exists is only warned of the latter. Touches nothing.
void check_run_folder(const std::filesystem::path& run, const data::DataConfig& data);

/// Writes config.toml, the effective config of a run that goes on at `step`, and keeps what it
/// replaces beside it: `former`, the config that the run was trained with until then ("": none), as
/// config-until-step-N.toml if it `changed`; and a config.toml that is neither of the two, as a
/// user may have edited it, as config-given-step-N.toml. Throws IoError.
void write_run_config(const std::filesystem::path& run, int64_t step, const std::string& former,
                      bool changed, const std::string& effective);

}  // namespace ddpm::train
