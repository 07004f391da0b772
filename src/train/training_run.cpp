#include "ddpm/train/trainer.h"

#include "ddpm/base/clock.h"
#include "ddpm/base/console.h"
#include "ddpm/base/progress.h"
#include "ddpm/base/text.h"
#include "ddpm/checkpoint/young_average.h"
#include "ddpm/io/folder.h"
#include "ddpm/io/image.h"
#include "ddpm/io/image_grid.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/train/micro_batch.h"
#include "ddpm/train/run_folder.h"

#include <algorithm>

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

Trainer::Trainer(Experiment experiment, config::Document& document, data::Split data,
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
      store_(run_ / "checkpoints", {experiment_.train.keep_last, experiment_.train.keep_every}),
      checkpoint_(starting_point(resume_policy)),
      data_(in_class_order(std::move(data))),
      model_toml_(
          nn::to_toml({experiment_.unet, experiment_.diffusion, data_.training->class_names()})),
      config_toml_(document.effective()),
      learner_(experiment_, device, world),
      loader_(open_batches(experiment_, *data_.training, device, world)),
      preview_(experiment_, device),
      writer_(store_) {
  checkpoint::TrainingTensors tensors;  // of the checkpoint, where there is one
  world_.on_main("open the run's folder", [&] {
    const std::string fingerprint = data_.training->fingerprint();
    if (checkpoint_.empty()) {
      begin(resume_policy);
    } else {
      resume({run_, experiment_, document, *data_.training, model_toml_, fingerprint}, tensors);
    }
    state_.fingerprint = fingerprint;
    if (data_.held_out) {
      holdout_ = std::make_unique<Holdout>(*data_.held_out, learner_.settings(),
                                           experiment_.train.batch_size);
    }
    log_ = std::make_unique<MetricsLog>(run_, state_.step);
  });
  if (!checkpoint_.empty() && resume_policy.initialize)
    spdlog::info("the weights of --init-from are not taken: the run goes on with its own");
  share_state(tensors);
  state_.world_size = world_.size();
  state_.seed = experiment_.run.seed;
  state_.batch_size = experiment_.train.batch_size;
  state_.dataset_size = data_.training->size();
  state_.dataset = data_.training->description();
  state_.threads = at::get_num_threads();
  state_.precision = config::to_string(experiment_.train.precision);
  state_.ema_decays = experiment_.ema.decays;
  if (experiment_.train.fit_micro_batch) {
    spdlog::info("{} images at a time fit into the memory of {}", learner_.fit_micro_batch_(),
                 device_.str());
  }
}

fs::path Trainer::starting_point(const ResumePolicy& policy) {
  fs::path checkpoint;
  world_.on_main("find the checkpoint to go on from", [&] {
    store_.clean();
    checkpoint = choose_checkpoint(store_, policy, run_);
  });
  return checkpoint;
}

// The data with its classes numbered as when the run began: rank 0 knows how.
data::Split Trainer::in_class_order(data::Split data) const {
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

void Trainer::begin(const ResumePolicy& policy) {
  if (policy.initialize) policy.initialize(*learner_.unet());
  spdlog::info("starting at step 0{}", policy.initialize ? " from given weights" : "");
  write_run_config(run_, 0, "", false, config_toml_);
}

void Trainer::resume(const RunIdentity& identity, checkpoint::TrainingTensors& tensors) {
  const Resumption found = compare_with(checkpoint_, identity);
  tensors = learner_.empty_tensors();
  state_ =
      checkpoint::read_checkpoint(checkpoint_, *learner_.unet(), experiment_.ema.decays, tensors);
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
    spdlog::info(
        "it was trained by {} processes, now {}: the images, t and noise of every step "
        "stay; sums may differ in the last bits",
        state_.world_size, world_.size());
  }
  write_run_config(run_, state_.step, found.config, !found.changes.empty(), config_toml_);
}

// What rank 0 loaded, to every rank.
void Trainer::share_state(const checkpoint::TrainingTensors& tensors) {
  const auto numbers =
      world_.from_main({state_.step, state_.samples_seen, state_.skipped_steps,
                        state_.skipped_in_a_row, tensors.updates.defined() ? 1 : 0});
  state_.step = numbers[0];
  state_.samples_seen = numbers[1];
  state_.skipped_steps = numbers[2];
  state_.skipped_in_a_row = numbers[3];
  if (numbers[4] != 0) {
    learner_.restore_(tensors);
  } else {
    learner_.begin_();
  }
  learner_.metrics().set_skipped_in_a_row(state_.skipped_in_a_row);
  if (state_.step > 0) loader_->seek(state_.step);
}

std::string Trainer::batch_description() const {
  const int64_t batch = experiment_.train.batch_size, parts = world_.size() * learner_.rounds();
  if (parts == 1) return fmt::format("{}", batch);
  return fmt::format("{} ({} processes x {} rounds x {} images)", batch, world_.size(),
                     learner_.rounds(), batch / parts);
}

TrainOutcome Trainer::run() {
  const TrainConfig& config = experiment_.train;
  if (state_.step >= config.steps) {
    spdlog::info("nothing to do: {} has reached step {}; raise train.steps to go on", run_.string(),
                 state_.step);
    return TrainOutcome::kFinished;
  }
  first_step_ = state_.step;
  const double seconds_before = state_.seconds;
  const auto begin = Interval::Clock::now();
  if (world_.is_main())
    progress_ = std::make_unique<Progress>("training", config.steps, state_.step);
  interval_ = Interval{.first_step = state_.step};
  signal_.ask(world_.is_main() ? "stopping after this step, then saving" : nullptr);

  // Algorithm 1 (Ho 2020): repeat lines 2 to 5 until converged, here until train.steps.
  while (state_.step < config.steps) {
    const auto step_begin = Interval::Clock::now();
    note_progress("waiting for data");
    data::Batch batch;
    const std::exception_ptr failure = next_batch(batch);
    collect(writer_.poll());
    const Agreement agreed = agree(failure != nullptr);
    if (agreed.data_failed) fail_after_saving(failure);
    if (agreed.stop_signal != 0 || agreed.out_of_time) return stop(agreed);
    if (agreed.save) save();

    take_step(batch);
    state_.seconds = seconds_before + seconds_since(begin);
    const auto due = [&](int64_t every) { return every > 0 && state_.step % every == 0; };
    const bool last = state_.step == config.steps;
    const bool holdout_due = data_.held_out && (due(config.holdout_every) || last);
    if (due(config.log_every) || holdout_due || last) log_metrics(holdout_due);
    show_progress();
    if (due(config.sample_every)) draw_samples();
    if (due(config.checkpoint_every) || last) save();
    deadline_.saw_step(seconds_since(step_begin));
  }
  return finish();
}

// What the loader throws, of whatever kind, for all ranks to hear of: the steps before it are
// saved.
std::exception_ptr Trainer::next_batch(data::Batch& batch) {
  const auto waiting = Interval::Clock::now();
  try {
    batch = loader_->next();
  } catch (...) {
    return std::current_exception();
  }
  interval_.data_wait_s += seconds_since(waiting);
  return nullptr;
}

// Ranks must stop, save and go on at the same step, whichever of them the signal reached; and all
// know how rank 0's saves fare.
Trainer::Agreement Trainer::agree(bool data_failed) {
  const auto all = world_.all_reduce_max(
      {data_failed ? 1 : 0, signal_.signal_number(), signal_.take_save_request() ? 1 : 0,
       world_.is_main() && deadline_.reached() ? 1 : 0, saved_step_,
       world_.is_main() ? failed_saves_ : 0});  // the others would hold on to a former count
  saved_step_ = all[4];
  failed_saves_ = all[5];
  constexpr int64_t kMaxFailures = 3;
  if (failed_saves_ >= kMaxFailures) {
    throw IoError(store_.directory(),
                  fmt::format("{} saves in a row failed; training stops", failed_saves_));
  }
  return {all[0] != 0, all[1], all[2] != 0, all[3] != 0};
}

void Trainer::take_step(const data::Batch& batch) {
  const auto begin = Interval::Clock::now();
  try {
    learner_.step_(batch, state_.step + 1);
  } catch (const std::exception& error) {
    if (!is_out_of_memory(error)) throw;
    throw Error(fmt::format(
        "step {}: the memory of {} does not suffice; set train.micro_batch = \"auto\" or raise "
        "train.accumulate (less memory, same result), or use train.precision = \"bf16\"",
        state_.step + 1, device_.str()));
  }
  ++state_.step;
  state_.samples_seen += experiment_.train.batch_size;
  (writer_.busy() ? step_times_.saving : step_times_.otherwise).add(seconds_since(begin));
}

// An image could not be read: the steps up to here are not lost with it.
void Trainer::fail_after_saving(const std::exception_ptr& failure) {
  clear_progress();
  if (state_.step > first_step_) {
    save();
    finish_save();
  }
  if (saved_step_ == state_.step)
    spdlog::info("once the data is mended, run the same command to continue from step {}",
                 state_.step);
  if (failure) std::rethrow_exception(failure);
  throw Error(
      fmt::format("rank {} stops: another rank could not read an image, as its own message says",
                  world_.rank()));
}

TrainOutcome Trainer::stop(const Agreement& agreed) {
  clear_progress();
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
  if (state_.step > interval_.first_step) log_metrics(false);
  save();
  finish_save();
  if (saved_step_ != state_.step)
    throw IoError(run_, "was asked to stop, but its checkpoint could not be saved");
  spdlog::info("stopped {} and saved at step {}; run the same command to continue", why,
               state_.step);
  return TrainOutcome::kStopped;
}

TrainOutcome Trainer::finish() {
  clear_progress();
  finish_save();
  if (saved_step_ != state_.step)
    throw IoError(run_, "finished, but its last checkpoint could not be saved");
  spdlog::info("finished {} ({}) in {}; loss {:.4f}{}", counted(state_.step, "step"),
               counted(state_.samples_seen, "image"), format_duration(state_.seconds), shown_loss_,
               holdout_loss_ ? fmt::format(", held out {:.4f}", *holdout_loss_) : "");
  if (const std::string young = young_averages(); !young.empty() && world_.is_main())
    spdlog::warn("{}: sample with --weights raw", young);
  return TrainOutcome::kFinished;
}

void Trainer::log_metrics(bool with_holdout) {
  MetricsLine line;
  line.reading = learner_.read_metrics();
  const double elapsed = std::max(1e-9, seconds_since(interval_.begin) - interval_.aside_s);
  const auto images =
      static_cast<double>((state_.step - interval_.first_step) * experiment_.train.batch_size);
  line.step = state_.step;
  line.images = state_.samples_seen;
  line.lr = learning_rate(experiment_.optimizer, state_.step, experiment_.train.steps);
  line.images_per_s = images / elapsed;
  line.data_wait = interval_.data_wait_s / elapsed;
  line.memory_mib = peak_memory_mib(device_);
  line.seconds = state_.seconds;
  line.eta_s =
      static_cast<double>((experiment_.train.steps - state_.step) * experiment_.train.batch_size) /
      line.images_per_s;
  if (with_holdout) measure_holdout(line);
  if (log_) log_->write(line);
  running_loss_.add(line.reading.loss, state_.step - interval_.first_step);
  shown_loss_ = running_loss_.with(0.0, 0);
  shown_rate_ = line.images_per_s;
  interval_ = Interval{.first_step = state_.step};

  state_.skipped_steps += line.reading.skipped;
  if (line.reading.skipped > 0 && world_.is_main()) {
    spdlog::warn("step {}: {} updates skipped, their gradient was not finite", state_.step,
                 line.reading.skipped);
  }
  if (line.reading.skipped_in_a_row >= experiment_.train.max_bad_steps) {
    throw Error(fmt::format(
        "step {}: the gradient was not finite for {} steps in a row (train.max_bad_steps = {}); "
        "the "
        "weights are those before. Lower optimizer.lr or use train.precision = \"fp32\"; the "
        "last "
        "checkpoint in {} is intact",
        state_.step, line.reading.skipped_in_a_row, experiment_.train.max_bad_steps,
        store_.directory().string()));
  }
}

// On rank 0; the others bring their share of the average.
void Trainer::measure_holdout(MetricsLine& line) {
  const std::vector<torch::Tensor> average = learner_.average(0);
  if (!world_.is_main()) return;
  const auto go_on = [&] { return !signal_.stop_requested(); };
  note_progress("held-out loss");
  line.holdout_loss = holdout_->loss(*learner_.unet(), go_on);
  const nn::WeightSwap averaged(*learner_.unet(), average);
  line.holdout_loss_ema = holdout_->loss(*learner_.unet(), go_on);
  if (!line.holdout_loss || !line.holdout_loss_ema) return;
  holdout_loss_ = line.holdout_loss_ema;
  spdlog::info("step {}: held-out loss {:.4f}, with the averaged weights {:.4f}", state_.step,
               *line.holdout_loss, *line.holdout_loss_ema);
}

void Trainer::draw_samples() {
  const auto begin = Interval::Clock::now();
  std::vector<std::string> pictures;
  preview_.draw(
      learner_, world_,
      [&](const std::string& weights, const sample::Progress& p) {
        note_progress(fmt::format("sampling {} {}/{}", weights, p.step, p.steps));
        return !signal_.stop_requested();
      },
      [&](const std::string& weights, const torch::Tensor& grid) {
        const fs::path folder = run_ / "samples";
        const fs::path picture = folder / fmt::format("step-{:09}-{}.png", state_.step, weights);
        try {
          io::make_folder(folder);
          io::write_png(picture, io::enlarged(grid));
          pictures.push_back(pictures.empty() ? picture.string() : "-" + weights);
        } catch (const IoError& error) {  // a full disk costs a picture, not the run
          spdlog::warn("{} (training goes on without it)", error.what());
        }
        log_->image("samples/" + weights, state_.step, grid);
      });
  clear_progress();
  if (!pictures.empty()) {
    const std::string first = pictures.front();
    pictures.erase(pictures.begin());
    spdlog::info("step {}: samples: {}{}, {}", state_.step, first,
                 pictures.empty() ? "" : fmt::format(" (and {})", fmt::join(pictures, ", ")),
                 format_duration(seconds_since(begin)));
  }
  if (const std::string young = young_averages(); !young.empty() && world_.is_main())
    spdlog::warn("{}: look at the grid of the raw weights", young);
  interval_.aside_s += seconds_since(begin);
}

std::string Trainer::young_averages() const {
  for (const double decay : experiment_.ema.decays) {
    const std::string young = checkpoint::young_average(decay, experiment_.ema.warmup, state_.step);
    if (!young.empty()) return young;
  }
  return "";
}

// Hands a copy of everything to the writer, whose outcome all ranks learn before a later step.
void Trainer::save() {
  if (saving_step_ == state_.step) return;
  const auto begin = Interval::Clock::now();
  saving_step_ = state_.step;
  collect(writer_.wait());  // before the next copy is made: one at a time is in memory
  const checkpoint::TrainingTensors tensors = learner_.snapshot();
  if (world_.is_main()) {
    checkpoint::TrainingState state = state_;
    const MetricsReading since_log = learner_.metrics().peek();
    state.skipped_steps += since_log.skipped;
    state.skipped_in_a_row = since_log.skipped_in_a_row;
    writer_.start(checkpoint::checkpoint_content(*learner_.unet(), tensors, state, model_toml_,
                                                 config_toml_));
    if (!experiment_.train.background_saves) collect(writer_.wait());
  }
  interval_.aside_s += seconds_since(begin);
}

// On every rank: waits for the save under way; saved_step_ is then its outcome.
void Trainer::finish_save() {
  note_progress("saving");
  collect(writer_.wait());
  saved_step_ = world_.all_reduce_max({saved_step_})[0];
}

// On rank 0, where a save has ended.
void Trainer::collect(const std::optional<checkpoint::SaveOutcome>& outcome) {
  if (!outcome) return;
  clear_progress();
  deadline_.saw_save(outcome->seconds);
  if (outcome->ok()) {
    saved_step_ = outcome->step;
    failed_saves_ = 0;
    std::string beside;
    if (step_times_.saving.steps > 0 && step_times_.otherwise.steps > 0) {
      beside =
          fmt::format("; steps took {} instead of {}", format_duration(step_times_.saving.value()),
                      format_duration(step_times_.otherwise.value()));
    }
    spdlog::info("step {}: saved {}{} ({}{})", outcome->step, outcome->folder.string(),
                 experiment_.train.background_saves ? " in the background" : "",
                 format_duration(outcome->seconds), beside);
  } else {
    ++failed_saves_;
    spdlog::error("step {}: the checkpoint could not be saved: {} (earlier ones are untouched)",
                  outcome->step, outcome->problem);
  }
  step_times_ = {};
}

// The loss is read once a second: it waits for the device.
void Trainer::show_progress() {
  if (!progress_) return;
  const int64_t steps = state_.step - interval_.first_step;
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
  progress_->update(state_.step, text);
}

void Trainer::note_progress(const std::string& what) {
  if (progress_) progress_->note(what);
}

void Trainer::clear_progress() {
  if (progress_) progress_->clear();
}

}  // namespace ddpm::train
