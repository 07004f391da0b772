#pragma once

#include "ddpm/config/document.h"
#include "ddpm/data/subset.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/train/experiment.h"

#include <string>

// A run that begins with the weights of a trained network (--init-from).

namespace ddpm::train {

/// Sets the config's [model] and [diffusion] to the network's. `path` is for messages.
void set_model_sections(config::Document& document, const nn::ModelDescription& network,
                        const std::string& path);

/// The data with the network's class numbers. Throws UsageError, naming the key to set, if the
/// network needs other images or classes than the data has.
data::Split with_classes_of(const nn::ModelDescription& network, const std::string& path,
                            const Experiment& experiment, data::Split data);

/// Throws UsageError, naming the key and both values, if --set changed `unet` so that the network's
/// weights do not fit.
void check_same_shape(const nn::ModelDescription& network, const std::string& path,
                      const nn::UNetConfig& unet);

}  // namespace ddpm::train
