#include "ddpm/train/resume.h"

#include "ddpm/base/text.h"
#include "ddpm/data/view.h"
#include "ddpm/io/file.h"
#include "ddpm/nn/model_file.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

namespace ddpm::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWayOut = "or start a new run with --out";

std::string shape_text(const nn::ImageSpec& image) {
  return fmt::format("{}x{} with {}", image.height, image.width,
                     counted(image.channels, "channel"));
}

std::string classes_text(const nn::ModelDescription& d) {
  const std::string names =
      d.class_names.empty() ? "" : fmt::format(" ({})", fmt::join(d.class_names, ", "));
  return counted(d.unet.image.classes, "class") + names;
}

// "vectors of 40 numbers (smiling, age, ...)"
std::string vectors_text(const nn::VectorSpec& vectors) {
  return fmt::format("vectors of {} ({})", counted(vectors.width(), "number"),
                     name_list(vectors.names));
}

// What a model.toml says of the data, not of the config.
bool is_of_data(const config::Change& change) {
  return change.key.starts_with("image.") || change.key.starts_with("vectors.");
}

nn::ImageSpec without_classes(nn::ImageSpec image) {
  image.classes = 0;
  return image;
}

// "was trained with model.channels = 32, the config says 64; ..."
std::string changed_keys(const std::vector<config::Change>& changes) {
  std::vector<std::string> parts;
  for (const config::Change& c : changes) {
    if (is_of_data(c)) continue;
    parts.push_back(fmt::format("{} = {}, the config says {}", c.key,
                                c.was.empty() ? "(not set)" : c.was,
                                c.is.empty() ? "nothing" : c.is));
  }
  return fmt::format("was trained with {}; change {} back, {}", fmt::join(parts, "; with "),
                     parts.size() == 1 ? "it" : "them", kWayOut);
}

void check_same_network(const fs::path& checkpoint, const RunIdentity& now) {
  config::Document saved = config::Document::load(checkpoint / "model.toml");
  const nn::ModelDescription was = nn::without_unused(nn::read_model_description(saved));
  saved.check_all_read();
  config::Document current = config::Document::parse(now.model_toml, "model.toml");
  const nn::ModelDescription is = nn::without_unused(nn::read_model_description(current));
  if (was == is) return;
  if (without_classes(was.unet.image) != without_classes(is.unet.image)) {
    throw IoError(now.run,
                  fmt::format("was trained on images of {}, the data now has {}; set "
                              "data.image_size and data.channels as they were, {}",
                              shape_text(was.unet.image), shape_text(is.unet.image), kWayOut));
  }
  const auto changed = config::changes(saved, current);
  if (!std::all_of(changed.begin(), changed.end(), is_of_data))
    throw IoError(now.run, changed_keys(changed));
  if (was.unet.vectors != is.unet.vectors)
    throw IoError(
        now.run,
        fmt::format("was trained with {}, the data now has {}; use the same data.vectors, "
                    "{}",
                    vectors_text(was.unet.vectors),
                    was.unet.vectors.names == is.unet.vectors.names ? "other numbers in them"
                                                                    : vectors_text(is.unet.vectors),
                    kWayOut));
  throw IoError(now.run, fmt::format("was trained with {}, the data now has {}; use the same, {}",
                                     classes_text(was), classes_text(is), kWayOut));
}

