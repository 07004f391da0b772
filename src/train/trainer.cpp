#include "ddpm/train/trainer.h"

#include "ddpm/base/progress.h"
#include "ddpm/io/image.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/sample/generate.h"

#include <exception>
#include <optional>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <torch/types.h>

namespace ddpm::train {

namespace fs = std::filesystem;

namespace {

double seconds_since(Interval::Clock::time_point begin) {
  return std::chrono::duration<double>(Interval::Clock::now() - begin).count();
}

fs::path made_folder(const fs::path& run) {
  std::error_code error;
  fs::create_directories(run, error);
  if (error)
    throw IoError(
        run, fmt::format("cannot be made: {}; choose another folder with --out", error.message()));
  return run;
}

}  // namespace

Trainer::Trainer(Experiment experiment, config::Document& document, data::Split data,
                 const torch::Device& device, const fs::path& run,
                 const ResumePolicy& resume_policy, const dist::World& world)
    : experiment_(std::move(experiment)),
      data_(std::move(data)),
      device_(device),
      run_(world.is_main() ? made_folder(run) : run),
      model_toml_(nn::model_description_text(document, experiment_.unet.image,
                                             data_.training->class_names())),
      config_toml_(document.effective()),
      world_(world),
      lock_(world.is_main() ? std::make_unique<RunLock>(run_) : nullptr),
      store_(run_ / "checkpoints", {experiment_.train.keep_last, experiment_.train.keep_every}),
      learner_(experiment_, device, world),
      loader_(open_batches(experiment_, *data_.training, device, world)) {
  world_.on_main("open the run's folder", [&] {
    store_.clean();
    resume(resume_policy);
    if (data_.held_out) {
      holdout_ = std::make_unique<Holdout>(*data_.held_out, learner_.settings(),
                                           experiment_.train.batch_size);
    }
    io::write_file_atomic(run_ / "config.toml", config_toml_);
    log_ = std::make_unique<MetricsLog>(run_, state_.step);
  });
  share_state();
  state_.world_size = world_.size();
  state_.seed = experiment_.run.seed;
  state_.batch_size = experiment_.train.batch_size;
  state_.dataset_size = data_.training->size();
  state_.dataset = data_.training->description();
  state_.threads = at::get_num_threads();
  state_.precision = nn::to_string(experiment_.train.precision);
  state_.ema_decays = experiment_.ema.decays;
}

void Trainer::resume(const ResumePolicy& policy) {
  fs::path checkpoint;
  switch (policy.kind) {
    case ResumePolicy::Kind::kNever:
      if (!store_.steps().empty()) {
        throw IoError(run_,
                      "already holds checkpoints, and --resume never would overwrite them; give "
                      "another folder "
                      "with --out, or --resume auto to go on");
      }
      break;
    case ResumePolicy::Kind::kAuto: {
      const auto report = [](const fs::path& damaged, const std::string& problem) {
        spdlog::warn("{} is damaged ({}); using the one before it", damaged.string(), problem);
      };
      const auto newest = store_.newest_valid(report);
      if (newest) checkpoint = *newest;
      if (!newest && !store_.steps().empty()) {
        throw IoError(store_.directory(),
                      "holds only damaged checkpoints; move the run's folder aside to begin again");
      }
      break;
    }
    case ResumePolicy::Kind::kFrom:
      checkpoint = resolve_checkpoint(policy.path);
      break;
  }
  if (checkpoint.empty()) {
    spdlog::info("starting at step 0");
    return;
  }
  check_same_run(checkpoint);
  state_ = load_checkpoint(checkpoint, learner_.objects());
  if (policy.kind == ResumePolicy::Kind::kFrom && !store_.steps().empty() &&
      store_.steps().front() > state_.step) {
    throw IoError(
        run_,
        fmt::format(
            "holds newer checkpoints (step {}) than the one asked for (step {}); give another "
            "folder with --out to branch off",
            store_.steps().front(), state_.step));
  }
  spdlog::info("resumed from {} (step {}, {} images seen)", checkpoint.string(), state_.step,
               state_.samples_seen);
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
}

// What rank 0 loaded, to every rank.
void Trainer::share_state() {
  const auto numbers = world_.from_main(
      {state_.step, state_.samples_seen, state_.skipped_steps, state_.skipped_in_a_row});
  state_.step = numbers[0];
  state_.samples_seen = numbers[1];
  state_.skipped_steps = numbers[2];
  state_.skipped_in_a_row = numbers[3];
  learner_.broadcast_();
  learner_.metrics().set_skipped_in_a_row(state_.skipped_in_a_row);
  if (state_.step > 0) loader_->seek(state_.step);
}

// Ranks must stop, save and go on at the same step, whichever of them the signal reached.
Trainer::Requests Trainer::ask() {
  const auto agreed =
      world_.all_reduce_max({signal_.signal_number(), signal_.take_save_request() ? 1 : 0});
  return {agreed[0], agreed[1] != 0};
}

// What may not change within a run: the network and what decides which samples and noise a step
// sees.
void Trainer::check_same_run(const fs::path& checkpoint) const {
  const auto refuse = [&](const std::string& what, const auto& was, const auto& is) {
    throw IoError(
        checkpoint,
        fmt::format("was trained with {} {}, the config says {}; use the same, or start a new run "
                    "with --out",
                    what, was, is));
  };
  if (io::read_text(checkpoint / "model.toml") != model_toml_) {
    throw IoError(checkpoint / "model.toml",
                  "describes another network or schedule than the config; use the same "
                  "[model] and [diffusion], or start a new run with --out");
  }
  const TrainingState saved = read_training_state(checkpoint);
  if (saved.seed != experiment_.run.seed) refuse("run.seed", saved.seed, experiment_.run.seed);
  if (saved.batch_size != experiment_.train.batch_size) {
    refuse("train.batch_size", saved.batch_size, experiment_.train.batch_size);
  }
  if (saved.dataset_size != data_.training->size()) {
    refuse("a data set of this many images:", saved.dataset_size, data_.training->size());
  }
  const std::string precision = nn::to_string(experiment_.train.precision);
  if ((saved.precision == "fp64") != (precision == "fp64"))
    refuse("train.precision", saved.precision, precision);
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
  std::optional<Progress> progress;
  if (world_.is_main()) progress.emplace("training", config.steps, state_.step);
  const auto clear_progress = [&] {
    if (progress) progress->clear();
  };
  interval_ = Interval{.first_step = state_.step};

  // Algorithm 1 (Ho 2020): repeat lines 2 to 5 until converged, here until train.steps.
  while (state_.step < config.steps) {
    train_one_step();
    state_.seconds = seconds_before + seconds_since(begin);
    const auto due = [&](int64_t every) { return every > 0 && state_.step % every == 0; };
    const bool last = state_.step == config.steps;
    const bool holdout_due = data_.held_out && (due(config.holdout_every) || last);
    Requests asked = ask();  // once: a later signal waits for the next step
    if (due(config.log_every) || holdout_due || last || asked.stop_signal != 0)
      log_metrics(holdout_due);
    if (progress) progress->update(state_.step, last_loss_);
    if (due(config.sample_every) && asked.stop_signal == 0) {
      clear_progress();
      if (world_.is_main()) draw_samples();
      const Requests meanwhile = ask();  // drawing takes long
      asked = {meanwhile.stop_signal, asked.save || meanwhile.save};
    }
    if (due(config.checkpoint_every) || last || asked.stop_signal != 0 || asked.save) {
      clear_progress();
      save();
    }
    if (asked.stop_signal != 0 && !last) {
      if (saved_step_ != state_.step) {
        throw IoError(run_, "was asked to stop, but its checkpoint could not be saved");
      }
      spdlog::info("stopped by signal {} at step {}; the same command goes on from here",
                   asked.stop_signal, state_.step);
      return TrainOutcome::kStopped;
    }
  }
  clear_progress();
  if (saved_step_ != state_.step)
    throw IoError(run_, "finished, but its last checkpoint could not be saved");
  spdlog::info("finished: step {}, {} images, {}", state_.step, state_.samples_seen,
               format_duration(state_.seconds));
  return TrainOutcome::kFinished;
}

void Trainer::train_one_step() {
  const auto waiting = Interval::Clock::now();
  data::Batch batch;
  std::exception_ptr failure;
  try {
    batch = loader_->next();
  } catch (const IoError&) {
    failure = std::current_exception();
  }
  if (world_.any(failure != nullptr)) {
    save_before_failing();
    if (failure) std::rethrow_exception(failure);
    throw Error(
        fmt::format("rank {} stops: another rank could not read an image, as its own "
                    "message says",
                    world_.rank()));
  }
  interval_.data_wait_s += seconds_since(waiting);
  learner_.step_(batch, state_.step + 1);
  ++state_.step;
  state_.samples_seen += experiment_.train.batch_size;
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
  if (with_holdout && world_.is_main()) {
    line.holdout_loss = holdout_->loss(*learner_.unet());
    const nn::WeightSwap averaged(*learner_.unet(), learner_.averages().front().averages());
    line.holdout_loss_ema = holdout_->loss(*learner_.unet());
    spdlog::info("step {}: held-out loss {:.4f}, with the averaged weights {:.4f}", state_.step,
                 *line.holdout_loss, *line.holdout_loss_ema);
  }
  if (log_) log_->write(line);
  interval_ = Interval{.first_step = state_.step};
  last_loss_ = fmt::format("loss {:.4f}  {:.1f} images/s", line.reading.loss, line.images_per_s);

  state_.skipped_steps += line.reading.skipped;
  if (line.reading.skipped > 0 && world_.is_main()) {
    spdlog::warn("step {}: {} updates skipped, their gradient was not finite", state_.step,
                 line.reading.skipped);
  }
  if (line.reading.skipped_in_a_row >= experiment_.train.max_bad_steps) {
    throw Error(fmt::format(
        "step {}: the gradient was not finite for {} steps in a row (train.max_bad_steps = {}); "
        "the "
        "weights are those before. Lower optimizer.lr or use train.precision = \"fp32\"; the last "
        "checkpoint in {} is intact",
        state_.step, line.reading.skipped_in_a_row, experiment_.train.max_bad_steps,
        store_.directory().string()));
  }
}

void Trainer::save() {
  constexpr int64_t kMaxFailures = 3;
  const auto begin = Interval::Clock::now();
  if (world_.any(world_.is_main() && !try_to_save())) {
    ++failed_saves_;
    if (failed_saves_ >= kMaxFailures) {
      throw IoError(store_.directory(),
                    fmt::format("{} saves in a row failed; training stops", failed_saves_));
    }
  } else {
    saved_step_ = state_.step;
    failed_saves_ = 0;
  }
  interval_.aside_s += seconds_since(begin);
}

// On rank 0. Returns whether the checkpoint is on the disk; where not, why is logged.
bool Trainer::try_to_save() {
  const auto begin = Interval::Clock::now();
  try {
    TrainingState state = state_;
    const MetricsReading since_log = learner_.metrics().peek();
    state.skipped_steps += since_log.skipped;
    state.skipped_in_a_row = since_log.skipped_in_a_row;
    const fs::path folder =
        save_checkpoint(store_, learner_.objects(), state, model_toml_, config_toml_);
    store_.retain();
    spdlog::info("step {}: saved {} in {}", state_.step, folder.string(),
                 format_duration(seconds_since(begin)));
    return true;
  } catch (const IoError& error) {
    spdlog::error("step {}: the checkpoint could not be saved: {} (earlier ones are untouched)",
                  state_.step, error.what());
    return false;
  }
}

// An image could not be read: the steps up to here are not lost with it.
void Trainer::save_before_failing() {
  if (state_.step == first_step_ || saved_step_ == state_.step) return;
  save();
  if (saved_step_ == state_.step)
    spdlog::info("once the data is mended, the same command goes on from step {}", state_.step);
}

void Trainer::draw_samples() {
  const auto begin = Interval::Clock::now();
  learner_.unet()->eval();
  draw_grid("raw");
  for (size_t i = 0; i < learner_.averages().size(); ++i) {
    const nn::WeightSwap averaged(*learner_.unet(), learner_.averages()[i].averages());
    const std::string file = ema_file_name(i);
    draw_grid(file.substr(0, file.find('.')));
  }
  learner_.unet()->train();
  spdlog::info("step {}: drew {} samples from the raw and the averaged weights in {}", state_.step,
               experiment_.train.sample_count, format_duration(seconds_since(begin)));
  interval_.aside_s += seconds_since(begin);
}

// RUN/samples/step-N-NAME.png with the weights as they stand: always the same noise, classes in
// turn.
void Trainer::draw_grid(const std::string& name) {
  const nn::UNetConfig& network = experiment_.unet;
  sample::SampleConfig config = experiment_.sample;
  config.method = sample::Method::kDdim;
  config.eta = 0.0;
  config.sigma = sample::Sigma::kSmall;
  config.steps = experiment_.train.sample_steps;

  sample::GenerateOptions options;
  options.images = sample::image_range(0, experiment_.train.sample_count);
  options.channels = network.image.channels;
  options.height = network.image.height;
  options.width = network.image.width;
  options.batch = std::min(config.batch, experiment_.train.sample_count);
  options.seed = experiment_.run.seed;
  options.device = device_;
  options.dtype = nn::storage_type(experiment_.train.precision);
  options.progress = [&](const sample::Progress&) { return !signal_.stop_requested(); };

  const auto classes =
      sample::image_range(0, network.class_conditional ? network.image.classes : int64_t{0});
  const auto denoiser_for = [&](const std::vector<int64_t>& images) {
    return nn::make_denoiser(learner_.unet(), experiment_.train.precision,
                             nn::labels_in_turn(images, classes, device_));
  };
  std::vector<torch::Tensor> batches;
  const auto result = sample::generate(
      denoiser_for, learner_.settings().forward.schedule(), experiment_.diffusion.prediction,
      config, options,
      [&](int64_t, const torch::Tensor& x) { batches.push_back(io::to_uint8(x).cpu()); });
  if (result.stopped) return;
  const torch::Tensor grid = io::make_grid(torch::cat(batches));
  fs::create_directories(run_ / "samples");
  io::write_png(run_ / "samples" / fmt::format("step-{:09}-{}.png", state_.step, name), grid);
  log_->image("samples/" + name, state_.step, grid);
}

}  // namespace ddpm::train
