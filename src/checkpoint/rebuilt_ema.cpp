#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/checkpoint/averages.h"
#include "ddpm/checkpoint/content.h"
#include "ddpm/io/checksum.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <torch/utils.h>

namespace ddpm::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEmaLength = "ema-length-";

// Adds the averages of these lengths that the folder's MANIFEST lists.
void add_averages(const fs::path& folder, const std::vector<double>& lengths,
                  std::vector<StoredAverage>& averages) {
  const fs::path path = folder / kManifestName;
  const Manifest manifest = parse_manifest(path, io::read_text(path));
  for (const double length : lengths) {
    for (const CheckpointFile& file : manifest.files) {
      if (file.name != power_name(length) + ".safetensors") continue;
      averages.push_back({length, manifest.step, folder / file.name, file.sum});
    }
  }
}

nn::PowerProfile profile_of(double length, int64_t step) {
  return {nn::power_exponent(length), static_cast<double>(step)};
}

void check_fit(const RebuiltEma& rebuilt) {
  const double percent = 100.0 * rebuilt.fit.error;
  const std::string what = fmt::format(
      "--ema-length {}: the stored averages give its profile with a relative error of {:.2g} %",
      rebuilt.length, percent);
  if (rebuilt.fit.error <= kGoodProfile) return spdlog::info("{}", what);
  const auto within = [&](double error) {
    return to_text(
        nn::lengths_within(span_of(rebuilt.averages), static_cast<double>(rebuilt.step), error));
  };
  if (rebuilt.fit.error > kUsableProfile)
    throw UsageError(fmt::format("{}, above {:.0f} %; possible lengths are {}", what,
                                 100.0 * kUsableProfile, within(kUsableProfile)));
  spdlog::warn("{}, so the average differs from the one asked for; below {:.0f} % are {}", what,
               100.0 * kGoodProfile, within(kGoodProfile));
}

void expect_intact(const StoredAverage& average) {
  if (io::file_sum(average.file) == average.sum) return;
  throw IoError(average.file,
                fmt::format("is damaged: its checksum is not that of {}; delete the folder to "
                            "rebuild averages without it",
                            kManifestName));
}

// sum += coefficient * average, for every parameter.
void add_(std::vector<io::NamedTensor>& sum, const StoredAverage& average, double coefficient) {
  expect_intact(average);
  const io::SafetensorsFile file = io::SafetensorsFile::open(average.file);
  for (io::NamedTensor& entry : sum) {
    const torch::Tensor part = file.get(entry.name).to(torch::kDouble);
    if (part.sizes() != entry.tensor.sizes())
      throw IoError(average.file,
                    fmt::format("is of another network: {} has another shape", entry.name));
    entry.tensor.add_(part, coefficient);
  }
}

}  // namespace

std::vector<StoredAverage> stored_averages(const fs::path& checkpoint) {
  std::vector<StoredAverage> averages;
  const TrainingState state = read_training_state(checkpoint);
  if (state.power_lengths.empty()) return averages;
  add_averages(checkpoint, state.power_lengths, averages);
  const fs::path beside = snapshots_beside(checkpoint);
  if (beside.empty()) return averages;
  const CheckpointStore snapshots(beside);
  for (const int64_t step : snapshots.steps()) {
    if (step >= state.step) continue;
    try {
      add_averages(snapshots.folder_of(step), state.power_lengths, averages);
    } catch (const IoError& error) {
      spdlog::warn("{}; averages are rebuilt without this snapshot", error.what());
    }
  }
  return averages;
}

nn::ProfileSpan span_of(const std::vector<StoredAverage>& averages) {
  std::vector<nn::PowerProfile> profiles;
  for (const StoredAverage& a : averages) profiles.push_back(profile_of(a.length, a.step));
  return nn::ProfileSpan(std::move(profiles));
}

RebuiltEma rebuilt_ema(const fs::path& checkpoint, double length) {
  RebuiltEma rebuilt{length, read_training_state(checkpoint).step, stored_averages(checkpoint), {}};
  if (rebuilt.averages.empty()) {
    throw UsageError(fmt::format(
        "--ema-length {}: {} has no power-function averages; train with ema.power_lengths = "
        "[0.05, 0.1] in the config",
        length, checkpoint.string()));
  }
  rebuilt.fit = span_of(rebuilt.averages).fit(profile_of(length, rebuilt.step));
  check_fit(rebuilt);
  return rebuilt;
}

std::vector<io::NamedTensor> rebuilt_weights(const RebuiltEma& rebuilt) {
  constexpr double kNegligible = 1e-9;  // of the largest: far below the rounding of float32
  const io::SafetensorsFile first = io::SafetensorsFile::open(rebuilt.averages.front().file);
  std::vector<io::NamedTensor> sum;
  for (const std::string& name : first.names())
    sum.push_back({name, torch::zeros(first.info(name).shape, torch::kDouble)});
  double largest = 0.0;
  for (const double c : rebuilt.fit.coefficients) largest = std::max(largest, std::abs(c));
  for (size_t i = 0; i < rebuilt.averages.size(); ++i) {
    const double coefficient = rebuilt.fit.coefficients[i];
    if (std::abs(coefficient) > kNegligible * largest) add_(sum, rebuilt.averages[i], coefficient);
  }
  for (io::NamedTensor& entry : sum) entry.tensor = entry.tensor.to(first.info(entry.name).dtype);
  return sum;
}

uint32_t checksum(const RebuiltEma& rebuilt) {
  std::string text = fmt::format("{}\n", rebuilt.length);
  for (const StoredAverage& a : rebuilt.averages)
    text += fmt::format("{} {} {} {:08x}\n", a.step, a.length, a.sum.size, a.sum.crc32c);
  return io::crc32c(text);
}

std::string ema_length_name(double length) { return fmt::format("{}{}", kEmaLength, length); }

std::optional<double> ema_length(const std::string& weights) {
  if (!weights.starts_with(kEmaLength)) return std::nullopt;
  const auto length = parsed_number(std::string_view(weights).substr(kEmaLength.size()));
  if (length && *length >= nn::kMinPowerLength && *length <= nn::kMaxPowerLength) return length;
  throw UsageError(fmt::format("{}: the length must be a number from {} to {}", weights,
                               nn::kMinPowerLength, nn::kMaxPowerLength));
}

std::string to_text(const std::vector<nn::LengthRange>& ranges) {
  std::vector<std::string> texts;
  for (const nn::LengthRange& r : ranges) {
    // Inwards, so that the printed ends are possible.
    const double low = std::ceil(1000.0 * r.low) / 1000.0;
    const double high = std::floor(1000.0 * r.high) / 1000.0;
    texts.push_back(low < high ? fmt::format("{} to {}", low, high)
                               : fmt::format("{:.3g}", 0.5 * (r.low + r.high)));
  }
  return fmt::format("{}", fmt::join(texts, " and "));
}

}  // namespace ddpm::checkpoint
