#include "ddpm/eval/sweep.h"

#include "chart.h"
#include "ddpm/base/error.h"
#include "ddpm/eval/result_folder.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"
#include "ddpm/io/json_text.h"
#include "unknown.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace ddpm::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr int64_t kLabelRow = 14, kGap = 6;

ordered_json number(const std::optional<double>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

std::optional<double> optional_number(const ordered_json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end() || found->is_null()) return std::nullopt;
  return found->get<double>();
}

// The checksum of a cell's numbers and its strip.
int64_t checksum_of(ordered_json json, const fs::path& strip) {
  json.erase("crc32c");
  return io::crc32c(io::read_file(strip), io::crc32c(io::json_text(json)));
}

// uint8 [C,H,W] -> [3,H,W].
torch::Tensor coloured(const torch::Tensor& image) {
  return image.size(0) >= 3 ? image.narrow(0, 0, 3) : image.narrow(0, 0, 1).expand({3, -1, -1});
}

}  // namespace

std::string SweepCell::name() const { return fmt::format("steps-{:04}-{}", steps, row.key); }

SweepFolder::SweepFolder(fs::path folder, const std::string& protocol)
    : folder_(std::move(folder)), protocol_digest_(io::sha256(protocol)) {
  claim_result_folder(folder_, protocol);
}

std::optional<SweepResult> SweepFolder::find(const SweepCell& cell) const {
  const fs::path file = folder_ / (cell.name() + ".json");
  if (!fs::exists(file) || !fs::exists(folder_ / (cell.name() + ".png"))) return std::nullopt;
  try {
    const fs::path strip = folder_ / (cell.name() + ".png");
    const ordered_json json = io::json_or_discarded(io::read_text(file));
    if (!json.is_object() || json.value("protocol", "") != protocol_digest_) return std::nullopt;
    if (json.value("crc32c", int64_t{-1}) != checksum_of(json, strip)) return std::nullopt;
    SweepResult r{json.at("frechet"),
                  optional_number(json, "frechet_error").value_or(kUnknown),
                  {},
                  json.at("seconds_per_image")};
    for (size_t i = 0; i < kSweepMetrics.size(); ++i)
      r.others[i] = optional_number(json, kSweepMetrics[i]);
    return r;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  } catch (const IoError&) {
    return std::nullopt;
  }
}

void SweepFolder::write(const SweepCell& cell, const SweepResult& r,
                        const torch::Tensor& strip) const {
  const fs::path picture = folder_ / (cell.name() + ".png");
  io::write_png(picture, io::enlarged(io::make_grid(strip, strip.size(0), 1)));
  ordered_json json{{"steps", cell.steps},
                    {"sampler", cell.row.label},
                    {"frechet", r.frechet},
                    {"frechet_error", r.frechet_error}};
  for (size_t i = 0; i < kSweepMetrics.size(); ++i) json[kSweepMetrics[i]] = number(r.others[i]);
  json["seconds_per_image"] = r.seconds_per_image;
  json["protocol"] = protocol_digest_;
  json["crc32c"] = checksum_of(json, picture);
  io::write_file_atomic(folder_ / (cell.name() + ".json"), io::json_text(json, 1) + "\n");
}

torch::Tensor SweepFolder::strip(const SweepCell& cell) const {
  const fs::path file = folder_ / (cell.name() + ".png");
  return io::to_tensor(io::decode_image(io::read_file(file), file.string()));
}

std::vector<SweepCell> SweepTable::cells() const {
  std::vector<SweepCell> all;
  for (const SweepRow& row : rows)
    for (const int64_t s : steps) all.push_back({s, row});
  return all;
}

std::string to_text(const SweepTable& table, const std::string& distance_name) {
  std::string text = distance_name + " (+- standard error), and seconds per image\n";
  size_t width = 10;
  for (const SweepRow& row : table.rows) width = std::max(width, row.label.size() + 2);
  text += fmt::format("{:<{}}", "", width);
  for (const int64_t steps : table.steps)
    text += fmt::format("{:>18}", fmt::format("S = {}", steps));
  for (size_t row = 0; row < table.rows.size(); ++row) {
    text += fmt::format("\n{:<{}}", table.rows[row].label, width);
    for (size_t column = 0; column < table.steps.size(); ++column) {
      const SweepResult& r = table.at(row, column);
      text += fmt::format("{:>18}", fmt::format("{:.4g} +- {:.2g}", r.frechet, r.frechet_error));
    }
  }
  // Of the first row: the others cost about the same.
  text += fmt::format("\n{:<{}}", "s/image", width);
  for (size_t column = 0; column < table.steps.size(); ++column)
    text += fmt::format("{:>18.3g}", table.at(0, column).seconds_per_image);
  return text + "\n";
}

