#include "ddpm/train/beginning.h"

#include "ddpm/checkpoint/content.h"
#include "ddpm/checkpoint/run_lock.h"
#include "ddpm/checkpoint/store.h"
#include "ddpm/nn/model_file.h"

namespace ddpm::train {

Beginning beginning_of(const Experiment& experiment, const config::Document& document,
                       data::Split& data, const std::filesystem::path& run,
                       const ResumePolicy& policy) {
  checkpoint::RunLock::expect_free(run);
  checkpoint::CheckpointStore store(run / "checkpoints");
  Beginning b{choose_checkpoint(store, policy, run), {}, {}};
  if (b.checkpoint.empty()) {
    b.prepare = [&policy](Learner& learner) {
      if (policy.initialize) policy.initialize(*learner.unet());
      learner.begin_();
    };
    return b;
  }
  const auto numbers = classes_of_run(b.checkpoint, experiment, *data.training);
  if (!numbers.empty()) data = in_class_order(data, numbers);
  b.resumption = compare_with(b.checkpoint,
                              {run, experiment, document, *data.training,
                               nn::to_toml({experiment.unet, experiment.diffusion,
                                            data.training->class_names(), experiment.data.depth}),
                               data.training->fingerprint()});
  b.prepare = [&experiment, checkpoint = b.checkpoint](Learner& learner) {
    const checkpoint::TrainingTensors tensors = learner.empty_tensors();
    checkpoint::read_checkpoint(checkpoint, *learner.unet(), experiment.ema, tensors);
    learner.restore_(tensors);
  };
  return b;
}

}  // namespace ddpm::train
