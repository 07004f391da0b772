#include "data_report.h"

#include "ddpm/base/text.h"
#include "ddpm/data/losses.h"
#include "ddpm/io/json_text.h"
#include "print_row.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ddpm::cli {
namespace {

constexpr int64_t kBins = 16;

// Bytes v are 2 v / 255 - 1 in the model's range.
double to_model_range(double value) { return value / 127.5 - 1; }

double images_per_second(const data::Statistics& s) {
  return static_cast<double>(s.images) / std::max(s.seconds, 1e-9);
}

void print_classes(const DataScan& f) {
  constexpr size_t kShown = 100;
  const std::vector<std::string> names = f.dataset->class_names();
  if (names.empty()) return print_row("classes", "none");
  print_row("classes", fmt::format("{}", names.size()));
  for (size_t k = 0; k < std::min(kShown, names.size()); ++k)
    fmt::print("  {:<20} {:>10}\n", names[k], with_commas(f.statistics.class_counts[k]));
  if (names.size() > kShown)
    fmt::print("  ... and {} more (--json lists all)\n", names.size() - kShown);
  if (f.statistics.unlabelled > 0)
    fmt::print("  {:<20} {:>10}\n", "(none)", with_commas(f.statistics.unlabelled));
}

std::string channel_name(int64_t channels, int64_t c) {
  constexpr std::array<std::array<const char*, 4>, 4> kNames = {
      {{"grey"}, {"grey", "alpha"}, {"red", "green", "blue"}, {"red", "green", "blue", "alpha"}}};
  return kNames[channels - 1][c];
}

void print_channels(const DataScan& f) {
  const auto& channels = f.statistics.channels;
  fmt::print("{:<14} {:>10} {:>10} {:>12} {:>12} {:>8}\n", "channel", "mean", "deviation",
             "in [-1,1]", "deviation", "values");
  for (size_t c = 0; c < channels.size(); ++c) {
    const data::ValueCounts& v = channels[c];
    fmt::print("  {:<12} {:>10.3f} {:>10.3f} {:>12.5f} {:>12.5f} {:>3}..{}\n",
               channel_name(static_cast<int64_t>(channels.size()), static_cast<int64_t>(c)),
               v.mean(), v.deviation(), to_model_range(v.mean()), v.deviation() / 127.5, v.lowest(),
               v.highest());
  }
}

// "█" is a whole step; its eighths are the characters before it, "▏" to "▉".
std::string bar(double steps) {
  constexpr std::array<const char*, 8> kParts = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const auto eighths = static_cast<int64_t>(std::lround(8 * steps));
  std::string text;
  for (int64_t i = 0; i < eighths / 8; ++i) text += "█";
  return text + kParts[eighths % 8];
}

void print_histogram(const DataScan& f) {
  constexpr double kLongest = 40;
  const data::ValueCounts all = f.statistics.all_channels();
  const std::vector<int64_t> bins = data::histogram(all, kBins);
  const auto most = static_cast<double>(*std::max_element(bins.begin(), bins.end()));
  fmt::print("values (all channels)\n");
  for (int64_t i = 0; i < kBins; ++i) {
    const auto n = static_cast<double>(bins[i]);
    fmt::print("  {:>3}..{:<3} {:>5.1f}% {}\n", i * 256 / kBins, (i + 1) * 256 / kBins - 1,
               100 * n / static_cast<double>(all.total()), bar(kLongest * n / most));
  }
}

}  // namespace

void print_report(const DataScan& f) {
  const data::ImageShape shape = f.dataset->shape();
  const data::SizeRange sizes = f.dataset->source_sizes();
  print_row("data", f.dataset->description());
  print_row("kind", f.kind);
  print_row("images", with_commas(f.dataset->size()));
  print_row("shape", fmt::format("{} x {} x {} (channels x height x width)", shape.channels,
                                 shape.height, shape.width));
  if (sizes != data::SizeRange{shape.height, shape.height, shape.width, shape.width}) {
    print_row("in the files",
              fmt::format("height {} to {}, width {} to {}: scaled and cropped", sizes.min_height,
                          sizes.max_height, sizes.min_width, sizes.max_width));
  }
  print_row("read", fmt::format("{} images, {:.0f} images/s", with_commas(f.statistics.images),
                                images_per_second(f.statistics)));
  print_classes(f);
  if (f.statistics.images > 0) {
    print_channels(f);
    print_histogram(f);
  }
  if (!f.picture.empty()) print_row("picture", f.picture);
  const std::string passed_over = data::counted_endings(f.dataset->passed_over());
  if (!passed_over.empty()) print_row("passed over", passed_over);
  for (const std::string& remark : f.dataset->remarks()) print_row("note", remark);
  print_row("bad files", f.bad.empty() ? "none" : with_commas(static_cast<int64_t>(f.bad.size())));
  for (const std::string& message : f.bad) fmt::print("  {}\n", message);
}

void print_json(const DataScan& f) {
  const data::ImageShape shape = f.dataset->shape();
  const data::SizeRange sizes = f.dataset->source_sizes();
  nlohmann::ordered_json json;
  json["kind"] = f.kind;
  json["description"] = f.dataset->description();
  json["count"] = f.dataset->size();
  json["read"] = f.statistics.images;
  json["channels"] = shape.channels;
  json["height"] = shape.height;
  json["width"] = shape.width;
  json["source_height"] = {sizes.min_height, sizes.max_height};
  json["source_width"] = {sizes.min_width, sizes.max_width};
  json["classes"] = nlohmann::ordered_json::array();
  const std::vector<std::string> names = f.dataset->class_names();
  for (size_t k = 0; k < names.size(); ++k) {
    json["classes"].push_back({{"name", names[k]}, {"count", f.statistics.class_counts[k]}});
  }
  json["unlabelled"] = f.statistics.unlabelled;
  json["mean"] = json["deviation"] = json["lowest"] = json["highest"] =
      nlohmann::ordered_json::array();
  for (const data::ValueCounts& channel : f.statistics.channels) {
    if (channel.total() == 0) continue;
    json["mean"].push_back(channel.mean());
    json["deviation"].push_back(channel.deviation());
    json["lowest"].push_back(channel.lowest());
    json["highest"].push_back(channel.highest());
  }
  json["histogram"] = data::histogram(f.statistics.all_channels(), kBins);
  json["passed_over"] = f.dataset->passed_over();
  json["remarks"] = f.dataset->remarks();
  json["bad"] = f.bad;
  json["images_per_second"] = images_per_second(f.statistics);
  json["picture"] = f.picture;
  // A file's name need not be UTF-8.
  fmt::print("{}\n", io::json_text(json));
}

}  // namespace ddpm::cli
