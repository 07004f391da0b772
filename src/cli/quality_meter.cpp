#include "quality_meter.h"

#include "estimates.h"
#include "eval_setup.h"

#include <memory>

namespace ddpm::cli {

train::MeasureQuality quality_meter(const train::Experiment& experiment,
                                    const Processes& processes) {
  SampleOptions options;
  options.ddim = true;
  options.steps = experiment.train.sample_steps;
  options.num = experiment.train.eval_num;
  options.precision = config::to_string(experiment.train.precision);
  options.deterministic = experiment.train.deterministic;
  options.device = processes.device.str();
  auto evaluator = std::make_shared<std::unique_ptr<eval::Evaluator>>();
  return [options, evaluator, &processes](const std::filesystem::path& checkpoint) {
    SampleOptions of_this = options;
    of_this.checkpoint = checkpoint.string();
    if (!*evaluator)
      *evaluator = std::make_unique<eval::Evaluator>(open_evaluator({}, checkpoint, processes));
    SamplePlan plan = plan_sampling(of_this);
    settle_(plan, of_this, processes);
    const eval::FeatureSet set =
        (*evaluator)->collect(samples_of(plan), "measuring samples", /*frechet_only=*/true);
    if (!processes.world.is_main()) return train::Quality{};
    const eval::Metrics metrics = (*evaluator)->measure(set, {});
    const auto& frechet = metrics["frechet"];
    return train::Quality{frechet->value, frechet->error};
  };
}

}  // namespace ddpm::cli
