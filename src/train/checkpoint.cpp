#include "ddpm/train/checkpoint.h"

#include "ddpm/nn/model_file.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <torch/utils.h>
#include <torch/version.h>

namespace ddpm::train {
namespace {

constexpr int kFormatVersion = 1;
constexpr const char* kFirstMoment = "exp_avg.";
constexpr const char* kSecondMoment = "exp_avg_sq.";
constexpr const char* kUpdates = "step";

std::vector<io::NamedTensor> optimizer_tensors(const TrainingObjects& objects) {
  auto tensors = nn::named_weights(objects.unet, objects.optimizer.first_moments(), kFirstMoment);
  for (auto& t :
       nn::named_weights(objects.unet, objects.optimizer.second_moments(), kSecondMoment)) {
    tensors.push_back(std::move(t));
  }
  tensors.push_back({kUpdates, objects.optimizer.updates()});
  return tensors;
}

uint64_t byte_count(const std::vector<io::NamedTensor>& tensors) {
  uint64_t bytes = 0;
  for (const io::NamedTensor& t : tensors) bytes += t.tensor.nbytes();
  return bytes;
}

}  // namespace

std::string ema_file_name(size_t i) {
  return i == 0 ? "ema.safetensors" : fmt::format("ema-{}.safetensors", i + 1);
}

std::string to_json_text(const TrainingState& s) {
  const nlohmann::ordered_json json{
      {"format_version", kFormatVersion},
      {"step", s.step},
      {"samples_seen", s.samples_seen},
      {"epoch", s.dataset_size > 0 ? s.samples_seen / s.dataset_size : 0},
      {"seed", s.seed},
      {"batch_size", s.batch_size},
      {"dataset_size", s.dataset_size},
      {"dataset", s.dataset},
      {"world_size", s.world_size},
      {"threads", s.threads},
      {"precision", s.precision},
      {"skipped_steps", s.skipped_steps},
      {"skipped_in_a_row", s.skipped_in_a_row},
      {"seconds", s.seconds},
      {"ema_decays", s.ema_decays},
      {"torch_version", s.torch_version},
      {"saved_at", s.saved_at}};
  return json.dump(2) + "\n";
}

TrainingState read_training_state(const std::filesystem::path& checkpoint) {
  const std::filesystem::path path = checkpoint / "state.json";
  try {
    const auto json = nlohmann::json::parse(io::read_text(path));
    if (const int version = json.at("format_version"); version > kFormatVersion) {
      throw IoError(
          path, fmt::format("has format version {}; this program reads up to {}: use a newer one",
                            version, kFormatVersion));
    }
    TrainingState s;
    json.at("step").get_to(s.step);
    json.at("samples_seen").get_to(s.samples_seen);
    json.at("seed").get_to(s.seed);
    json.at("batch_size").get_to(s.batch_size);
    json.at("dataset_size").get_to(s.dataset_size);
    json.at("dataset").get_to(s.dataset);
    s.world_size = json.value("world_size", int64_t{1});
    json.at("threads").get_to(s.threads);
    json.at("precision").get_to(s.precision);
    json.at("skipped_steps").get_to(s.skipped_steps);
    s.skipped_in_a_row = json.value("skipped_in_a_row", int64_t{0});  // not in the first files
    json.at("seconds").get_to(s.seconds);
    json.at("ema_decays").get_to(s.ema_decays);
    json.at("torch_version").get_to(s.torch_version);
    json.at("saved_at").get_to(s.saved_at);
    return s;
  } catch (const nlohmann::json::exception& error) {
    throw IoError(path, fmt::format("is not a training state: {}", error.what()));
  }
}

std::filesystem::path save_checkpoint(CheckpointStore& store, const TrainingObjects& objects,
                                      const TrainingState& state, const std::string& model_toml,
                                      const std::string& config_toml) {
  const auto weights = nn::named_weights(objects.unet);
  const auto optimizer = optimizer_tensors(objects);
  const io::Metadata metadata{
      {"format", "pt"}};  // what other readers of safetensors expect to find

  CheckpointDraft draft = store.begin(
      state.step, byte_count(weights) * (1 + objects.averages.size()) + byte_count(optimizer));
  draft.add_tensors("model.safetensors", weights, metadata);
  for (size_t i = 0; i < objects.averages.size(); ++i) {
    draft.add_tensors(ema_file_name(i),
                      nn::named_weights(objects.unet, objects.averages[i].averages()), metadata);
  }
  draft.add_tensors("optimizer.safetensors", optimizer, metadata);
  draft.add_text("model.toml", model_toml);
  draft.add_text("config.toml", config_toml);
  TrainingState stamped = state;
  stamped.torch_version = TORCH_VERSION;
  stamped.saved_at = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  draft.add_text("state.json", to_json_text(stamped));
  return draft.publish();
}

TrainingState load_checkpoint(const std::filesystem::path& checkpoint,
                              const TrainingObjects& objects) {
  const torch::NoGradGuard no_grad;
  const TrainingState state = read_training_state(checkpoint);
  std::vector<double> decays;
  for (const nn::Ema& ema : objects.averages) decays.push_back(ema.decay());
  if (decays != state.ema_decays) {
    throw IoError(
        checkpoint,
        fmt::format(
            "keeps averages with ema.decay [{}], the config asks for [{}]; use the same, or "
            "start a new run with --out",
            fmt::join(state.ema_decays, ", "), fmt::join(decays, ", ")));
  }
  const auto load = [&](const std::string& name, const std::vector<torch::Tensor>& tensors,
                        const std::string& prefix = "") {
    nn::load_weights_(io::SafetensorsFile::open(checkpoint / name), objects.unet, tensors, prefix);
  };
  load("model.safetensors", objects.unet.parameters());
  for (size_t i = 0; i < objects.averages.size(); ++i) {
    load(ema_file_name(i), objects.averages[i].averages());
  }
  load("optimizer.safetensors", objects.optimizer.first_moments(), kFirstMoment);
  load("optimizer.safetensors", objects.optimizer.second_moments(), kSecondMoment);
  objects.optimizer.updates().copy_(
      io::SafetensorsFile::open(checkpoint / "optimizer.safetensors").get(kUpdates));
  return state;
}

}  // namespace ddpm::train
