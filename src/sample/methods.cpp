#include "ddpm/sample/methods.h"

#include "ancestral.h"
#include "bespoke.h"
#include "ddim.h"
#include "dpm_solver.h"
#include "heun.h"
#include "multistep.h"
#include "noise_multistep.h"
#include "unipc.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

int64_t one_call_each(int64_t calls, const diffusion::Schedule&) { return calls; }

constexpr std::array kMethods{
    MethodEntry{kDdpm, "Algorithm 2 (Ho 2020)", &make_ancestral, &check_ancestral, 0,
                &one_call_each, &describe_ancestral_noise, false},
    MethodEntry{kDdim, "DDIM (Song 2021)", &make_ddim, &check_ddim, 0, &one_call_each,
                &describe_ddim_noise, false},
    MethodEntry{"euler", "Euler in sigma, DDIM without noise (Karras 2022)", &make_euler,
                &check_solver, 0, &one_call_each, &describe_no_noise, false},
    MethodEntry{"heun", "Heun in sigma, two calls per step (Karras 2022)", &make_heun, &check_heun,
                0, &heun_steps, &describe_no_noise, false},
    MethodEntry{"dpmpp_2m", "DPM-Solver++ of order 2 (Lu 2022)", &make_dpmpp_2m, &check_solver, 0,
                &one_call_each, &describe_no_noise, true},
    MethodEntry{"dpmpp_3m", "DPM-Solver++ of order 3", &make_dpmpp_3m, &check_solver, 0,
                &one_call_each, &describe_no_noise, true},
    MethodEntry{"dpmpp_2m_sde", "the same of order 2 with noise", &make_dpmpp_2m_sde, &check_solver,
                0, &one_call_each, &describe_sde_noise, true},
    MethodEntry{"dpmpp_3m_sde", "of order 3 with noise", &make_dpmpp_3m_sde, &check_solver, 0,
                &one_call_each, &describe_sde_noise, true},
    MethodEntry{"unipc", "UniPC (Zhao 2023)", &make_unipc, &check_solver, 3, &one_call_each,
                &describe_no_noise, true},
    MethodEntry{"ipndm", "iPNDM (Zhang 2023)", &make_ipndm, &check_solver, 4, &one_call_each,
                &describe_no_noise, true},
    MethodEntry{"deis", "DEIS (Zhang 2023)", &make_deis, &check_solver, 3, &one_call_each,
                &describe_no_noise, true},
    MethodEntry{"pndm", "PNDM without Runge-Kutta steps, or PLMS (Liu 2022)", &make_pndm,
                &check_solver, 0, &pndm_steps, &describe_no_noise, true},
    MethodEntry{"bespoke", "a multistep method fitted to the network, once (Shaul 2024)",
                &make_bespoke, &check_bespoke, 0, &one_call_each, &describe_no_noise, true},
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

int64_t order_of(const SampleConfig& config) {
  return config.order == 0 ? method_named(config.method).max_order : config.order;
}

int64_t calls_of(const SampleConfig& config, const diffusion::Schedule& schedule) {
  return config.steps == 0 ? schedule.timesteps() : config.steps;
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
  const std::string order = config.order == 0 ? "" : fmt::format(" of order {}", config.order);
  return fmt::format("{}{}, {} steps, {}, {}{}", config.method, order, config.steps,
                     method_named(config.method).describe_noise(config), describe_spacing(config),
                     describe_guidance(config.guidance));
}

std::string describe_spacing(const SampleConfig& config) {
  std::string clip = config::to_string(config.clip);
  if (config.clip != Clip::kNone) clip += fmt::format(" to {}", config.clip_range);
  if (config.dynamic_threshold > 0)
    clip += fmt::format(" from the {} quantile", config.dynamic_threshold);
  if (config.dynamic_threshold_max > 0)
    clip += fmt::format(", {} at most", config.dynamic_threshold_max);
  const std::string spacing = config.steps_at.empty()
                                  ? config::to_string(config.spacing)
                                  : fmt::format("at {}", fmt::join(config.steps_at, ","));
  return fmt::format("{}, offset {}, last alpha {}, clip {}", spacing, config.steps_offset,
                     config::to_string(config.last_alpha), clip);
}

}  // namespace ddpm::sample
