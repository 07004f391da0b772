#include "quality_meter.h"

#include "ddpm/data/statistics.h"
#include "ddpm/eval/appearance.h"
#include "ddpm/pipeline/sample_images.h"
#include "estimates.h"
#include "eval_setup.h"

#include <memory>

namespace ddpm::cli {

namespace {

constexpr int64_t kReferenceImages = 1000;  // of the data's appearance

// Opened at the first measurement.
struct Reference {
  eval::Evaluator evaluator;
  eval::Appearance appearance;
};

eval::Appearance appearance_of(const data::Dataset& images) {
  eval::AppearanceSum sum;
  const auto add = [&](int64_t, const torch::Tensor& batch, const torch::Tensor&) {
    sum.add(batch);
  };
  eval::visit_examples(images, data::spread_indices(images.size(), kReferenceImages), 64, add);
  return sum.result();
}

std::unique_ptr<Reference> open(const std::filesystem::path& checkpoint,
                                const Processes& processes) {
  eval::Evaluator evaluator = open_evaluator({}, checkpoint, processes);
  eval::Appearance appearance = appearance_of(*evaluator.data().images);
  return std::make_unique<Reference>(Reference{std::move(evaluator), std::move(appearance)});
}

}  // namespace

train::MeasureQuality quality_meter(const train::Experiment& experiment,
                                    const Processes& processes) {
  pipeline::SampleOptions options;
  options.ddim = true;
  options.steps = experiment.train.sample_steps;
  options.num = experiment.train.eval_num;
  options.precision = config::to_string(experiment.train.precision);
  options.deterministic = experiment.train.deterministic;
  options.device = processes.device.str();
  condition_on_data_(options, {}, experiment.train.eval_num);
  auto reference = std::make_shared<std::unique_ptr<Reference>>();
  return [options, reference, &processes](const std::filesystem::path& checkpoint) {
    pipeline::SampleOptions of_this = options;
    of_this.checkpoint = checkpoint.string();
    // All together: a lost rank may have interrupted some of them.
    if (processes.world.any(!*reference)) *reference = open(checkpoint, processes);
    const Reference& known = **reference;
    pipeline::SamplePlan plan = pipeline::plan_sampling(of_this);
    settle_(plan, of_this, processes);
    eval::AppearanceSum drawn;  // by this rank
    eval::Samples samples = pipeline::samples_of(plan);
    samples.source = eval::also_to(samples.source,
                                   [&](int64_t, const torch::Tensor& batch) { drawn.add(batch); });
    const eval::FeatureSet set =
        known.evaluator.collect(samples, "measuring samples", /*frechet_only=*/true);
    if (!processes.world.is_main()) return train::Quality{};
    const auto frechet = known.evaluator.measure(set, {})["frechet"];
    return train::Quality{frechet->value, frechet->error,
                          eval::describe_tint(drawn.result(), known.appearance)};
  };
}

}  // namespace ddpm::cli
