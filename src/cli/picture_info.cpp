#include "picture_info.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/checkpoint/manifest.h"
#include "ddpm/cli/app.h"
#include "ddpm/diffusion/diffusion_config.h"
#include "ddpm/exchange/model.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"
#include "ddpm/io/json_text.h"
#include "ddpm/pipeline/picture_note.h"
#include "ddpm/sample/sample_config.h"
#include "print_row.h"

#include <algorithm>

#include <fmt/format.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Where the weights of a picture are today.
struct Weights {
  std::string state;  // "unchanged", "changed", "moved" or "missing"
  std::string text;
  fs::path found;  // if moved
};

std::string text_value(const Json& json, const char* key) {
  const Json value = json.value(key, Json());
  return value.is_string() ? as_utf8(value.get<std::string>()) : io::json_text(value);
}

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

Weights find_weights(const Json& note) {
  const fs::path path = text_value(note, "checkpoint");
  const Json& settings = note.at("settings");
  const Json sum = settings.value("weights_crc32c", Json());
  if (!sum.is_number_unsigned()) return {"missing", "its checksum is not recorded", {}};
  const auto wanted = sum.get<uint32_t>();
  std::error_code ignored;
  const bool exists = fs::exists(path, ignored);
  if (exists && sum_of_weights(path, text_value(settings, "weights")) == wanted)
    return {"unchanged", "still the same", {}};
  const fs::path elsewhere = find_below_runs(text_value(note, "weights_file"), wanted);
  if (!elsewhere.empty())
    return {"moved", fmt::format("now at {} (the same checksum)", elsewhere.string()), elsewhere};
  if (exists) return {"changed", "holds other weights now: the command gives other pixels", {}};
  return {"missing", "is not there, seen from this folder; give its new place with --ckpt", {}};
}

// The command line, with the present place of the checkpoint.
std::vector<std::string> words_of(const Json& note, const Weights& weights) {
  auto words = note.at("arguments").get<std::vector<std::string>>();
  const auto flag = std::find(words.begin(), words.end(), "--ckpt");
  if (!weights.found.empty() && flag != words.end() && flag + 1 != words.end())
    *(flag + 1) = weights.found.string();
  return words;
}

std::string subject_of(const Json& note) {
  const Json& settings = note.at("settings");
  const std::string seed = text_value(settings, "seed");
  if (text_value(note, "picture") != "image")
    return fmt::format("{} of {} images of seed {}", text_value(note, "picture"),
                       text_value(note, "images"), seed);
  std::string text = fmt::format("image {} of seed {}", text_value(note, "image"), seed);
  if (note.contains("class")) text += ", class " + text_value(note, "class");
  return text;
}

std::string shown_setting(const std::string& key, const Json& value) {
  if (key.ends_with("_crc32c") && value.is_number_unsigned())
    return fmt::format("{:08x}", value.get<uint32_t>());
  return value.is_string() ? as_utf8(value.get<std::string>()) : io::json_text(value);
}

// One line each, without control characters: the file may be anybody's.
void print_setting(const std::string& key, const std::string& value) {
  const auto plain = [](std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](unsigned char c) { return c < 32 || c == 127; }, '?');
    return text;
  };
  print_row(plain(as_utf8(key)), plain(value));
}

// Settings that have their defaults say little, except for these.
bool is_shown(const std::string& key, const Json& value, const Json& defaults) {
  if (key == "seed" || (value.is_array() && value.empty())) return false;
  return key == "method" || key == "steps" || key == "guidance" || key == "prediction" ||
         key == "schedule" || value != defaults.value(key, Json());
}

void print_note(const fs::path& file, const io::ImageInfo& info, const Json& note,
                const Weights& weights, const std::string& command) {
  print_row("picture", fmt::format("{} ({}x{})", file.string(), info.height, info.width));
  print_row("made by", text_value(note, "program"));
  print_setting("shows", subject_of(note));
  print_row("checkpoint", fmt::format("{}: {}", text_value(note, "checkpoint"), weights.text));
  Json defaults = sample::image_settings({});
  defaults.update(config::to_json(diffusion::DiffusionConfig{}));
  for (const auto& [key, value] : note.at("settings").items())
    if (is_shown(key, value, defaults)) print_setting(key, shown_setting(key, value));
  fmt::print("make it again with:\n{}\n", command);
}

}  // namespace

int print_picture(const fs::path& file, bool json) {
  const std::vector<uint8_t> bytes = io::read_file(file);
  const io::ImageInfo info = io::image_info(bytes, file.string());
  const auto note = pipeline::read_note(io::png_texts(bytes, file.string()), file.string());
  if (!note)
    throw IoError(file,
                  "does not say how it was made: not a picture of ddpm sample, or sampled with "
                  "--no-provenance, or saved anew by another program");
  const Weights weights = find_weights(*note);
  const std::string command = "ddpm " + pipeline::shell_line(words_of(*note, weights));
  if (!json) {
    print_note(file, info, *note, weights, command);
    return kOk;
  }
  Json result{{"file", file.string()},
              {"command", command},
              {"checkpoint_state", weights.state},
              {"found", weights.found.empty() ? Json() : Json(weights.found.string())}};
  result.update(*note);
  fmt::print("{}\n", io::json_text(result));
  return kOk;
}

}  // namespace ddpm::cli
