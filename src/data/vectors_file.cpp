#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/data/vectors.h"
#include "ddpm/io/archive.h"
#include "ddpm/io/file.h"
#include "ddpm/io/npy.h"
#include "label_file.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

constexpr char kSpaces = ' ';  // as a separator: any run of spaces and tabs
constexpr size_t kShownCell = 40;

struct TableLine {
  int64_t number;  // from 1
  std::vector<std::string> cells;
};

std::vector<std::string> cells_between_spaces(std::string_view line) {
  std::vector<std::string> cells;
  for (size_t i = line.find_first_not_of(" \t"); i < line.size();) {
    const size_t end = std::min(line.find_first_of(" \t", i), line.size());
    cells.emplace_back(line.substr(i, end - i));
    i = line.find_first_not_of(" \t", end);
  }
  return cells;
}

// A quoted cell may hold separators, and quotes doubled; a line ends at its end.
std::vector<std::string> cells_between(std::string_view line, char separator) {
  if (separator == kSpaces) return cells_between_spaces(line);
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      cells.back() += line[++i];
    } else if (c == '"' && (quoted || trimmed(cells.back()).empty())) {
      quoted = !quoted;
    } else if (!quoted && c == separator) {
      cells.emplace_back();
    } else {
      cells.back() += c;
    }
  }
  for (std::string& cell : cells) cell = std::string(trimmed(cell));
  return cells;
}

// The lines that are not empty.
std::vector<std::pair<int64_t, std::string_view>> lines_of(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::vector<std::pair<int64_t, std::string_view>> lines;
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = trimmed(text.substr(begin, end - begin));
    ++number;
    if (!line.empty()) lines.emplace_back(number, line);
    begin = end + 1;
  }
  return lines;
}

char separator_in(std::string_view header, bool spaces) {
  const size_t at = header.find_first_of(spaces ? ",;" : "\t,;");
  if (at != std::string_view::npos) return header[at];
  return spaces ? kSpaces : ',';
}

// The table as lines of cells; the first has the columns' names.
std::vector<TableLine> table_lines(const std::string& text, bool is_txt, const fs::path& path) {
  auto lines = lines_of(text);
  std::optional<double> count;
  if (is_txt && !lines.empty()) count = parsed_number(lines.front().second);
  if (count) lines.erase(lines.begin());
  if (lines.size() < 2)
    throw IoError(path,
                  "holds no rows; expected a line of column names, then one line per image, as in "
                  "file_name,smiling,age");
  if (count && *count != static_cast<double>(lines.size() - 1))
    throw IoError(path, fmt::format("line 1 says {} rows, but there are {}; is it truncated?",
                                    *count, lines.size() - 1));
  const char separator = separator_in(lines.front().second, is_txt);
  std::vector<TableLine> table;
  for (const auto& [number, line] : lines)
    table.push_back({number, cells_between(line, separator)});
  return table;
}

void check_columns(const std::vector<std::string>& columns, int64_t line, const fs::path& path) {
  const auto fail = [&](const std::string& what) {
    throw IoError(path, fmt::format("line {} {}", line, what));
  };
  if (columns.empty()) fail("names no column of numbers");
  if (std::ssize(columns) > kMaxVectorWidth)
    fail(fmt::format("names {} columns; at most {} numbers per image", columns.size(),
                     kMaxVectorWidth));
  if (std::all_of(columns.begin(), columns.end(),
                  [](const std::string& name) { return parsed_number(name).has_value(); }))
    fail("holds numbers; the first line must name the columns, as in file_name,smiling,age");
  std::set<std::string> known;
  for (const std::string& name : columns) {
    if (name.empty()) fail("has a column without a name");
    if (!known.insert(name).second) fail(fmt::format("names the column {} twice", name));
  }
}

// Whether the first column names files: see read_vector_table.
bool names_files(const TableLine& header, const TableLine& row) {
  if (row.cells.size() == header.cells.size() + 1) return true;
  return is_file_column(header.cells.front()) || !parsed_number(row.cells.front());
}

float checked_number(const std::string& cell, int64_t line, const std::string& column,
                     const fs::path& path) {
  const std::optional<double> value = parsed_number(cell);
  const auto number = static_cast<float>(value.value_or(NAN));
  if (std::isfinite(number)) return number;
  throw IoError(path, fmt::format("line {}, column {}: \"{}\" is {}; write a finite number, as in "
                                  "0.3",
                                  line, column, as_utf8(cell.substr(0, kShownCell)),
                                  value ? "not finite" : "no number"));
}

