#include "ddpm/pipeline/choices.h"

#include <spdlog/spdlog.h>

namespace ddpm::pipeline {
namespace {

constexpr int64_t kFewCalls = 15;  // with fewer, noise costs more than it repairs

const char* default_method(int64_t calls) { return calls < kFewCalls ? "bespoke" : "dpmpp_2m_sde"; }

}  // namespace

std::vector<std::string> method_words() {
  std::vector<std::string> words = sample::method_names();
  words.emplace_back(kAutoMethod);
  return words;
}

void begin_with_(sample::SampleConfig& config, const std::string& method) {
  config.method = method;
  config.eta = 0.0;
  config.sigma = sample::Sigma::kSmall;
  config.order = 0;
  if (method != sample::kDdim) config.last_alpha = sample::LastAlpha::kOne;
}

void take_auto_(sample::SampleConfig& config, std::optional<int64_t> calls,
                const exchange::Model& network) {
  const int64_t timesteps = network.description.diffusion.schedule.timesteps;
  const int64_t wanted = calls.value_or(config.steps == 0 ? timesteps : config.steps);
  const auto evidence = best_of_sweeps(network, wanted, config.guidance);
  if (!evidence) {
    begin_with_(config, default_method(wanted));
    config.spacing = wanted < kFewCalls ? sample::Spacing::kPower : sample::Spacing::kTrailing;
    config.stepping = sample::Stepping::kOwn;
    return;
  }
  const sample::SampleConfig former = config;
  config = evidence->config;
  config.steps = former.steps;
  config.steps_at = former.steps_at;
  config.num = former.num;
  config.batch = former.batch;
  config.provenance = former.provenance;
  spdlog::info("--method auto: {}, the best with {} calls in {}", config.method,
               evidence->config.steps, evidence->file.string());
}

}  // namespace ddpm::pipeline
