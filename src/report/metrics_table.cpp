#include "ddpm/report/metrics_table.h"

#include "ddpm/base/text.h"
#include "ddpm/io/json_lines.h"

#include <algorithm>

#include <fmt/format.h>

namespace ddpm::report {
namespace {

using Json = nlohmann::ordered_json;

// The numbers of one column in a group of lines.
std::vector<double> numbers_of(const std::string& key, const std::vector<Json>& lines, size_t first,
                               size_t end) {
  std::vector<double> numbers;
  for (size_t i = first; i < end; ++i) {
    const auto found = lines[i].find(key);
    if (found != lines[i].end() && found->is_number()) numbers.push_back(found->get<double>());
  }
  return numbers;
}

double together(const std::string& key, const std::vector<double>& numbers) {
  if (key == "step" || key == "images" || key == "seconds") return numbers.back();
  if (key == "memory_mib") return *std::max_element(numbers.begin(), numbers.end());
  double sum = 0;
  for (const double number : numbers) sum += number;
  return key == "skipped" ? sum : sum / static_cast<double>(numbers.size());
}

std::vector<Json> in_order_of_steps(io::JsonLines found, const std::string& name,
                                    std::vector<std::string>& warnings) {
  std::vector<Json> lines;
  for (Json& json : found.objects) {
    const auto step = json["step"].get<int64_t>();
    while (!lines.empty() && lines.back()["step"].get<int64_t>() >= step) lines.pop_back();
    lines.push_back(std::move(json));
  }
  if (found.damaged > 0)
    warnings.push_back(fmt::format("{}: {} passed over, the first is line {}", name,
                                   counted(found.damaged, "damaged line"), found.first_damaged));
  return lines;
}

}  // namespace

std::vector<Json> steps_of_lines(std::string_view text, const std::string& name,
                                 std::vector<std::string>& warnings) {
  return in_order_of_steps(io::parse_json_lines(text), name, warnings);
}

std::vector<Json> steps_of_file(const std::filesystem::path& file, const std::string& name,
                                std::vector<std::string>& warnings) {
  return in_order_of_steps(io::read_json_lines(file), name, warnings);
}

Json metrics_table(const std::vector<Json>& lines, int64_t max_rows) {
  const size_t count = lines.size(), rows = static_cast<size_t>(max_rows);
  const size_t group = std::max<size_t>(1, (count + rows - 1) / rows);
  std::vector<std::string> keys;
  for (const Json& line : lines)
    for (const auto& item : line.items())
      if (std::find(keys.begin(), keys.end(), item.key()) == keys.end()) keys.push_back(item.key());
  Json table = Json::object();
  for (const std::string& key : keys) {
    Json column = Json::array();
    for (size_t first = 0; first < count; first += group) {
      const auto numbers = numbers_of(key, lines, first, std::min(first + group, count));
      column.push_back(numbers.empty() ? Json() : Json(together(key, numbers)));
    }
    table[key] = std::move(column);
  }
  return table;
}

}  // namespace ddpm::report
