#pragma once

#include "ddpm/eval/evaluator.h"
#include "ddpm/eval/images.h"
#include "processes.h"
#include "sample_flags.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace ddpm::cli {

/// The flags that `ddpm eval` and its subcommands share.
struct EvalOptions {
  pipeline::SampleOptions sample;      ///< --ckpt, --num, --seed, --steps, ...
  std::string reference;               ///< config, images or statistics; "": the checkpoint's data
  std::vector<std::string> overrides;  ///< of the reference's config
  std::string split;                   ///< of a config's data; "": see open_reference
  std::string features = "train";
  std::string cache;
  bool json = false;
};

/// --reference, --set, --split.
void add_reference_flags(CLI::App& command, EvalOptions& options);
/// --features, --cache.
void add_feature_flags(CLI::App& command, EvalOptions& options);

/// The images of a config's data that are used if --split is not given: the training images, or the
/// held-out ones if there are any.
enum class DefaultSplit { kTraining, kHeldOut };

/// The reference that options.reference names; the data of `checkpoint`'s config if it is empty.
eval::ReferenceData open_reference(const EvalOptions& options,
                                   const std::filesystem::path& checkpoint,
                                   DefaultSplit split = DefaultSplit::kTraining);

/// The evaluator against that reference. `processes` must outlive it.
eval::Evaluator open_evaluator(const EvalOptions& options, const std::filesystem::path& checkpoint,
                               const Processes& processes);

/// The images whose conditions a network samples from if --condition is not given.
struct ConditionImages {
  std::shared_ptr<const data::Dataset> images;
  std::string split;
  std::vector<int64_t> chosen;  ///< image i of the samples has the condition of chosen[i mod size]
};

/// `num` held-out images of the options' reference, or training images if none are held out.
ConditionImages condition_images(const EvalOptions& options,
                                 const std::filesystem::path& checkpoint, int64_t num);

/// Lets a network with a condition sample from the conditions of such images, if --condition is not
/// given. The data is opened if it is needed, once; the result holds it from then on.
std::shared_ptr<const std::optional<ConditionImages>> condition_on_data_(
    pipeline::SampleOptions& sample, const EvalOptions& options, int64_t num);

/// For commands that measure images of a data set, each with its own condition: --condition is a
/// UsageError.
void take_own_conditions_(pipeline::SampleOptions& sample);

}  // namespace ddpm::cli
