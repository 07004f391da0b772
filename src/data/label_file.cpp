#include "label_file.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/io/json_text.h"

#include <algorithm>
#include <array>
#include <span>
#include <sstream>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;
using Row = std::vector<std::string>;

constexpr std::array<std::string_view, 8> kFileKeys = {"file_name",  "filename", "file", "image",
                                                       "image_path", "path",     "id",   "name"};
constexpr std::array<std::string_view, 6> kLabelKeys = {"label",    "class",  "class_name",
                                                        "category", "target", "y"};
constexpr const char* kVectors =
    "a network learns one class per image: list one integer per image, or set data.labels = "
    "\"none\"";

// Also accepts the separators of other systems.
std::string with_slashes(std::string name) {
  std::replace(name.begin(), name.end(), '\\', '/');
  if (name.starts_with("./")) name.erase(0, 2);
  return name;
}

// Fields between separators. A quoted field may hold any character, with quotes doubled.
std::vector<Row> rows_of(std::string_view text, char separator) {
  std::vector<Row> rows;
  Row row(1);
  bool quoted = false;
  const auto end_row = [&] {
    if (row.size() > 1 || !row[0].empty()) rows.push_back(row);
    row.assign(1, "");
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      row.back() += text[++i];
    } else if (c == '"' && (quoted || row.back().empty())) {
      quoted = !quoted;
    } else if (!quoted && c == separator) {
      row.emplace_back();
    } else if (!quoted && c == '\n') {
      end_row();
    } else if (quoted || c != '\r') {
      row.back() += c;
    }
  }
  end_row();
  return rows;
}

char separator_of(std::string_view text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  const size_t at = line.find_first_of("\t,;");
  return at == std::string_view::npos ? ',' : line[at];
}

std::optional<size_t> column_of(const Row& header, std::span<const std::string_view> names) {
  for (const std::string_view name : names) {
    for (size_t i = 0; i < header.size(); ++i) {
      if (lowercase(header[i]) == name) return i;
    }
  }
  return std::nullopt;
}

// A label in JSON: a string or an integer.
std::string label_text(const nlohmann::ordered_json& value, const fs::path& path,
                       const std::string& where) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer()) return io::json_text(value);
  if (value.is_array() || value.is_object()) {
    throw IoError(path,
                  fmt::format("{}: the label holds {} values; {}", where, value.size(), kVectors));
  }
  throw IoError(path, fmt::format("{}: the label is {}, neither text nor an integer", where,
                                  io::json_text(value)));
}

// The first of the object's keys that is one of `names`.
const nlohmann::ordered_json* find_key(const nlohmann::ordered_json& object,
                                       std::span<const std::string_view> names) {
  for (const std::string_view name : names) {
    if (const auto found = object.find(name); found != object.end()) return &*found;
  }
  return nullptr;
}

nlohmann::ordered_json parsed(const std::string& text, const fs::path& path,
                              const std::string& where) {
  nlohmann::ordered_json json = io::json_or_discarded(text);
  if (!json.is_object())
    throw IoError(path, fmt::format("{}is no JSON object; is it damaged?", where));
  return json;
}

}  // namespace

bool is_file_column(const std::string& name) {
  return std::find(kFileKeys.begin(), kFileKeys.end(), lowercase(name)) != kFileKeys.end();
}

std::vector<FileLabel> parse_label_table(const std::string& text, const fs::path& path) {
  std::string_view content = text;
  if (content.starts_with("\xEF\xBB\xBF")) content.remove_prefix(3);
  const std::vector<Row> rows = rows_of(content, separator_of(content));
  if (rows.empty()) throw IoError(path, "holds no lines; expected file names and labels");
  const auto file = column_of(rows[0], kFileKeys), label = column_of(rows[0], kLabelKeys);
  const bool header = file && label && *file != *label;
  if (!header && rows[0].size() != 2) {
    throw IoError(path,
                  fmt::format("has the columns {}; name two of them file_name and label in its "
                              "first line, or keep two only: file name, label",
                              fmt::join(rows[0], ", ")));
  }
  const size_t file_at = header ? *file : 0, label_at = header ? *label : 1;
  std::vector<FileLabel> lines;
  for (size_t i = header ? 1 : 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    if (row.size() <= std::max(file_at, label_at) || row[file_at].empty() || row[label_at].empty())
      throw IoError(path, fmt::format("row {} has no file name or no label", i + 1));
    lines.push_back({with_slashes(row[file_at]), row[label_at]});
  }
  return lines;
}

std::vector<FileLabel> parse_label_lines(const std::string& text, const fs::path& path) {
  std::vector<FileLabel> lines;
  std::istringstream stream(text);
  int64_t number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (trimmed(line).empty()) continue;
    const std::string where = fmt::format("line {}", number);
    const nlohmann::ordered_json object = parsed(line, path, where + " ");
    const nlohmann::ordered_json* file = find_key(object, kFileKeys);
    const nlohmann::ordered_json* label = find_key(object, kLabelKeys);
    if (file == nullptr || !file->is_string() || label == nullptr) {
      throw IoError(path, fmt::format("{} has no file_name or no label; expected {{\"file_name\": "
                                      "\"a.png\", \"label\": \"cat\"}}",
                                      where));
    }
    lines.push_back({with_slashes(file->get<std::string>()), label_text(*label, path, where)});
  }
  return lines;
}

std::optional<std::vector<FileLabel>> parse_dataset_json(const std::string& text,
                                                         const fs::path& path) {
  const nlohmann::ordered_json object = parsed(text, path, "");
  const auto labels = object.find("labels");
  if (labels == object.end()) return std::nullopt;
  std::vector<FileLabel> lines;
  if (labels->is_null()) return lines;
  const auto fail = [&](const std::string& what) {
    throw IoError(path, what + "; expected [[\"00000/img00000000.png\", 6], ...]");
  };
  if (!labels->is_array()) fail("\"labels\" is no list");
  for (const nlohmann::ordered_json& pair : *labels) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string())
      fail(fmt::format("entry {} of \"labels\" is no pair of a file name and a label",
                       lines.size()));
    const std::string file = pair[0].get<std::string>();
    const std::string label = label_text(pair[1], path, file);
    if (!is_digits(label))
      fail(fmt::format("{}: the label \"{}\" is no integer from 0", file, label));
    lines.push_back({with_slashes(file), label});
  }
  return lines;
}

}  // namespace ddpm::data
