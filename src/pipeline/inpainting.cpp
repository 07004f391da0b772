#include "ddpm/diffusion/image_range.h"
#include "ddpm/io/json_text.h"
#include "ddpm/pipeline/inputs.h"
#include "ddpm/pipeline/tasks.h"
#include "ddpm/sample/restore.h"

#include <memory>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ddpm::pipeline {

void inpaint_(SamplePlan& plan, const SampleOptions& options, const InpaintInputs& inputs,
              int64_t rounds) {
  if (rounds > 1) expect_no_memory(plan, fmt::format("--rounds {}", rounds), "use --rounds 1");
  plan.condition.around =
      [inputs, rounds, device = plan.generate.device, dtype = plan.generate.dtype,
       schedule = diffusion::Schedule(plan.network->description.diffusion.schedule)](
          std::unique_ptr<sample::Sampler> inner, const torch::Tensor& rows) {
        const torch::Tensor known =
            inputs.images.index_select(0, rows.cpu().remainder(inputs.images.size(0)));
        return std::make_unique<sample::InpaintSampler>(
            std::move(inner), schedule, diffusion::to_model_range(known, dtype).to(device),
            inputs.mask.to(device), rounds);
      };
  const uint32_t images_sum = checksum_of(inputs.images), mask_sum = checksum_of(inputs.mask);
  const nlohmann::ordered_json settings{
      {"rounds", rounds}, {"inputs_crc32c", images_sum}, {"mask_crc32c", mask_sum}};
  set_task_(plan, options, fmt::format("inpaint-{}-{:08x}", rounds, images_sum ^ mask_sum),
            io::json_text(settings), inputs.names);
}

}  // namespace ddpm::pipeline