std::string to_csv(const SweepTable& table) {
  const auto field = [](const std::optional<double>& v) {
    return v ? fmt::format("{:.6g}", *v) : std::string();
  };
  std::string text = fmt::format("sampler,steps,frechet,frechet_error,{},seconds_per_image\n",
                                 fmt::join(kSweepMetrics, ","));
  const std::vector<SweepCell> cells = table.cells();
  for (size_t i = 0; i < cells.size(); ++i) {
    const SweepResult& r = table.results.at(i);
    text += fmt::format("{},{},{:.6g},{:.3g}", cells[i].row.key, cells[i].steps, r.frechet,
                        r.frechet_error);
    for (const std::optional<double>& other : r.others) text += "," + field(other);
    text += fmt::format(",{:.4g}\n", r.seconds_per_image);
  }
  return text;
}

ordered_json to_json(const SweepTable& table) {
  ordered_json json = ordered_json::array();
  const std::vector<SweepCell> cells = table.cells();
  for (size_t i = 0; i < cells.size(); ++i) {
    const SweepResult& r = table.results.at(i);
    json.push_back({{"steps", cells[i].steps},
                    {"sampler", cells[i].row.label},
                    {"frechet", r.frechet},
                    {"frechet_error", r.frechet_error},
                    {"seconds_per_image", r.seconds_per_image}});
  }
  return json;
}

torch::Tensor draw_sweep(const SweepTable& table, const SweepFolder& folder,
                         const std::string& title) {
  const auto strip = [&](size_t row, size_t column) {
    return coloured(folder.strip({table.steps[column], table.rows[row]}));
  };
  const torch::Tensor first = strip(0, 0);
  const int64_t cell_h = first.size(1) + kLabelRow + kGap, cell_w = first.size(2) + kGap;
  const auto rows = static_cast<int64_t>(table.rows.size());
  const auto columns = static_cast<int64_t>(table.steps.size());
  int64_t left = 64;
  for (const SweepRow& row : table.rows) left = std::max(left, text_width(row.label) + 12);
  const int64_t top = 34;
  torch::Tensor image = torch::full(
      {3, top + rows * cell_h, std::max(left + columns * cell_w, text_width(title) + 12)}, 255,
      torch::kByte);
  draw_text_(image, 6, 6, title);
  for (int64_t column = 0; column < columns; ++column) {
    draw_text_(image, left + column * cell_w, 20, fmt::format("S = {}", table.steps[column]));
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t x = left + column * cell_w, y = top + row * cell_h;
      const torch::Tensor pictures = strip(row, column);
      image.slice(1, y, y + pictures.size(1)).slice(2, x, x + pictures.size(2)).copy_(pictures);
      const SweepResult& r = table.at(row, column);
      draw_text_(image, x, y + pictures.size(1) + 3, fmt::format("{:.4g}", r.frechet), {90, 0, 0});
    }
  }
  for (int64_t row = 0; row < rows; ++row)
    draw_text_(image, 6, top + row * cell_h + 4, table.rows[row].label);
  return image;
}

torch::Tensor draw_sweep_curves(const SweepTable& table, const std::string& title) {
  std::vector<Curve> curves;
  for (size_t row = 0; row < table.rows.size(); ++row) {
    Curve curve{table.rows[row].label, {}, {}};
    for (size_t column = 0; column < table.steps.size(); ++column) {
      curve.x.push_back(static_cast<double>(table.steps[column]));
      curve.y.push_back(table.at(row, column).frechet);
    }
    curves.push_back(std::move(curve));
  }
  return draw_chart(curves, {.title = title,
                             .x_label = "S, network calls an image",
                             .y_label = "distance",
                             .log_x = true,
                             .log_y = true});
}

}  // namespace ddpm::eval
