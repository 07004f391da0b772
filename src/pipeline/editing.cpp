#include "ddpm/base/error.h"
#include "ddpm/diffusion/diffusion.h"
#include "ddpm/diffusion/image_range.h"
#include "ddpm/io/json_text.h"
#include "ddpm/pipeline/inputs.h"
#include "ddpm/pipeline/tasks.h"
#include "ddpm/sample/generate.h"
#include "inputs_in_turn.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ddpm::pipeline {
namespace {

// The plan's timesteps up to `top`; throws UsageError if there is none.
std::vector<int64_t> times_up_to(const SamplePlan& plan, const diffusion::Schedule& schedule,
                                 double strength) {
  const double top = strength * static_cast<double>(schedule.timesteps());
  std::vector<int64_t> times;
  for (const sample::PlanStep& step : sample::timestep_plan(schedule, plan.config))
    if (static_cast<double>(step.t) <= top) times.push_back(step.t);
  if (times.empty())
    throw UsageError(
        fmt::format("--strength {}: none of the {} steps begins that low; raise it, or "
                    "take more --steps",
                    strength, plan.config.steps));
  return times;
}

}  // namespace

torch::Tensor inputs_in_turn(const SamplePlan& plan, const torch::Tensor& inputs) {
  const torch::Tensor rows = torch::arange(plan.config.num).remainder(inputs.size(0));
  return diffusion::to_model_range(inputs.index_select(0, rows), plan.generate.dtype)
      .to(plan.generate.device);
}

void edit_(SamplePlan& plan, const SampleOptions& options, const torch::Tensor& images,
           const std::string& names, double strength) {
  const diffusion::Diffusion diffusion(plan.network->description.diffusion);
  const std::vector<int64_t> times = times_up_to(plan, diffusion.schedule(), strength);
  plan.config.steps_at = times;
  plan.config.steps = std::ssize(times);
  const torch::Tensor noise = sample::initial_noise(plan.generate);
  plan.generate.initial_noise =
      diffusion.noised(inputs_in_turn(plan, images),
                       torch::full({plan.config.num}, times.front(),
                                   torch::dtype(torch::kLong).device(plan.generate.device)),
                       noise);
  const uint32_t sum = checksum_of(images);
  const nlohmann::ordered_json settings{{"strength", strength}, {"inputs_crc32c", sum}};
  set_task_(plan, options, fmt::format("edit-{}-{:08x}", strength, sum), io::json_text(settings),
            names);
}

}  // namespace ddpm::pipeline
