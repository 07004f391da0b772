#include "json_lines.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_lines.h"
#include "ddpm/io/json_text.h"

#include <fstream>
#include <string>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace ddpm::train {

using nlohmann::ordered_json;

std::vector<ordered_json> lines_up_to(const std::filesystem::path& path, int64_t step) {
  std::vector<ordered_json> lines = io::read_json_lines(path).objects;
  std::erase_if(lines,
                [&](const ordered_json& line) { return line["step"].get<int64_t>() > step; });
  return lines;
}

void write_lines(const std::filesystem::path& path, const std::vector<ordered_json>& lines) {
  std::string text;
  for (const ordered_json& line : lines) text += io::json_text(line) + "\n";
  io::write_file_atomic(path, text);
}

void append_line(const std::filesystem::path& path, const ordered_json& line) {
  std::error_code absent, ignored;
  const auto size = std::filesystem::file_size(path, absent);
  std::ofstream out(path, std::ios::app);
  out << io::json_text(line) << "\n";
  if (out.flush()) return;
  out.close();
  std::filesystem::resize_file(path, absent ? 0 : size, ignored);
  throw IoError(path, "cannot be written (disk full?)");
}

bool or_warn(const std::function<void()>& write) {
  try {
    write();
    return true;
  } catch (const IoError& error) {
    spdlog::warn("{} (training continues without it)", error.what());
    return false;
  }
}

}  // namespace ddpm::train
