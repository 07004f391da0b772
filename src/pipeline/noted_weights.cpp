#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/checkpoint/manifest.h"
#include "ddpm/exchange/model.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"
#include "ddpm/pipeline/picture_note.h"

#include <algorithm>

#include <fmt/format.h>

namespace ddpm::pipeline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Whether a checkpoint of this program lists the file with that checksum.
bool lists(const fs::path& checkpoint, const std::string& file, uint32_t sum) {
  try {
    const fs::path path = checkpoint / checkpoint::kManifestName;
    if (!fs::exists(path)) return false;
    const auto files = checkpoint::parse_manifest(path, io::read_text(path)).files;
    return std::any_of(files.begin(), files.end(),
                       [&](const auto& f) { return f.name == file && f.sum.crc32c == sum; });
  } catch (const Error&) {
    return false;
  }
}

// A checkpoint below runs/ with these weights; "" if there is none.
fs::path find_below_runs(const std::string& file, uint32_t sum) {
  std::error_code ignored;
  std::vector<fs::path> found;
  for (const auto& run : fs::directory_iterator("runs", ignored)) {
    if (lists(run.path() / "best", file, sum)) found.push_back(run.path() / "best");
    for (const auto& saved : fs::directory_iterator(run.path() / "checkpoints", ignored))
      if (lists(saved.path(), file, sum)) found.push_back(saved.path());
  }
  return found.empty() ? fs::path() : *std::min_element(found.begin(), found.end());
}

// The checksum of the network's weights at a path; none if it cannot be read.
std::optional<uint32_t> sum_of_weights(const fs::path& path, const std::string& weights) {
  try {
    const std::string name = weights == "only" ? "" : weights;
    return exchange::weights_checksum(
        exchange::open(path, name, {}, exchange::Parts::kDescription));
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

std::string note_text(const Json& note, const char* key) {
  const Json value = note.value(key, Json());
  return value.is_string() ? as_utf8(value.get<std::string>()) : io::json_text(value);
}

NotedWeights find_weights(const Json& note) {
  const fs::path path = note_text(note, "checkpoint");
  const Json& settings = note.at("settings");
  const Json sum = settings.value("weights_crc32c", Json());
  if (!sum.is_number_unsigned()) return {"missing", "its checksum is not recorded", {}};
  const auto wanted = sum.get<uint32_t>();
  std::error_code ignored;
  const bool exists = fs::exists(path, ignored);
  if (exists && sum_of_weights(path, note_text(settings, "weights")) == wanted)
    return {"unchanged", "still the same", {}};
  const fs::path elsewhere = find_below_runs(note_text(note, "weights_file"), wanted);
  if (!elsewhere.empty())
    return {"moved", fmt::format("now at {} (the same checksum)", elsewhere.string()), elsewhere};
  if (exists) return {"changed", "holds other weights now: the command gives other pixels", {}};
  return {"missing", "is not there, seen from this folder; give its new place with --ckpt", {}};
}

std::vector<std::string> words_of(const Json& note, const NotedWeights& weights) {
  auto words = note.at("arguments").get<std::vector<std::string>>();
  const auto flag = std::find(words.begin(), words.end(), "--ckpt");
  if (!weights.found.empty() && flag != words.end() && flag + 1 != words.end())
    *(flag + 1) = weights.found.string();
  return words;
}

}  // namespace ddpm::pipeline
