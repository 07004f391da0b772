#include "paired_meter.h"

#include "ddpm/data/transform.h"
#include "ddpm/diffusion/condition.h"
#include "ddpm/pipeline/inputs.h"

#include <cmath>

#include <fmt/format.h>

namespace ddpm::cli {
namespace {

std::string with_error(const eval::Measured& m, int width) {
  const std::string error = std::isnan(m.error) ? "unknown" : fmt::format("{:.2g}", m.error);
  return fmt::format("{:>{}.4g} +- {}", m.value, width, error);
}

std::string line(const char* title, const eval::Measured& samples,
                 const eval::Measured& condition) {
  return fmt::format("{:<14} {} (the condition alone: {})\n", title, with_error(samples, 10),
                     with_error(condition, 0));
}

void put_(nlohmann::ordered_json& json, const std::string& key, const eval::Measured& m) {
  json[key] = m.value;
  json[key + "_error"] = m.error;
}

}  // namespace

PairedMeter::PairedMeter(ConditionImages from, const pipeline::SamplePlan& plan)
    : from_(std::move(from)),
      pictures_(plan.pictures.of),
      sample_sum_(plan.config.num, std::ssize(from_.chosen)),
      condition_sum_(plan.config.num, std::ssize(from_.chosen)) {}

eval::ImageSource PairedMeter::around(eval::ImageSource source) {
  return [this, source = std::move(source)](const std::vector<int64_t>& images,
                                            const eval::ImageSink& sink) {
    source(images, [&](int64_t first, const torch::Tensor& batch) {
      const auto begin = images.begin() + first;
      add({begin, begin + batch.size(0)}, batch);
      sink(first, batch);
    });
  };
}

void PairedMeter::add(const std::vector<int64_t>& images, const torch::Tensor& samples) {
  const torch::Tensor originals =
      data::rounded_levels(pipeline::originals_in_turn(*from_.images, from_.chosen, images));
  sample_sum_.add(images, samples, originals);
  condition_sum_.add(images,
                     diffusion::condition_image(pictures_(images), samples.size(1), samples.size(2),
                                                samples.size(3)),
                     originals);
}

void PairedMeter::finish(const Processes& processes) {
  samples_ = sample_sum_.result(processes.world, processes.device);
  conditions_ = condition_sum_.result(processes.world, processes.device);
}

std::string PairedMeter::to_text() const {
  std::string text = line("PSNR in dB", samples_.psnr, conditions_.psnr);
  if (samples_.ssim) text += line("SSIM", *samples_.ssim, *conditions_.ssim);
  return text;
}

nlohmann::ordered_json PairedMeter::to_json() const {
  nlohmann::ordered_json json;
  put_(json, "psnr", samples_.psnr);
  put_(json, "condition_psnr", conditions_.psnr);
  if (!samples_.ssim) return json;
  put_(json, "ssim", *samples_.ssim);
  put_(json, "condition_ssim", *conditions_.ssim);
  return json;
}

}  // namespace ddpm::cli
