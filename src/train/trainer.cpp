#include "ddpm/train/trainer.h"

#include "training_run.h"

namespace ddpm::train {

Trainer::Trainer(Experiment experiment, config::Document& document, data::Split data,
                 const torch::Device& device, const std::filesystem::path& run,
                 const ResumePolicy& resume, const StopConditions& stop, const dist::World& world)
    : run_(std::make_unique<TrainingRun>(std::move(experiment), document, std::move(data), device,
                                         run, resume, stop, world)) {}
Trainer::~Trainer() = default;

void Trainer::measure_with_(MeasureQuality measure) { run_->measure_with_(std::move(measure)); }
void Trainer::report_with_(ReportRun report) { run_->report_with_(std::move(report)); }
void Trainer::shrink_with_(dist::World& world, BecomeMain become_main) {
  run_->shrink_with_(world, std::move(become_main));
}
TrainOutcome Trainer::run() { return run_->run(); }
int64_t Trainer::step() const { return run_->step(); }
nn::UNet Trainer::unet() const { return run_->unet(); }
std::string Trainer::batch_description() const { return run_->batch_description(); }

}  // namespace ddpm::train
