#include "ddpm/base/error.h"

#include "ddpm/base/text.h"

#include <algorithm>

#include <fmt/format.h>

namespace ddpm {
namespace {

// Names and values come from users: their line breaks and escape sequences must not reach a
// terminal.
std::string one_line(std::string text) {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  std::replace_if(text.begin(), text.end(), is_control, ' ');
  return as_utf8(text);
}

}  // namespace

std::string to_string(const SourceLocation& where) {
  return where.line > 0 ? fmt::format("{}:{}:{}", where.file, where.line, where.column)
                        : where.file;
}

ConfigError::ConfigError(const SourceLocation& where, const std::string& message)
    : Error(one_line(fmt::format("{}: {}", to_string(where), message))) {}

IoError::IoError(const std::filesystem::path& path, const std::string& message)
    : Error(one_line(fmt::format("{}: {}", path.string(), message))), path_(path) {}

}  // namespace ddpm