// Checks the settings that determine a step's samples and noise.
void check_same_order(const checkpoint::TrainingState& was, const RunIdentity& now) {
  const auto refuse = [&](const std::string& key, const auto& before, const auto& value) {
    throw IoError(now.run,
                  changed_keys({{key, fmt::format("{}", before), fmt::format("{}", value)}}));
  };
  const Experiment& e = now.experiment;
  if (was.seed != e.run.seed) refuse("run.seed", was.seed, e.run.seed);
  if (was.batch_size != e.train.batch_size)
    refuse("train.batch_size", was.batch_size, e.train.batch_size);
  const std::string precision = config::to_string(e.train.precision);
  if ((was.precision == "fp64") != (precision == "fp64"))
    refuse("train.precision", was.precision, precision);
  if (was.ema_decays != e.ema.decays) refuse("ema.decay", was.ema_decays, e.ema.decays);
  if (was.power_lengths != e.ema.power_lengths)
    refuse("ema.power_lengths", was.power_lengths, e.ema.power_lengths);
  if (was.dataset_size == now.data.size()) return;
  throw IoError(now.run, fmt::format("was trained on {}, the data now has {}; use the same, {}",
                                     counted(was.dataset_size, "image"),
                                     with_commas(now.data.size()), kWayOut));
}

void compare_rates(const Experiment& was, const RunIdentity& now, Resumption& found) {
  const Experiment& is = now.experiment;
  const auto constant = [](const Experiment& e, int64_t step) {
    return e.optimizer.decay == LrDecay::kConstant && step > e.optimizer.warmup_steps;
  };
  const int64_t step = found.state.step;
  if (step >= is.train.steps) return;
  if (constant(was, step) && constant(is, step)) return;  // the changed keys are reported
  const double last = learning_rate(was.optimizer, step, was.train.steps);
  const double expected =
      learning_rate(was.optimizer, std::min(step + 1, was.train.steps), was.train.steps);
  const double next = learning_rate(is.optimizer, step + 1, is.train.steps);
  if (std::abs(next - expected) <= 0.01 * expected) return;
  found.rate = fmt::format(
      "the learning rate goes from {:.3g} at step {} to {:.3g} at step {}: it is set by "
      "optimizer.lr, warmup_steps and decay, which runs to train.steps = {}",
      last, step, next, step + 1, is.train.steps);
}

// Finds the values of the checkpoint's config that have changed.
void compare_configs(const fs::path& checkpoint, const RunIdentity& now, Resumption& found) {
  const fs::path path = checkpoint / "config.toml";
  if (!fs::exists(path)) return;  // an imported network has no config.toml
  found.config = io::read_text(path);
  try {
    config::Document saved = config::Document::parse(found.config, path.string());
    const Experiment was = read_experiment(saved);
    for (const config::Change& change : config::changes(saved, now.config))
      found.changes.push_back(config::to_string(change));
    compare_rates(was, now, found);
  } catch (const Error& error) {
    spdlog::warn("the changes since step {} are not known: {}", found.state.step, error.what());
  }
}

}  // namespace

fs::path choose_checkpoint(checkpoint::CheckpointStore& store, const ResumePolicy& policy,
                           const fs::path& run) {
  if (policy.kind == ResumePolicy::Kind::kNever) {
    if (store.steps().empty()) return {};
    throw IoError(run,
                  "already holds checkpoints, and --resume never would overwrite them; name "
                  "another folder with --out, or use --resume auto to continue");
  }
  if (policy.kind == ResumePolicy::Kind::kAuto) {
    const auto newest = store.newest_valid([](const fs::path& damaged, const std::string& problem) {
      spdlog::warn("{} is damaged ({}); using the one before it", damaged.string(), problem);
    });
    if (newest) return *newest;
    if (store.steps().empty()) return {};
    throw IoError(store.directory(),
                  "holds only damaged checkpoints; move the run's folder aside to begin again");
  }
  fs::path checkpoint = checkpoint::resolve_checkpoint(policy.path);
  const int64_t step = checkpoint::read_training_state(checkpoint).step;
  if (store.steps().empty() || store.steps().front() <= step) return checkpoint;
  throw IoError(run, fmt::format("holds newer checkpoints (step {}) than the one asked for (step "
                                 "{}); give another folder with --out to branch off",
                                 store.steps().front(), step));
}

