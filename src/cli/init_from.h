#pragma once

#include "ddpm/config/document.h"
#include "ddpm/exchange/model.h"

#include <string>

namespace ddpm::cli {

/// The network that `path` means, with its averaged weights where it has them: a checkpoint, a run,
/// or what exchange::read_model reads. Throws IoError or UsageError.
exchange::Model read_initial_network(const std::string& path);

/// Makes the config's [model] and [diffusion] those of the network.
void describe_in_(config::Document& document, const exchange::Model& network);

}  // namespace ddpm::cli
