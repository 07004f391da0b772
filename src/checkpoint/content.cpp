#include "ddpm/checkpoint/content.h"

#include "ddpm/base/clock.h"
#include "ddpm/nn/model_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/utils.h>
#include <torch/version.h>

namespace ddpm::checkpoint {
namespace {

constexpr const char* kFirstMoment = "exp_avg.";
constexpr const char* kSecondMoment = "exp_avg_sq.";
constexpr const char* kUpdates = "step";

constexpr const char* kExtras = "training";

std::string file_of(const std::string& name) { return name + ".safetensors"; }

// Throws IoError if the checkpoint has other averages than the config's `key` asks for.
void expect_averages(const std::filesystem::path& checkpoint, const char* key,
                     const std::vector<double>& kept, const std::vector<double>& wanted) {
  if (kept == wanted) return;
  throw IoError(checkpoint,
                fmt::format("keeps averages with {} [{}], the config asks for [{}]; use the same, "
                            "or start a new run with --out",
                            key, fmt::join(kept, ", "), fmt::join(wanted, ", ")));
}

void read_extras(const std::filesystem::path& checkpoint,
                 const std::vector<io::NamedTensor>& extras) {
  const std::filesystem::path path = checkpoint / file_of(kExtras);
  if (extras.empty() || !std::filesystem::exists(path)) return;
  const io::SafetensorsFile file = io::SafetensorsFile::open(path);
  for (const io::NamedTensor& extra : extras) {
    if (file.contains(extra.name) && file.info(extra.name).shape == extra.tensor.sizes())
      extra.tensor.copy_(file.get(extra.name));
  }
}

}  // namespace

std::string power_name(double length) { return fmt::format("power-{}", length); }

std::string ema_name(size_t i) { return i == 0 ? "ema" : fmt::format("ema-{}", i + 1); }

CheckpointContent checkpoint_content(const nn::UNetImpl& unet, const TrainingTensors& tensors,
                                     const TrainingState& state, const std::string& model_toml,
                                     const std::string& config_toml) {
  CheckpointContent content;
  content.step = state.step;
  const auto add = [&](const std::string& name, std::vector<io::NamedTensor> named) {
    content.tensors.emplace_back(file_of(name), std::move(named));
  };
  add("model", nn::named_weights(unet, tensors.weights));
  for (size_t i = 0; i < tensors.averages.size(); ++i)
    add(ema_name(i), nn::named_weights(unet, tensors.averages[i]));
  for (size_t i = 0; i < tensors.power_averages.size(); ++i)
    add(power_name(state.power_lengths.at(i)), nn::named_weights(unet, tensors.power_averages[i]));
  auto optimizer = nn::named_weights(unet, tensors.first_moments, kFirstMoment);
  for (auto& t : nn::named_weights(unet, tensors.second_moments, kSecondMoment))
    optimizer.push_back(std::move(t));
  optimizer.push_back({kUpdates, tensors.updates});
  add("optimizer", std::move(optimizer));
  if (!tensors.extras.empty()) add(kExtras, tensors.extras);

  TrainingState stamped = state;
  stamped.torch_version = TORCH_VERSION;
  stamped.saved_at = utc_now();
  content.texts = {{"model.toml", model_toml},
                   {"config.toml", config_toml},
                   {"state.json", to_json_text(stamped)}};
  return content;
}

std::filesystem::path write_checkpoint(CheckpointStore& store, const CheckpointContent& content) {
  const io::Metadata metadata{
      {"format", "pt"}};  // other readers of safetensors expect this metadata
  uint64_t bytes = 0;
  for (const auto& [file, tensors] : content.tensors) {
    for (const io::NamedTensor& t : tensors) bytes += t.tensor.nbytes();
  }
  CheckpointDraft draft = store.begin(content.step, bytes);
  for (const auto& [file, tensors] : content.tensors) draft.add_tensors(file, tensors, metadata);
  for (const auto& [file, text] : content.texts) draft.add_text(file, text);
  return draft.publish();
}

TrainingState read_checkpoint(const std::filesystem::path& checkpoint, const nn::UNetImpl& unet,
                              const nn::EmaConfig& ema, const TrainingTensors& tensors) {
  const torch::NoGradGuard no_grad;
  const TrainingState state = read_training_state(checkpoint);
  expect_averages(checkpoint, "ema.decay", state.ema_decays, ema.decays);
  expect_averages(checkpoint, "ema.power_lengths", state.power_lengths, ema.power_lengths);
  const auto open = [&](const std::string& name) {
    return io::SafetensorsFile::open(checkpoint / file_of(name));
  };
  nn::load_weights_(open("model"), unet, tensors.weights);
  for (size_t i = 0; i < tensors.averages.size(); ++i)
    nn::load_weights_(open(ema_name(i)), unet, tensors.averages[i]);
  for (size_t i = 0; i < tensors.power_averages.size(); ++i)
    nn::load_weights_(open(power_name(ema.power_lengths.at(i))), unet, tensors.power_averages[i]);
  const io::SafetensorsFile optimizer = open("optimizer");
  nn::load_weights_(optimizer, unet, tensors.first_moments, kFirstMoment);
  nn::load_weights_(optimizer, unet, tensors.second_moments, kSecondMoment);
  tensors.updates.copy_(optimizer.get(kUpdates));
  read_extras(checkpoint, tensors.extras);
  return state;
}

WeightsChoice choose_weights(const std::filesystem::path& checkpoint, const std::string& wanted) {
  const size_t averages = read_training_state(checkpoint).ema_decays.size();
  if (averages == 0) {
    if (wanted.empty()) return {"", checkpoint / file_of("model")};
    throw UsageError(
        fmt::format("--weights {}: {} has one set of weights, which it calls neither raw nor ema; "
                    "leave out --weights",
                    wanted, checkpoint.string()));
  }
  std::vector<std::string> known{"raw"};
  for (size_t i = 0; i < averages; ++i) known.push_back(ema_name(i));
  const std::string name = wanted.empty() ? known[1] : wanted;
  if (std::find(known.begin(), known.end(), name) == known.end()) {
    throw UsageError(
        fmt::format("--weights {}: this checkpoint has {}", wanted, fmt::join(known, ", ")));
  }
  return {name, checkpoint / file_of(name == "raw" ? "model" : name)};
}

}  // namespace ddpm::checkpoint
