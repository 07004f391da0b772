#include "ddpm/checkpoint/state.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"

#include <type_traits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ddpm::checkpoint {
namespace {

constexpr int64_t kFormatVersion = 1;

// nlohmann::json would truncate a fraction, and return an arbitrary value if a number is too large.
template <typename Integer>
Integer as_integer(const nlohmann::ordered_json& value, const char* key) {
  if (value.is_number_unsigned()
          ? value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX) || std::is_unsigned_v<Integer>
          : value.is_number_integer() && value.get<int64_t>() >= 0)
    return value.get<Integer>();
  throw nlohmann::json::other_error::create(
      501, fmt::format("{} is {}; must be an integer from 0 on", key, io::json_text(value)),
      &value);
}

void read(const nlohmann::ordered_json& json, const char* key, int64_t& value) {
  value = as_integer<int64_t>(json.at(key), key);
}
void read(const nlohmann::ordered_json& json, const char* key, uint64_t& value) {
  value = as_integer<uint64_t>(json.at(key), key);
}
template <typename T>
void read(const nlohmann::ordered_json& json, const char* key, T& value) {
  json.at(key).get_to(value);
}
// Reads a key that older files do not have.
template <typename T>
void read_newer(const nlohmann::ordered_json& json, const char* key, T& value) {
  if (json.contains(key)) read(json, key, value);
}

}  // namespace

std::string to_json_text(const TrainingState& s) {
  nlohmann::ordered_json json{{"format_version", kFormatVersion},
                              {"step", s.step},
                              {"samples_seen", s.samples_seen},
                              {"epoch", s.dataset_size > 0 ? s.samples_seen / s.dataset_size : 0},
                              {"seed", s.seed},
                              {"batch_size", s.batch_size},
                              {"dataset_size", s.dataset_size},
                              {"dataset", s.dataset},
                              {"dataset_fingerprint", s.fingerprint},
                              {"world_size", s.world_size},
                              {"threads", s.threads},
                              {"precision", s.precision},
                              {"skipped_steps", s.skipped_steps},
                              {"skipped_in_a_row", s.skipped_in_a_row},
                              {"seconds", s.seconds},
                              {"ema_decays", s.ema_decays},
                              {"torch_version", s.torch_version},
                              {"saved_at", s.saved_at}};
  if (!s.power_lengths.empty()) json["power_lengths"] = s.power_lengths;
  return io::json_text(json, 2) + "\n";
}

TrainingState parse_training_state(const std::filesystem::path& path, const std::string& text) {
  try {
    const auto json = io::parsed_json(text);
    if (const auto version = as_integer<int64_t>(json.at("format_version"), "format_version");
        version > kFormatVersion) {
      throw IoError(
          path, fmt::format("has format version {}; this program reads up to {}: use a newer one",
                            version, kFormatVersion));
    }
    TrainingState s;
    read(json, "step", s.step);
    read(json, "samples_seen", s.samples_seen);
    read(json, "seed", s.seed);
    read(json, "batch_size", s.batch_size);
    read(json, "dataset_size", s.dataset_size);
    read(json, "dataset", s.dataset);
    read_newer(json, "dataset_fingerprint", s.fingerprint);
    read_newer(json, "world_size", s.world_size);
    read(json, "threads", s.threads);
    read(json, "precision", s.precision);
    read(json, "skipped_steps", s.skipped_steps);
    read_newer(json, "skipped_in_a_row", s.skipped_in_a_row);
    read(json, "seconds", s.seconds);
    read(json, "ema_decays", s.ema_decays);
    read_newer(json, "power_lengths", s.power_lengths);
    read(json, "torch_version", s.torch_version);
    read(json, "saved_at", s.saved_at);
    return s;
  } catch (const nlohmann::json::exception& error) {
    throw IoError(path, fmt::format("is not a training state: {}", error.what()));
  }
}

TrainingState read_training_state(const std::filesystem::path& checkpoint) {
  const std::filesystem::path path = checkpoint / "state.json";
  return parse_training_state(path, io::read_text(path));
}

}  // namespace ddpm::checkpoint
