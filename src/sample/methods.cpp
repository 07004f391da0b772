#include "ddpm/sample/methods.h"

#include "ancestral.h"
#include "ddim.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

constexpr std::array kMethods{
    MethodEntry{kDdpm, "Algorithm 2 (Ho 2020)", &make_ancestral, &check_ancestral,
                &describe_ancestral_noise},
    MethodEntry{kDdim, "DDIM (Song 2021)", &make_ddim, &check_ddim, &describe_ddim_noise},
};

}  // namespace

std::span<const MethodEntry> methods() { return kMethods; }

const MethodEntry& method_named(const std::string& name) {
  const auto found = std::find_if(kMethods.begin(), kMethods.end(),
                                  [&](const MethodEntry& m) { return m.name == name; });
  TORCH_CHECK(found != kMethods.end(), "no sampling method is called ", name);
  return *found;
}

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const MethodEntry& method : kMethods) names.emplace_back(method.name);
  return names;
}

std::unique_ptr<Sampler> make_sampler(const SampleConfig& config,
                                      const diffusion::Schedule& schedule) {
  return method_named(config.method).make(config, schedule);
}

std::string describe_guidance(const diffusion::Guidance& g) {
  if (g.weight == 1.0) return "";
  std::string text = fmt::format(", guidance {}", g.weight);
  if (!g.interval.empty())
    text += fmt::format(" where {} < sigma <= {}", g.interval[0], g.interval[1]);
  if (g.rescale > 0) text += fmt::format(", rescaled by {}", g.rescale);
  if (g.projects())
    text +=
        fmt::format(", parallel share {}, norm {}, momentum {}", g.parallel, g.norm, g.momentum);
  return text;
}

std::string describe(const SampleConfig& config) {
  return fmt::format("{}, {} steps, {}, {}{}", config.method, config.steps,
                     method_named(config.method).describe_noise(config), describe_spacing(config),
                     describe_guidance(config.guidance));
}

std::string describe_spacing(const SampleConfig& config) {
  std::string clip = config::to_string(config.clip);
  if (config.clip != Clip::kNone) clip += fmt::format(" to {}", config.clip_range);
  return fmt::format("{}, offset {}, last alpha {}, clip {}", config::to_string(config.spacing),
                     config.steps_offset, config::to_string(config.last_alpha), clip);
}

}  // namespace ddpm::sample
