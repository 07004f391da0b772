#include "ddpm/io/json_lines.h"

#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"

#include <sstream>
#include <string>
#include <utility>

namespace ddpm::io {

JsonLines parse_json_lines(std::string_view text) {
  JsonLines lines;
  std::istringstream in{std::string(text)};
  int64_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.empty()) continue;
    auto json = json_or_discarded(line);
    if (json.is_object() && json.contains("step") && json["step"].is_number_integer()) {
      lines.objects.push_back(std::move(json));
    } else if (lines.damaged++ == 0) {
      lines.first_damaged = number;
    }
  }
  return lines;
}

JsonLines read_json_lines(const std::filesystem::path& file) {
  return std::filesystem::exists(file) ? parse_json_lines(read_text(file)) : JsonLines();
}

}  // namespace ddpm::io
