#pragma once

#include "ddpm/eval/images.h"
#include "ddpm/eval/paired.h"
#include "ddpm/pipeline/sample_plan.h"
#include "eval_setup.h"
#include "processes.h"

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace ddpm::cli {

/// Compares samples with the images that their conditions were made from, while they are collected;
/// and the conditions themselves, enlarged, which any network should surpass.
class PairedMeter {
 public:
  PairedMeter(ConditionImages from, const pipeline::SamplePlan& plan);

  /// The same images. The meter must outlive the source.
  eval::ImageSource around(eval::ImageSource source);
  /// Sums up what all ranks have seen. Collective.
  void finish(const Processes& processes);

  /// "PSNR", "SSIM": one line each, with the condition's own.
  std::string to_text() const;
  nlohmann::ordered_json to_json() const;

 private:
  void add(const std::vector<int64_t>& images, const torch::Tensor& samples);

  ConditionImages from_;
  std::function<torch::Tensor(const std::vector<int64_t>& images)> pictures_;
  eval::PairedSum sample_sum_, condition_sum_;
  eval::PairedScores samples_, conditions_;
};

}  // namespace ddpm::cli
