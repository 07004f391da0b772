#include "ddpm/checkpoint/manifest.h"

#include "ddpm/base/error.h"
#include "ddpm/io/checksum.h"

#include <algorithm>
#include <cctype>
#include <sstream>

#include <fmt/format.h>

namespace ddpm::checkpoint {
namespace {

constexpr const char* kFirstLine = "ddpm-checkpoint 1";

}  // namespace

bool is_checkpoint_file_name(std::string_view name) {
  const auto allowed = [](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '_' || c == '-';
  };
  return !name.empty() && name.front() != '.' && name != kManifestName &&
         std::all_of(name.begin(), name.end(), allowed);
}

std::string to_text(const Manifest& manifest) {
  std::string text = fmt::format("{}\nstep {}\n", kFirstLine, manifest.step);
  for (const CheckpointFile& file : manifest.files) {
    text += fmt::format("file {} {:08x} {}\n", file.sum.size, file.sum.crc32c, file.name);
  }
  return text + fmt::format("crc32c {:08x}\n", io::crc32c(text));
}

Manifest parse_manifest(const std::filesystem::path& path, std::string_view text) {
  std::istringstream lines{std::string(text)};
  std::string line;
  std::getline(lines, line);
  if (line.starts_with("ddpm-checkpoint ") && line != kFirstLine) {
    throw IoError(path, fmt::format("is of another format, '{}', than this program's, '{}'",
                                    line.substr(0, 40), kFirstLine));
  }
  Manifest manifest;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    if (kind == "step") words >> manifest.step;
    if (kind == "file") {
      CheckpointFile& file = manifest.files.emplace_back();
      words >> file.sum.size >> std::hex >> file.sum.crc32c >> file.name;
      if (!is_checkpoint_file_name(file.name)) throw IoError(path, "is damaged");
    }
  }
  // Every byte must match, including the checksum.
  if (to_text(manifest) != text) throw IoError(path, "is damaged");
  return manifest;
}

}  // namespace ddpm::checkpoint
