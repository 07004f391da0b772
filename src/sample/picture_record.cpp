#include "picture_record.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"

#include <algorithm>

#include <fmt/format.h>

namespace ddpm::sample {
namespace {

namespace fs = std::filesystem;
using Json = PictureRecord::Json;

constexpr const char* kRecordName = "sampling.json";
constexpr std::string_view kChecksum = "_crc32c";

// Names of files may hold bytes that are not UTF-8.
std::string text_of(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// A checksum says little to people: the file that it is of.
std::string shown(const std::string& key, const Json& settings, const Json& source) {
  if (!key.ends_with(kChecksum)) return text_of(settings.value(key, Json()));
  const Json file = source.value(key.substr(0, key.size() - kChecksum.size()), Json());
  return fmt::format("{} (checksum {})", file.is_string() ? file.get<std::string>() : "?",
                     text_of(settings.value(key, Json())));
}

}  // namespace

std::string relative_to(const fs::path& folder, const fs::path& file) {
  return fs::absolute(file)
      .lexically_normal()
      .lexically_relative(fs::absolute(folder).lexically_normal())
      .generic_string();
}

PictureRecord PictureRecord::read(const fs::path& folder) {
  const fs::path file = folder / kRecordName;
  if (!fs::exists(file)) return {};
  const Json json = io::json_or_discarded(io::read_text(file));
  PictureRecord record;
  try {
    // An earlier version listed no files: its settings stood alone.
    record.settings = json.contains("weights_crc32c") ? json : json.at("settings");
    record.source = json.value("source", Json::object());
    record.images = json.value("images", int64_t{0});
    record.beside = json.value("beside", std::vector<std::string>());
  } catch (const Json::exception&) {
    record.settings = nullptr;
  }
  if (record.settings.is_object() && record.source.is_object()) return record;
  throw IoError(
      file,
      "is damaged or another program's, so it is not known whose images these are; choose "
      "another folder with --out");
}

void PictureRecord::write(const fs::path& folder) const {
  const Json json{
      {"images", images}, {"beside", beside}, {"source", source}, {"settings", settings}};
  io::write_file_atomic(folder / kRecordName, text_of(json, 2) + "\n");
}

bool PictureRecord::lists_beside(const fs::path& folder, const fs::path& file) const {
  return std::find(beside.begin(), beside.end(), relative_to(folder, file)) != beside.end();
}

std::string first_difference(const PictureRecord& record, const PictureSet& set) {
  Json was = io::parsed_json(set.defaults), now = was;
  was.update(record.settings);
  now.update(io::parsed_json(set.settings));
  const Json source = io::parsed_json(set.source);
  std::vector<std::string> keys;
  for (const auto& item : now.items()) keys.push_back(item.key());
  for (const auto& item : was.items()) keys.push_back(item.key());
  for (const std::string& key : keys) {
    if (was.value(key, Json()) == now.value(key, Json())) continue;
    const bool file = key.ends_with(kChecksum);
    return fmt::format("{} {}, now {}", file ? key.substr(0, key.size() - kChecksum.size()) : key,
                       shown(key, was, record.source), shown(key, now, source));
  }
  return "";
}

}  // namespace ddpm::sample
