#pragma once

#include "ddpm/config/document.h"
#include "ddpm/data/subset.h"
#include "ddpm/exchange/model.h"
#include "ddpm/train/experiment.h"

#include <string>

namespace ddpm::cli {

/// Makes the config's [model] and [diffusion] those of the network from `path`.
void describe_in_(config::Document& document, const exchange::Model& network,
                  const std::string& path);

/// The data with its classes numbered as the network knows them. Throws UsageError, naming what to
/// set, if the network is one for other images or other classes.
data::Split with_classes_of(const exchange::Model& network, const std::string& path,
                            const train::Experiment& experiment, data::Split data);

/// Throws UsageError, naming key and both values, if `unet` cannot carry the network's weights,
/// because --set made it another one.
void check_same_shape(const exchange::Model& network, const std::string& path,
                      const nn::UNetConfig& unet);

}  // namespace ddpm::cli
