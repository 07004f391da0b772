#include "ddpm/checkpoint/averages.h"
#include "ddpm/checkpoint/content.h"
#include "ddpm/nn/ema.h"

#include <fmt/format.h>

namespace ddpm::checkpoint {

std::string young_average(double decay, bool warmup, int64_t steps) {
  const double share = nn::initial_share(decay, warmup, steps);
  if (share <= nn::kYoungShare) return "";
  return fmt::format(
      "after {} steps the average of decay {} still is {:.0f} % the weights that training began "
      "with",
      steps, decay, 100.0 * share);
}

std::string young_average(const std::filesystem::path& checkpoint, const std::string& weights) {
  const std::filesystem::path config = checkpoint / "config.toml";
  if (!weights.starts_with("ema") || !std::filesystem::exists(config)) return "";
  const TrainingState state = read_training_state(checkpoint);
  config::Document document = config::Document::load(config);
  config::Reader ema = document.section("ema");
  const bool warmup = config::read<nn::EmaConfig>(ema).warmup;
  for (size_t i = 0; i < state.ema_decays.size(); ++i) {
    if (ema_name(i) == weights) return young_average(state.ema_decays[i], warmup, state.step);
  }
  return "";
}

}  // namespace ddpm::checkpoint
