#include "reporter.h"

#include "ddpm/base/clock.h"
#include "ddpm/base/console.h"
#include "ddpm/base/text.h"
#include "ddpm/checkpoint/averages.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"
#include "ddpm/nn/unet.h"
#include "ddpm/train/advice.h"
#include "mfu.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <torch/types.h>

namespace ddpm::train {

namespace fs = std::filesystem;

Reporter::Reporter(const Experiment& experiment, const torch::Device& device, const fs::path& run,
                   const dist::World& world, StopSignal& signal, Learner& learner)
    : experiment_(experiment),
      device_(device),
      run_(run),
      world_(world),
      signal_(signal),
      learner_(learner),
      preview_(experiment, device),
      image_flops_(3.0 * nn::forward_flops(*learner.unet())),
      peak_flops_(peak_flops(device, experiment.train.precision)) {}

void Reporter::open(int64_t step, const data::Dataset& training, const data::Dataset* held_out) {
  if (held_out) {
    holdout_ =
        std::make_unique<Holdout>(*held_out, learner_.settings(), experiment_.train.batch_size);
  }
  if (experiment_.train.sample_every > 0) preview_.condition_on_(held_out ? *held_out : training);
  log_ = std::make_unique<MetricsLog>(run_, step);
}

void Reporter::take_over(int64_t step, const data::Dataset& training,
                         const data::Dataset* held_out) {
  open(step, training, held_out);
  progress_ = std::make_unique<Progress>("training", experiment_.train.steps, step);
  if (!last_line_ || last_line_->step <= log_->last_step()) return;
  if (held_out && last_line_->step == step && holdout_is_due(step)) measure_holdout(*last_line_);
  log_->write(*last_line_);
}

void Reporter::begin(int64_t step) {
  if (world_.is_main())
    progress_ = std::make_unique<Progress>("training", experiment_.train.steps, step);
  interval_ = Interval{.first_step = step};
  if (device_.is_cpu() && world_.size() == 1) cores_.emplace();
  advised_ = step;
}

void Reporter::log_metrics(checkpoint::TrainingState& state, bool with_holdout) {
  MetricsLine line;
  line.reading = learner_.read_metrics();
  line.bins = learner_.read_loss_bins();
  line.noise = learner_.noise_scale();
  const double elapsed = std::max(1e-9, seconds_since(interval_.begin) - interval_.aside_s);
  const auto images =
      static_cast<double>((state.step - interval_.first_step) * experiment_.train.batch_size);
  line.step = state.step;
  line.images = state.samples_seen;
  line.lr = learning_rate(experiment_.optimizer, state.step, experiment_.train.steps);
  line.images_per_s = images / elapsed;
  line.mfu = mfu_of(line.images_per_s);
  line.data_wait = interval_.data_wait_s / elapsed;
  line.memory_mib = peak_memory_mib(device_);
  line.seconds = state.seconds;
  line.eta_s =
      static_cast<double>((experiment_.train.steps - state.step) * experiment_.train.batch_size) /
      line.images_per_s;
  if (with_holdout) measure_holdout(line);
  if (log_) log_->write(line);
  last_line_ = line;
  advise_on_batch(line);
  advise_on_threads();
  say_mfu(line);
  running_loss_.add(line.reading.loss, state.step - interval_.first_step);
  shown_loss_ = running_loss_.with(0.0, 0);
  shown_rate_ = line.images_per_s;
  interval_ = Interval{.first_step = state.step};

  state.skipped_steps += line.reading.skipped;
  if (line.reading.skipped > 0 && world_.is_main()) {
    spdlog::warn("step {}: {} updates skipped, their gradient was not finite", state.step,
                 line.reading.skipped);
  }
  if (line.reading.skipped_in_a_row >= experiment_.train.max_bad_steps) {
    throw Error(fmt::format(
        "step {}: the gradient was not finite for {} steps in a row (train.max_bad_steps = {}); "
        "the "
        "weights are those before. Lower optimizer.lr or use train.precision = \"fp32\"; the "
        "last "
        "checkpoint in {} is intact",
        state.step, line.reading.skipped_in_a_row, experiment_.train.max_bad_steps,
        (run_ / "checkpoints").string()));
  }
}

// Measures on rank 0. Other ranks only take part in gathering the EMA weights.
void Reporter::measure_holdout(MetricsLine& line) {
  const std::vector<torch::Tensor> average = learner_.average(0);
  if (!world_.is_main()) return;
  const auto go_on = [&] { return !signal_.stop_requested(); };
  note_progress("held-out loss");
  line.holdout_loss = holdout_->loss(*learner_.unet(), go_on);
  const nn::WeightSwap averaged(*learner_.unet(), average);
  std::optional<LossBins> bins;
  if (const int64_t count = experiment_.train.loss_bins; count > 0)
    bins.emplace(learner_.settings().diffusion.schedule(), count, device_);
  line.holdout_loss_ema = holdout_->loss(*learner_.unet(), go_on, bins ? &*bins : nullptr);
  if (bins && line.holdout_loss_ema) line.holdout_bins = bins->read();
  if (!line.holdout_loss || !line.holdout_loss_ema) return;
  holdout_loss_ = line.holdout_loss_ema;
  spdlog::info("step {}: held-out loss {:.4f}, with the averaged weights {:.4f}", line.step,
               *line.holdout_loss, *line.holdout_loss_ema);
}

// As often as checkpoints: the scale changes slowly.
void Reporter::advise_on_batch(const MetricsLine& line) {
  const bool due = line.step - advised_ >= experiment_.train.checkpoint_every ||
                   line.step == experiment_.train.steps;
  if (!line.noise || !due || !world_.is_main()) return;
  spdlog::info("step {}: {}", line.step, batch_advice(*line.noise, experiment_.train.batch_size));
  advised_ = line.step;
}

// Model FLOPs utilization (Chowdhery 2022, Appendix B): without what train.recompute computes again.
double Reporter::mfu_of(double images_per_s) const {
  if (peak_flops_ == 0) return 0.0;
  return image_flops_ * images_per_s / (peak_flops_ * static_cast<double>(world_.size()));
}

// Once. The first line holds what is done only once, as the choice of algorithms.
void Reporter::say_mfu(const MetricsLine& line) {
  if (++lines_ != 2 || line.mfu == 0 || !world_.is_main()) return;
  spdlog::info("step {}: {:.0f} images/s, {:.0f} % of {:.0f} TFLOP/s (the bf16 peak of {})",
               line.step, line.images_per_s, 100 * line.mfu, 1e-12 * peak_flops_,
               world_.size() == 1 ? "this GPU" : "each GPU");
}

// Once, after some seconds. Several processes of one run would be others to each other.
void Reporter::advise_on_threads() {
  constexpr double kEnough = 10.0;  // s
  if (!cores_ || cores_->seconds() < kEnough) return;
  const std::string advice =
      thread_advice(torch::get_num_threads(), cores_->cores(), cores_->by_others());
  cores_.reset();
  if (!advice.empty()) spdlog::warn("{}", advice);
}

void Reporter::draw_samples(int64_t step) {
  const auto begin = Interval::Clock::now();
  std::vector<std::string> pictures;
  preview_.draw(
      learner_, world_,
      [&](const std::string& weights, const sample::Progress& p) {
        note_progress(fmt::format("sampling {} {}/{}", weights, p.step, p.steps));
        return !signal_.stop_requested();
      },
      [&](const std::string& weights, const torch::Tensor& grid) {
        const fs::path file = picture(step, weights);
        try {
          io::make_folder(file.parent_path());
          io::write_png(file, io::enlarged(grid));
          pictures.push_back(pictures.empty() ? file.string() : "-" + weights);
        } catch (const IoError& error) {  // a full disk must not end the training
          spdlog::warn("{} (training continues without it)", error.what());
        }
        log_->image("samples/" + weights, step, grid);
      });
  clear_progress();
  if (!pictures.empty()) {
    const std::string first = pictures.front();
    pictures.erase(pictures.begin());
    spdlog::info("step {}: samples: {}{}, {}", step, first,
                 pictures.empty() ? "" : fmt::format(" (and {})", fmt::join(pictures, ", ")),
                 format_duration(seconds_since(begin)));
  }
  if (const std::string young = young_averages(step); !young.empty() && world_.is_main())
    spdlog::warn("{}: look at the grid of the raw weights", young);
  interval_.aside_s += seconds_since(begin);
}

fs::path Reporter::picture(int64_t step, const std::string& weights) const {
  return run_ / "samples" / fmt::format("step-{:09}-{}.png", step, weights);
}

bool Reporter::has_samples(int64_t step) const {
  const auto last = static_cast<size_t>(learner_.average_count()) - 1;
  return fs::exists(picture(step, checkpoint::ema_name(last)));
}

bool Reporter::holdout_is_due(int64_t step) const {
  return step % experiment_.train.holdout_every == 0 || step == experiment_.train.steps;
}

std::string Reporter::young_averages(int64_t step) const {
  for (const double decay : experiment_.ema.decays) {
    const std::string young = checkpoint::young_average(decay, experiment_.ema.warmup, step);
    if (!young.empty()) return young;
  }
  return "";
}

// Reads the loss only once per second, because reading waits for the device.
void Reporter::show_progress(int64_t step) {
  if (!progress_) return;
  const int64_t steps = step - interval_.first_step;
  if (steps > 0 && seconds_since(loss_read_) >= 1.0 && stderr_is_terminal()) {
    const double elapsed = seconds_since(interval_.begin) - interval_.aside_s;
    shown_loss_ = running_loss_.with(learner_.metrics().peek().loss, steps);
    if (shown_rate_ == 0.0 || elapsed > 2.0)
      shown_rate_ =
          static_cast<double>(steps * experiment_.train.batch_size) / std::max(1e-9, elapsed);
    loss_read_ = Interval::Clock::now();
  }
  ProgressText text;
  if (shown_rate_ > 0.0) {
    text.detail = fmt::format("loss {:.4f}", shown_loss_);
    text.rate = fmt::format("{:.1f} images/s", shown_rate_);
  }
  progress_->update(step, text);
}

void Reporter::note_progress(const std::string& what) {
  if (progress_) progress_->note(what);
}

void Reporter::clear_progress() {
  if (progress_) progress_->clear();
}

}  // namespace ddpm::train