VectorTable parse_table(const std::string& text, bool is_txt, const fs::path& path) {
  const std::vector<TableLine> lines = table_lines(text, is_txt, path);
  const TableLine& header = lines.front();
  const bool files = names_files(header, lines[1]);
  const size_t first = files ? 1 : 0, cells = lines[1].cells.size();
  VectorTable table;
  const bool unnamed = cells == header.cells.size() + 1;  // the header leaves out the files' column
  for (size_t i = files && !unnamed ? 1 : 0; i < header.cells.size(); ++i)
    table.columns.push_back(as_utf8(header.cells[i]));
  check_columns(table.columns, header.number, path);
  const auto width = std::ssize(table.columns), count = std::ssize(lines) - 1;
  table.rows = torch::empty({count, width}, torch::kFloat);
  float* to = table.rows.data_ptr<float>();
  for (size_t i = 1; i < lines.size(); ++i) {
    const TableLine& row = lines[i];
    if (std::ssize(row.cells) != width + static_cast<int64_t>(first))
      throw IoError(path, fmt::format("line {} has {}, and {} are expected: {}{} numbers",
                                      row.number, ddpm::counted(std::ssize(row.cells), "cell"),
                                      width + first, files ? "a file name and " : "", width));
    if (files) table.files.push_back(row.cells.front());
    table.lines.push_back(row.number);
    for (int64_t d = 0; d < width; ++d)
      *to++ = checked_number(row.cells[first + d], row.number, table.columns[d], path);
  }
  return table;
}

VectorTable of_array(const torch::Tensor& array, const std::string& name) {
  const torch::Tensor rows = array.dim() == 1 ? array.unsqueeze(1) : array;
  const auto fail = [&](const std::string& what) { throw IoError(name, what); };
  if (rows.dim() != 2 || rows.size(0) == 0 || rows.size(1) == 0 || rows.is_complex())
    fail(
        fmt::format("holds {} of shape [{}]; vectors are numbers of shape [N,D], one row per "
                    "image",
                    c10::toString(array.scalar_type()), fmt::join(array.sizes(), ",")));
  if (rows.size(1) > kMaxVectorWidth)
    fail(fmt::format("holds {} numbers per image; at most {}", rows.size(1), kMaxVectorWidth));
  VectorTable table{numbered_classes(rows.size(1)), {}, {}, {}};
  table.rows = torch::empty(rows.sizes(), torch::kFloat).copy_(rows);  // not of a mapped file
  const torch::Tensor wrong = table.rows.isfinite().logical_not().nonzero();
  if (wrong.size(0) > 0) {
    const auto row = wrong[0][0].item<int64_t>(), column = wrong[0][1].item<int64_t>();
    fail(fmt::format("row {}, column {} (both from 0) is {}; all must be finite numbers", row,
                     column, table.rows[row][column].item<float>()));
  }
  return table;
}

VectorTable read_archive(const fs::path& path) {
  const io::ZipReader archive(path);
  std::vector<std::string> arrays;
  for (const std::string& name : archive.names())
    if (name.ends_with(".npy")) arrays.push_back(name);
  const bool named = std::find(arrays.begin(), arrays.end(), "vectors.npy") != arrays.end();
  if (!named && arrays.size() != 1)
    throw IoError(path, fmt::format("holds {}; name the array of vectors \"vectors\"",
                                    arrays.empty() ? "no array"
                                                   : fmt::format("{}", fmt::join(arrays, ", "))));
  const std::string name = named ? "vectors.npy" : arrays.front();
  return of_array(io::parse_npy(archive.read(name), (path / name).string()),
                  (path / name).string());
}

}  // namespace

VectorTable read_vector_table(const fs::path& path) {
  const std::string ending = lowercase(path.extension().string());
  std::error_code error;
  if (!fs::is_regular_file(path, error))
    throw IoError(path, "does not exist; vectors come from a .csv, .tsv, .txt, .npy or .npz file");
  if (ending == ".npy") return of_array(io::read_npy(path), path.string());
  if (ending == ".npz") return read_archive(path);
  if (ending == ".csv" || ending == ".tsv" || ending == ".txt")
    return parse_table(io::read_text(path), ending == ".txt", path);
  throw IoError(path, "holds no vectors by its ending; use .csv, .tsv, .txt, .npy or .npz");
}

}  // namespace ddpm::data
