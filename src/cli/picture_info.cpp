#include "picture_info.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/cli/app.h"
#include "ddpm/diffusion/diffusion_config.h"
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

std::string subject_of(const Json& note) {
  const Json& settings = note.at("settings");
  const std::string seed = pipeline::note_text(settings, "seed");
  if (pipeline::note_text(note, "picture") != "image")
    return fmt::format("{} of {} images of seed {}", pipeline::note_text(note, "picture"),
                       pipeline::note_text(note, "images"), seed);
  std::string text = fmt::format("image {} of seed {}", pipeline::note_text(note, "image"), seed);
  if (note.contains("class")) text += ", class " + pipeline::note_text(note, "class");
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
                const pipeline::NotedWeights& weights, const std::string& command) {
  print_row("picture", fmt::format("{} ({}x{})", file.string(), info.height, info.width));
  print_row("made by", pipeline::note_text(note, "program"));
  print_setting("shows", subject_of(note));
  print_row("checkpoint",
            fmt::format("{}: {}", pipeline::note_text(note, "checkpoint"), weights.text));
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
  const pipeline::NotedWeights weights = pipeline::find_weights(*note);
  const std::string command = "ddpm " + pipeline::shell_line(pipeline::words_of(*note, weights));
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
