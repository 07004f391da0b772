#pragma once

#include "ddpm/config/document.h"
#include "ddpm/data/subset.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/train/experiment.h"

#include <string>

// A run that begins with the weights of a trained network (--init-from).

namespace ddpm::train {

/// Sets the config's [model] and [diffusion] to those of the network. `path` names it in messages.
void set_model_sections(config::Document& document, const nn::ModelDescription& network,
                        const std::string& path);

/// The data with its classes numbered as the network numbers them. Throws UsageError, which names
/// what to set, if the network is for images or classes that the data does not have.
data::Split with_classes_of(const nn::ModelDescription& network, const std::string& path,
                            const Experiment& experiment, data::Split data);

/// Throws UsageError, which names the key and both values, if --set changed `unet` so that it
/// cannot take the network's weights.
void check_same_shape(const nn::ModelDescription& network, const std::string& path,
                      const nn::UNetConfig& unet);

}  // namespace ddpm::train
