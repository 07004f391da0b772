#pragma once

#include "ddpm/checkpoint/content.h"
#include "ddpm/checkpoint/store.h"
#include "ddpm/config/document.h"
#include "ddpm/data/subset.h"
#include "ddpm/nn/unet.h"
#include "ddpm/train/experiment.h"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

// Where a run begins: at step 0 or from a checkpoint, and whether it can. Training and a dry run
// ask alike.

namespace ddpm::train {

/// Which checkpoint a run begins from.
struct ResumePolicy {
  enum class Kind {
    kAuto,   ///< the newest valid one of the run, if any
    kNever,  ///< none; the run's folder must hold no checkpoint
    kFrom,   ///< the one at `path`; a damaged one is an error
  };
  Kind kind = Kind::kAuto;
  std::filesystem::path path;
  /// Sets the weights of a run that begins at step 0; empty: they stay random.
  std::function<void(nn::UNetImpl&)> initialize;
};

/// The checkpoint that `policy` means, verified; empty if the run begins at step 0. Throws IoError.
std::filesystem::path choose_checkpoint(checkpoint::CheckpointStore& store,
                                        const ResumePolicy& policy,
                                        const std::filesystem::path& run);

/// The number, in the checkpoint's network, of each class of the data; empty if nothing is to be
/// changed. Class folders may be sorted by another rule than when the run began.
std::vector<int64_t> classes_of_run(const std::filesystem::path& checkpoint,
                                    const Experiment& experiment, const data::Dataset& data);

/// The data with its classes numbered so.
data::Split in_class_order(const data::Split& data, const std::vector<int64_t>& numbers);

/// What a run is now, to be compared with what it was.
struct RunIdentity {
  std::filesystem::path run;
  const Experiment& experiment;
  const config::Document& config;  ///< that the experiment was read from
  const data::Dataset& data;       ///< to train on
  std::string model_toml;
  std::string fingerprint;  ///< data.fingerprint()
};

/// What a run goes on from, and with what that is new.
struct Resumption {
  checkpoint::TrainingState state;
  std::vector<std::string> changes;  ///< "optimizer.lr 0.001 -> 1e-05"
  std::string rate;                  ///< "the learning rate goes from ... to ..."; "": no jump
  std::string config;                ///< the checkpoint's config.toml
};

/// Throws IoError, naming key and both values, if the run cannot go on from the checkpoint:
/// network, schedule and what decides which samples and noise a step sees may not change within a
/// run. Descriptions are compared by what they mean: a key with its default may be missing.
Resumption compare_with(const std::filesystem::path& checkpoint, const RunIdentity& now);

/// Would the run begin at step 0? By the folder's names alone.
bool begins_anew(const std::filesystem::path& run, const ResumePolicy& policy);

/// Settings that no training can learn with: throws ConfigError for a run that begins, warns of one
/// that goes on. `given`: the run begins with weights from elsewhere.
void check_trainable(const Experiment& experiment, config::Document& document, bool begins,
                     bool given);

}  // namespace ddpm::train