std::vector<int64_t> classes_of_run(const fs::path& checkpoint, const Experiment& experiment,
                                    const data::Dataset& data) {
  if (checkpoint.empty() || !experiment.unet.class_conditional) return {};
  const nn::ModelDescription was = nn::read_model_description(checkpoint / "model.toml");
  const data::KnownClasses known{was.unet.image.classes, was.class_names};
  if (known.count != data.class_count()) return {};  // compare_with refuses it
  std::vector<int64_t> numbers = data::class_numbers(data.class_names(), known);
  std::vector<int64_t> same(numbers.size());
  std::iota(same.begin(), same.end(), 0);
  const bool reordered =
      numbers != same && std::set(numbers.begin(), numbers.end()).size() == numbers.size();
  return reordered ? numbers : std::vector<int64_t>();
}

Resumption compare_with(const fs::path& checkpoint, const RunIdentity& now) {
  check_same_network(checkpoint, now);
  Resumption found;
  found.state = checkpoint::read_training_state(checkpoint);
  check_same_order(found.state, now);
  compare_configs(checkpoint, now, found);
  const std::string& was = found.state.fingerprint;  // "" in files of former versions
  if (const std::string& is = now.fingerprint; !was.empty() && was != is) {
    found.changes.push_back(
        fmt::format("the images of the data (as many, but with other names{} sizes: {} -> {})",
                    now.data.vectors().defined() ? ", vectors or" : " or", was, is));
  }
  return found;
}

data::Split in_class_order(const data::Split& data, const std::vector<int64_t>& numbers) {
  const std::vector<std::string> names = data.training->class_names();
  data::KnownClasses known{data.training->class_count(), names};
  for (size_t i = 0; i < names.size(); ++i) known.names[static_cast<size_t>(numbers[i])] = names[i];
  return data::relabelled(data, numbers, known);
}

bool begins_anew(const fs::path& run, const ResumePolicy& policy) {
  return policy.kind != ResumePolicy::Kind::kFrom &&
         checkpoint::CheckpointStore(run / "checkpoints").steps().empty();
}

void check_trainable(const Experiment& experiment, config::Document& document, bool begins,
                     bool given) {
  const bool learns_variance = experiment.train.objective != Objective::kSimple;
  if (experiment.train.objective == Objective::kHybrid && !experiment.unet.learned_variance)
    document.section("train").fail(
        "loss", "= \"hybrid\" needs model.learned_variance = true; use \"simple\" without it");
  if (experiment.train.variance == diffusion::ModelVariance::kLearned &&
      !experiment.unet.learned_variance)
    document.section("train").fail("loss_sigma",
                                   "= \"learned\" needs model.learned_variance = true");
  if (experiment.unet.learned_variance && !learns_variance) {
    if (begins && !given) {
      document.section("model").fail(
          "learned_variance",
          "is true, but train.loss = \"simple\" learns no variance: half of the outputs would stay "
          "random; set train.loss = \"hybrid\", or this to false");
    }
    spdlog::warn(
        "training changes the mean alone, not the learned variance of this network: if --sigma "
        "learned looks worse afterwards, sample with --sigma small or large");
  }
  if (experiment.unet.augment_labels && experiment.data.augment == data::Augment::kNone && begins &&
      !given)
    document.section("model").fail(
        "augment_labels",
        "is true, but nothing is augmented; set data.augment = \"edm\", or this to false");
  if (experiment.diffusion.prediction != diffusion::Prediction::kMu ||
      experiment.train.objective == Objective::kVlb)
    return;
  if (begins && experiment.train.precision == nn::Precision::kBf16) {
    document.section("diffusion")
        .fail("prediction",
              "is \"mu\", which differs from x_t by about what train.precision = \"bf16\" rounds "
              "off; use \"eps\" or \"v\", or train.precision = \"fp32\"");
  }
  spdlog::warn(
      "diffusion.prediction = \"mu\" hardly learns with this loss (Ho 2020, Table 2): prefer "
      "\"eps\" or \"v\"");
}

}  // namespace ddpm::train
