#include "ddpm/train/metrics.h"

#include "json_lines.h"

#include <cmath>
#include <limits>

#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

namespace ddpm::train {
namespace {

nlohmann::ordered_json number(double x) {
  return std::isfinite(x) ? nlohmann::ordered_json(x) : nullptr;
}

// Pairs of a log SNR and a loss.
nlohmann::ordered_json to_json(const std::vector<LossBin>& bins) {
  auto json = nlohmann::ordered_json::array();
  for (const LossBin& bin : bins) json.push_back({number(bin.log_snr), number(bin.loss)});
  return json;
}

nlohmann::ordered_json to_json(const MetricsLine& line) {
  nlohmann::ordered_json json{{"step", line.step},
                              {"images", line.images},
                              {"loss", number(line.reading.loss)},
                              {"grad_norm", number(line.reading.grad_norm)},
                              {"lr", line.lr},
                              {"images_per_s", line.images_per_s},
                              {"data_wait", line.data_wait},
                              {"memory_mib", line.memory_mib},
                              {"seconds", line.seconds},
                              {"eta_s", line.eta_s},
                              {"skipped", line.reading.skipped}};
  for (size_t q = 0; q < 4; ++q) {
    json["loss_q" + std::to_string(q + 1)] = number(line.reading.loss_by_quartile[q]);
  }
  if (line.mfu > 0) json["mfu"] = line.mfu;
  if (line.holdout_loss) json["holdout_loss"] = number(*line.holdout_loss);
  if (line.holdout_loss_ema) json["holdout_loss_ema"] = number(*line.holdout_loss_ema);
  if (!line.bins.empty()) json["loss_by_log_snr"] = to_json(line.bins);
  if (!line.holdout_bins.empty()) json["holdout_loss_by_log_snr"] = to_json(line.holdout_bins);
  if (line.noise) {
    json["noise_scale"] = number(line.noise->scale());
    json["gradient_sq"] = number(line.noise->gradient);
    json["gradient_var"] = number(line.noise->noise);
  }
  return json;
}

void write_bins(io::EventWriter& events, const std::string& tag, int64_t step,
                const std::vector<LossBin>& bins) {
  for (const LossBin& bin : bins) {
    if (std::isfinite(bin.loss))
      events.scalar(fmt::format("{}/loss_log_snr_{:+.1f}", tag, bin.log_snr), step, bin.loss);
  }
}

void write_scalars(io::EventWriter& events, const MetricsLine& line) {
  const MetricsReading& r = line.reading;
  events.scalar("train/loss", line.step, r.loss);
  for (size_t q = 0; q < 4; ++q) {
    const std::string tag = "train/loss_t_quartile_" + std::to_string(q + 1);
    if (std::isfinite(r.loss_by_quartile[q])) events.scalar(tag, line.step, r.loss_by_quartile[q]);
  }
  events.scalar("train/grad_norm", line.step, r.grad_norm);
  if (line.holdout_loss) events.scalar("holdout/loss", line.step, *line.holdout_loss);
  if (line.holdout_loss_ema) events.scalar("holdout/loss_ema", line.step, *line.holdout_loss_ema);
  write_bins(events, "train", line.step, line.bins);
  write_bins(events, "holdout", line.step, line.holdout_bins);
  if (line.noise && std::isfinite(line.noise->scale()))
    events.scalar("train/noise_scale", line.step, line.noise->scale());
  events.scalar("train/lr", line.step, line.lr);
  events.scalar("train/skipped_steps", line.step, static_cast<double>(r.skipped));
  events.scalar("speed/images_per_s", line.step, line.images_per_s);
  events.scalar("speed/data_wait", line.step, line.data_wait);
  events.scalar("speed/peak_memory_mib", line.step, line.memory_mib);
  if (line.mfu > 0) events.scalar("speed/mfu", line.step, line.mfu);
  events.flush();
}

}  // namespace

MetricsAccumulator::MetricsAccumulator(const torch::Device& device, int64_t timesteps)
    : timesteps_(timesteps) {
  const auto options = torch::dtype(torch::kDouble).device(device);
  loss_ = torch::zeros({2, 4}, options);
  norm_ = torch::zeros({2}, options);
  bad_ = torch::zeros({2}, options);
}

void MetricsAccumulator::add_losses(const StepLosses& losses) {
  const WeightedLosses finite = finite_losses(losses);
  const torch::Tensor quartile = torch::floor_divide((losses.t - 1) * 4, timesteps_);
  loss_[0].index_add_(0, quartile, finite.losses);
  loss_[1].index_add_(0, quartile, finite.weights);
}

void MetricsAccumulator::add_update(const UpdateInfo& update) {
  const torch::Tensor norm = update.grad_norm.to(torch::kDouble);
  const torch::Tensor skipped = update.skipped.to(torch::kDouble);
  norm_[0] += torch::where(skipped > 0, torch::zeros_like(norm), norm);
  norm_[1] += 1.0 - skipped;
  bad_[0] += skipped;
  bad_[1].add_(1.0).mul_(skipped);
}

MetricsReading MetricsAccumulator::peek() const {
  const torch::Tensor host = torch::cat({loss_.flatten(), norm_, bad_}).cpu();
  const double* v = host.data_ptr<double>();
  MetricsReading reading;
  reading.loss = (v[0] + v[1] + v[2] + v[3]) / (v[4] + v[5] + v[6] + v[7]);
  for (size_t q = 0; q < 4; ++q) reading.loss_by_quartile[q] = v[q] / v[4 + q];
  reading.grad_norm = v[8] / v[9];
  reading.skipped = static_cast<int64_t>(v[10]);
  reading.skipped_in_a_row = static_cast<int64_t>(v[11]);
  return reading;
}

MetricsReading MetricsAccumulator::read(const dist::World& world) {
  world.all_reduce_sum_({loss_});
  const MetricsReading reading = peek();
  loss_.zero_();
  norm_.zero_();
  bad_[0].zero_();
  return reading;
}

void MetricsAccumulator::set_skipped_in_a_row(int64_t count) {
  bad_[1].fill_(static_cast<double>(count));
}

MetricsLog::MetricsLog(const std::filesystem::path& run, int64_t step)
    : jsonl_(run / "metrics.jsonl") {
  const auto lines = lines_up_to(jsonl_, step);
  write_lines(jsonl_, lines);
  if (!lines.empty()) last_step_ = lines.back().at("step").get<int64_t>();
  events_ = std::make_unique<io::EventWriter>(run / "tb");
  if (step > 0) events_->restart(step + 1);
}

void MetricsLog::write(const MetricsLine& line) {
  or_warn([&] { append_line(jsonl_, to_json(line)); });
  last_step_ = line.step;
  if (events_ && !or_warn([&] { write_scalars(*events_, line); })) events_.reset();
}

void MetricsLog::image(const std::string& tag, int64_t step, const torch::Tensor& chw_u8) {
  const auto write = [&] {
    events_->image(tag, step, chw_u8);
    events_->flush();
  };
  if (events_ && !or_warn(write)) events_.reset();
}

double peak_memory_mib(const torch::Device& device) {
  constexpr double kMib = 1024.0 * 1024.0;
  if (device.is_cuda()) {
    const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
    const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    return static_cast<double>(stats.allocated_bytes[all].peak) / kMib;
  }
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0.0;
  return static_cast<double>(usage.ru_maxrss) * 1024.0 / kMib;
}

}  // namespace ddpm::train
