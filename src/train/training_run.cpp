#include "training_run.h"

#include "ddpm/base/clock.h"
#include "ddpm/base/text.h"
#include "ddpm/checkpoint/averages.h"
#include "ddpm/io/file.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/train/micro_batch.h"
#include "ddpm/train/run_folder.h"

#include <algorithm>
#include <bit>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <torch/types.h>

namespace ddpm::train {

namespace fs = std::filesystem;

namespace {

fs::path made_folder(const fs::path& run) {
  io::make_folder(run, "choose another folder with --out");
  return run;
}

}  // namespace

TrainingRun::TrainingRun(Experiment experiment, config::Document& document, data::Split data,
                         const torch::Device& device, const fs::path& run,
                         const ResumePolicy& resume_policy, const StopConditions& stop,
                         const dist::World& world)
    : experiment_(std::move(experiment)),
      device_(device),
      run_(world.is_main() ? made_folder(run) : run),
      world_(world),
      signal_(stop.signal),
      deadline_(stop.deadline),
      lock_(world.is_main() ? std::make_unique<checkpoint::RunLock>(run_) : nullptr),
      saver_(run_ / "checkpoints", {experiment_.train.keep_last, experiment_.train.keep_every},
             experiment_.train.background_saves, deadline_, [this] { reporter_.clear_progress(); }),
      snapshots_(checkpoint::snapshots_of(run_)),
      checkpoint_(starting_point(resume_policy)),
      data_(in_class_order(std::move(data))),
      model_toml_(nn::to_toml({experiment_.unet, experiment_.diffusion,
                               data_.training->class_names(), experiment_.data.depth})),
      config_toml_(document.effective()),
      learner_(experiment_, device, world),
      loader_(open_batches(experiment_, *data_.training, device, world)),
      reporter_(experiment_, device, run_, world, stop.signal, learner_) {
  checkpoint::TrainingTensors tensors;  // of the checkpoint, if there is one
  world_.on_main("open the run's folder", [&] {
    const std::string fingerprint = data_.training->fingerprint();
    if (checkpoint_.empty()) {
      begin(resume_policy);
    } else {
      resume({run_, experiment_, document, *data_.training, model_toml_, fingerprint}, tensors);
    }
    state_.fingerprint = fingerprint;
    checkpoint::continue_snapshots(snapshots_, checkpoint_, state_.step);
    reporter_.open(state_.step, *data_.training, data_.held_out.get());
    quality_ = std::make_unique<QualityLog>(run_, state_.step);
  });
  if (!checkpoint_.empty() && resume_policy.initialize)
    spdlog::info("--init-from is ignored: the run continues with its own weights");
  share_state(tensors);
  is_writing_ = world_.is_main();
  state_.world_size = world_.size();
  state_.seed = experiment_.run.seed;
  state_.batch_size = experiment_.train.batch_size;
  state_.dataset_size = data_.training->size();
  state_.dataset = data_.training->description();
  state_.threads = at::get_num_threads();
  state_.precision = config::to_string(experiment_.train.precision);
  state_.ema_decays = experiment_.ema.decays;
  state_.power_lengths = experiment_.ema.power_lengths;
  if (experiment_.train.fit_micro_batch) {
    spdlog::info("{} images at a time fit into the memory of {}", learner_.fit_micro_batch_(),
                 device_.str());
  }
}

fs::path TrainingRun::starting_point(const ResumePolicy& policy) {
  fs::path checkpoint;
  world_.on_main("find the checkpoint to continue from", [&] {
    saver_.store().clean();
    checkpoint = choose_checkpoint(saver_.store(), policy, run_);
  });
  return checkpoint;
}

// The data with the class numbers that the run began with. Rank 0 reads them.
data::Split TrainingRun::in_class_order(data::Split data) const {
  std::vector<int64_t> numbers(static_cast<size_t>(data.training->class_count()), -1);
  world_.on_main("compare the classes", [&] {
    const auto found = classes_of_run(checkpoint_, experiment_, *data.training);
    if (!found.empty()) numbers = found;
  });
  if (!numbers.empty()) numbers = world_.from_main(numbers);
  if (numbers.empty() || numbers.front() < 0) return data;
  data = train::in_class_order(data, numbers);
  spdlog::info("classes keep the numbers of the run: {}",
               fmt::join(data.training->class_names(), ", "));
  return data;
}

void TrainingRun::begin(const ResumePolicy& policy) {
  if (policy.initialize) policy.initialize(*learner_.unet());
  spdlog::info("starting at step 0{}", policy.initialize ? " from given weights" : "");
  write_run_config(run_, 0, "", false, config_toml_);
}

void TrainingRun::resume(const RunIdentity& identity, checkpoint::TrainingTensors& tensors) {
  const Resumption found = compare_with(checkpoint_, identity);
  tensors = learner_.empty_tensors();
  state_ = checkpoint::read_checkpoint(checkpoint_, *learner_.unet(), experiment_.ema, tensors);
  spdlog::info("resumed from {} (step {}, {} images seen)", checkpoint_.string(), state_.step,
               with_commas(state_.samples_seen));
  if (!found.changes.empty())
    spdlog::warn("changed since step {}: {}", state_.step, fmt::join(found.changes, ", "));
  if (!found.rate.empty()) spdlog::warn("{}", found.rate);
  if (state_.threads != at::get_num_threads()) {
    spdlog::warn("it was trained with {} CPU threads, now {}: results may differ in the last bits",
                 state_.threads, at::get_num_threads());
  }
  if (state_.world_size != world_.size()) {
    const bool coupled = experiment_.train.noise_coupling != NoiseCoupling::kIndependent;
    spdlog::info(
        "it was trained by {} processes, now {}: the images, t and noise of every step stay; {}",
        state_.world_size, world_.size(),
        coupled ? "each process pairs the noise of its own share, which is another one "
                  "(train.noise_coupling)"
                : "sums may differ in the last bits");
  }
  write_run_config(run_, state_.step, found.config, !found.changes.empty(), config_toml_);
}

// Broadcasts the state and tensors that rank 0 loaded.
void TrainingRun::share_state(const checkpoint::TrainingTensors& tensors) {
  const auto numbers = world_.from_main({state_.step, state_.samples_seen, state_.skipped_steps,
                                         state_.skipped_in_a_row, tensors.updates.defined() ? 1 : 0,
                                         std::bit_cast<int64_t>(state_.seconds)});
  state_.step = numbers[0];
  state_.samples_seen = numbers[1];
  state_.skipped_steps = numbers[2];
  state_.skipped_in_a_row = numbers[3];
  state_.seconds = std::bit_cast<double>(numbers[5]);
  if (numbers[4] != 0) {
    learner_.restore_(tensors);
  } else {
    learner_.begin_();
  }
  learner_.metrics().set_skipped_in_a_row(state_.skipped_in_a_row);
  if (state_.step > 0) loader_->seek(state_.step);
}

std::string TrainingRun::batch_description() const {
  const int64_t batch = experiment_.train.batch_size, parts = world_.size() * learner_.rounds();
  if (parts == 1) return fmt::format("{}", batch);
  return fmt::format("{} ({} processes x {} rounds x {} images)", batch, world_.size(),
                     learner_.rounds(), batch / parts);
}

TrainOutcome TrainingRun::run() {
  const TrainConfig& config = experiment_.train;
  if (state_.step >= config.steps) {
    spdlog::info("nothing to do: {} has reached step {}; raise train.steps to continue",
                 run_.string(), state_.step);
    return TrainOutcome::kFinished;
  }
  if (out_of_patience()) return TrainOutcome::kFinished;
  first_step_ = finished_step_ = state_.step;
  seconds_before_ = state_.seconds;
  begin_ = Clock::now();
  reporter_.begin(state_.step);
  signal_.ask(world_.is_main() ? kHowItStops : nullptr);
  return shrinking_world_ ? go_on() : train();
}

TrainOutcome TrainingRun::train() {
  const TrainConfig& config = experiment_.train;
  // Algorithm 1 (Ho 2020): repeat lines 2 to 5 until converged, here until train.steps.
  while (state_.step < config.steps) {
    const auto step_begin = Clock::now();
    reporter_.note_progress("waiting for data");
    data::Batch batch;
    const std::exception_ptr failure = next_batch(batch);
    saver_.poll();
    const Agreement agreed = agree(failure != nullptr);
    if (agreed.data_failed) fail_after_saving(failure);
    if (agreed.stop_signal != 0 || agreed.out_of_time) return stop(agreed);
    if (agreed.save) save();

    take_step(batch);
    if (!after_step(/*measure=*/true)) break;
    deadline_.saw_step(seconds_since(step_begin));
  }
  return finish();
}

// What is due after a step. Returns whether training is to continue.
bool TrainingRun::after_step(bool measure) {
  const TrainConfig& config = experiment_.train;
  state_.seconds = seconds_before_ + seconds_since(begin_);
  const auto due = [&](int64_t every) { return every > 0 && state_.step % every == 0; };
  const bool last = state_.step == config.steps;
  const bool holdout_due = data_.held_out && (due(config.holdout_every) || last);
  if (due(config.log_every) || holdout_due || last) reporter_.log_metrics(state_, holdout_due);
  reporter_.show_progress(state_.step);
  if (due(config.sample_every)) reporter_.draw_samples(state_.step);
  // Before the checkpoint: a run that resumes from it has every earlier snapshot.
  if (due(experiment_.ema.snapshot_interval(config.steps))) store_averages();
  if (due(config.checkpoint_every) || last) save();
  finished_step_ = state_.step;
  if (measure && measure_ && config.eval_every > 0 && (due(config.eval_every) || last) &&
      !measure_quality())
    return false;
  if (due(config.checkpoint_every) && config.report == ReportTime::kCheckpoints) write_report();
  return true;
}

// Returns an exception of the loader, if any. All ranks must then stop; earlier steps are saved.
std::exception_ptr TrainingRun::next_batch(data::Batch& batch) {
  const auto waiting = Clock::now();
  try {
    batch = loader_->next();
  } catch (...) {
    return std::current_exception();
  }
  reporter_.waited(seconds_since(waiting));
  return nullptr;
}

// All ranks must stop, save and continue at the same step, whichever rank got the signal. All ranks
// learn the outcome of rank 0's saves.
TrainingRun::Agreement TrainingRun::agree(bool data_failed) {
  const auto all = world_.all_reduce_max(
      {data_failed ? 1 : 0, std::max<int64_t>(signal_.signal_number(), stop_signal_),
       signal_.take_save_request() ? 1 : 0, world_.is_main() && deadline_.reached() ? 1 : 0,
       saver_.saved_step(),
       world_.is_main() ? saver_.failures() : 0});  // on other ranks the count may be outdated
  saver_.agree(all[4], all[5]);
  constexpr int64_t kMaxFailures = 3;
  if (saver_.failures() >= kMaxFailures) {
    throw IoError(saver_.store().directory(),
                  fmt::format("{} saves in a row failed; training stops", saver_.failures()));
  }
  stop_signal_ = all[1];
  return {all[0] != 0, all[1], all[2] != 0, all[3] != 0};
}

void TrainingRun::take_step(const data::Batch& batch) {
  const auto begin = Clock::now();
  try {
    learner_.step_(batch, state_.step + 1);
  } catch (const std::exception& error) {
    if (!is_out_of_memory(error)) throw;
    throw Error(fmt::format(
        "step {}: the memory of {} is too small; set train.micro_batch = \"auto\" or raise "
        "train.accumulate (less memory, same result), or use train.precision = \"bf16\"",
        state_.step + 1, device_.str()));
  }
  ++state_.step;
  state_.samples_seen += experiment_.train.batch_size;
  saver_.saw_step(seconds_since(begin));
}

// Called if an image could not be read. Saves the steps so far.
void TrainingRun::fail_after_saving(const std::exception_ptr& failure) {
  reporter_.clear_progress();
  if (state_.step > first_step_) {
    save();
    finish_save();
  }
  if (saver_.saved_step() == state_.step)
    spdlog::info("once the data is mended, run the same command to continue from step {}",
                 state_.step);
  if (failure) std::rethrow_exception(failure);
  throw Error(
      fmt::format("rank {} stops: another rank could not read an image, as its own message says",
                  world_.rank()));
}

TrainOutcome TrainingRun::stop(const Agreement& agreed) {
  reporter_.clear_progress();
  const std::string why =
      agreed.stop_signal != 0
          ? "by " + signal_name(static_cast<int>(agreed.stop_signal))
          : fmt::format("by the time limit of {}, with {} in reserve",
                        format_duration(deadline_.limit().value_or(0.0)),
                        format_duration(deadline_.limit() ? deadline_.reserve() : 0.0));
  if (state_.step == first_step_) {
    spdlog::info(
        "stopped {} before a step was taken; run the same command to continue from step {}", why,
        state_.step);
    return TrainOutcome::kStopped;
  }
  if (reporter_.has_news(state_.step)) reporter_.log_metrics(state_, false);
  save();
  finish_save();
  if (saver_.saved_step() < state_.step)
    throw IoError(run_, "was asked to stop, but its checkpoint could not be saved");
  spdlog::info("stopped {} and saved at step {}; run the same command to continue", why,
               state_.step);
  write_report();
  return TrainOutcome::kStopped;
}

TrainOutcome TrainingRun::finish() {
  reporter_.clear_progress();
  finish_save();
  if (saver_.saved_step() < state_.step)
    throw IoError(run_, "finished, but its last checkpoint could not be saved");
  const std::optional<double> held_out = reporter_.holdout_loss();
  spdlog::info("finished {} ({}) in {}; loss {:.4f}{}", counted(state_.step, "step"),
               counted(state_.samples_seen, "image"), format_duration(state_.seconds),
               reporter_.loss(), held_out ? fmt::format(", held out {:.4f}", *held_out) : "");
  if (const std::string young = reporter_.young_averages(state_.step);
      !young.empty() && world_.is_main())
    spdlog::warn("{}: sample with --weights raw", young);
  write_report();
  return TrainOutcome::kFinished;
}

// Passes a copy of all state to the writer. All ranks learn the outcome before a later step.
void TrainingRun::save() {
  if (!saver_.begin(state_.step)) return;
  const auto begin = Clock::now();
  saver_.wait();  // only one copy at a time is in memory
  const checkpoint::TrainingTensors tensors = learner_.snapshot();
  if (world_.is_main()) {
    checkpoint::TrainingState state = state_;
    const MetricsReading since_log = learner_.metrics().peek();
    state.skipped_steps += since_log.skipped;
    state.skipped_in_a_row = since_log.skipped_in_a_row;
    saver_.start(checkpoint::checkpoint_content(*learner_.unet(), tensors, state, model_toml_,
                                                config_toml_));
  }
  reporter_.aside(seconds_since(begin));
}

// Waits for the current save. All ranks learn its outcome.
void TrainingRun::finish_save() {
  reporter_.note_progress("saving");
  saver_.wait();
  saver_.agree(world_.all_reduce_max({saver_.saved_step()})[0], saver_.failures());
}

}  // namespace ddpm::train
