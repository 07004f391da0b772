#pragma once

#include "ddpm/config/document.h"
#include "ddpm/data/view.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/train/dry_run.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/resume.h"

#include <filesystem>
#include <string>

// How a run begins: anew, with the weights of a trained network (--init-from), or from a checkpoint.

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

/// The state that a run begins with.
struct Beginning {
  std::filesystem::path checkpoint;  ///< empty: step 0
  Resumption resumption;             ///< from the checkpoint, if there is one
  Preparation prepare;               ///< sets a learner's weights, EMA weights and optimizer
};

/// Does the checks of Trainer's constructor and changes nothing on disk. Numbers the classes of
/// `data` as in the checkpoint. All arguments must outlive the result. Throws the errors of
/// training.
Beginning beginning_of(const Experiment& experiment, const config::Document& document,
                       data::Split& data, const std::filesystem::path& run,
                       const ResumePolicy& policy);

}  // namespace ddpm::train
