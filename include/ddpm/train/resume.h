#pragma once

#include "ddpm/checkpoint/content.h"
#include "ddpm/checkpoint/store.h"
#include "ddpm/config/document.h"
#include "ddpm/data/view.h"
#include "ddpm/dist/world.h"
#include "ddpm/nn/unet.h"
#include "ddpm/train/experiment.h"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

// Decides whether a run begins at step 0 or resumes from a checkpoint, and checks that it can. For
// training and dry runs. Also what --finish does to a run that goes on.

namespace ddpm::train {

/// The checkpoint from which a run begins.
struct ResumePolicy {
  enum class Kind {
    kAuto,   ///< the run's newest valid checkpoint, if any
    kNever,  ///< none; the run's folder must hold no checkpoint
    kFrom,   ///< the checkpoint at `path`; a damaged one is an error
  };
  Kind kind = Kind::kAuto;
  std::filesystem::path path;
  /// Sets the weights of a run that begins at step 0; empty: random weights.
  std::function<void(nn::UNetImpl&)> initialize;
};

/// The policy's checkpoint, verified; empty if the run begins at step 0. Throws IoError.
std::filesystem::path choose_checkpoint(checkpoint::CheckpointStore& store,
                                        const ResumePolicy& policy,
                                        const std::filesystem::path& run);

/// The number of each class of the data in the checkpoint's network; empty if all are unchanged.
/// They differ if class folders were sorted by another rule when the run began.
std::vector<int64_t> classes_of_run(const std::filesystem::path& checkpoint,
                                    const Experiment& experiment, const data::Dataset& data);

/// The data with these class numbers.
data::Split in_class_order(const data::Split& data, const std::vector<int64_t>& numbers);

/// A run's current settings and data, to compare with its checkpoint.
struct RunIdentity {
  std::filesystem::path run;
  const Experiment& experiment;
  const config::Document& config;  ///< source of the experiment
  const data::Dataset& data;       ///< to train on
  std::string model_toml;
  std::string fingerprint;  ///< data.fingerprint()
};

/// The state of a resumed run and the changed settings.
struct Resumption {
  checkpoint::TrainingState state;
  std::vector<std::string> changes;  ///< "optimizer.lr 0.001 -> 1e-05"
  std::string rate;    ///< "the learning rate goes from ... to ..."; "" if it does not jump
  std::string config;  ///< the checkpoint's config.toml
};

/// Compares a run with its checkpoint. Throws IoError, naming key and both values, if the run
/// cannot be resumed from it. The network, the schedule, and all settings that determine a step's
/// samples and noise must not change within a run. Descriptions are compared by value: a missing
/// key equals its default.
Resumption compare_with(const std::filesystem::path& checkpoint, const RunIdentity& now);

/// Whether the run begins at step 0. Only looks at file names.
bool begins_anew(const std::filesystem::path& run, const ResumePolicy& policy);

/// Checks for settings that cannot train a network. Throws ConfigError for a new run; only warns
/// for a resumed one. `given`: the run begins with the weights of another network.
void check_trainable(const Experiment& experiment, config::Document& document, bool begins,
                     bool given);

/// The settings that must be the same on all ranks of a run, for example "train.batch_size": "128".
/// Settings of a machine (threads, workers, devices) may differ.
dist::Facts shared_settings(const config::Document& document);

/// Lets the run end well from where it is (`ddpm train --finish`): sets train.steps to the step of
/// its newest checkpoint plus optimizer.decay_steps, over which optimizer.decay = "stable" falls to
/// 0. The number is kept in RUN/finish.json, so that the same command resumes towards the same end.
/// Also sets the two keys of `document`. Collective. Throws UsageError if the decay is another one,
/// or the run has no checkpoint; IoError if finish.json is damaged.
void finish_from_here_(Experiment& experiment, config::Document& document,
                       const std::filesystem::path& run, const dist::World& world);

/// Throws UsageError if the run has been told to finish: it would return to the full rate.
void expect_not_finishing(const std::filesystem::path& run);

}  // namespace ddpm::train
