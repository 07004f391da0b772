#include "ddpm/base/text.h"
#include "ddpm/data/scan.h"
#include "losses.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace ddpm::data {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kBins = 16;

// Bytes v are 2 v / 255 - 1 in the model's range.
double to_model_range(double value) { return value / 127.5 - 1; }

double images_per_second(const Statistics& s) {
  return static_cast<double>(s.images) / std::max(s.seconds, 1e-9);
}

std::string text_of_classes(const DataScan& f) {
  constexpr size_t kShown = 100;
  const std::vector<std::string> names = f.dataset->class_names();
  if (names.empty()) return table_row("classes", "none");
  const auto line = [](const std::string& name, int64_t count) {
    return fmt::format("  {:<20} {:>10}\n", name, with_commas(count));
  };
  std::string text = table_row("classes", fmt::format("{}", names.size()));
  for (size_t k = 0; k < std::min(kShown, names.size()); ++k)
    text += line(names[k], f.statistics.class_counts[k]);
  if (names.size() > kShown)
    text += fmt::format("  ... and {} more (--json lists all)\n", names.size() - kShown);
  if (f.statistics.unlabelled > 0) text += line("(none)", f.statistics.unlabelled);
  return text;
}

// One entry per column of the vectors; none without.
Json json_of_vectors(const Dataset& dataset) {
  Json columns = Json::array();
  if (!dataset.vectors().defined()) return columns;
  const torch::Tensor v = dataset.vectors().to(torch::kDouble);
  const std::vector<std::string> names = dataset.vector_names();
  for (int64_t d = 0; d < v.size(1); ++d) {
    const torch::Tensor column = v.select(1, d);
    columns.push_back({{"name", names[static_cast<size_t>(d)]},
                       {"mean", column.mean().item<double>()},
                       {"deviation", column.std(/*unbiased=*/false).item<double>()},
                       {"lowest", column.min().item<double>()},
                       {"highest", column.max().item<double>()}});
  }
  return columns;
}

std::string text_of_vectors(const Dataset& dataset) {
  constexpr size_t kShown = 100;
  const Json columns = json_of_vectors(dataset);
  if (columns.empty()) return "";
  std::string text =
      fmt::format("{:<22} {:>10} {:>10}   {}\n", "vector", "mean", "deviation", "values");
  for (size_t d = 0; d < std::min(kShown, columns.size()); ++d) {
    const Json& c = columns[d];
    text +=
        fmt::format("  {:<20} {:>10.4g} {:>10.4g}   {:.4g}..{:.4g}\n", c["name"].get<std::string>(),
                    c["mean"].get<double>(), c["deviation"].get<double>(),
                    c["lowest"].get<double>(), c["highest"].get<double>());
  }
  if (columns.size() > kShown)
    text += fmt::format("  ... and {} more (--json lists all)\n", columns.size() - kShown);
  return text;
}

std::string channel_name(int64_t channels, int64_t c) {
  constexpr std::array<std::array<const char*, 4>, 4> kNames = {
      {{"grey"}, {"grey", "alpha"}, {"red", "green", "blue"}, {"red", "green", "blue", "alpha"}}};
  return channels <= std::ssize(kNames) ? kNames[channels - 1][c] : fmt::format("{}", c);
}

std::string text_of_channels(const DataScan& f) {
  const auto& channels = f.statistics.channels;
  std::string text = fmt::format("{:<14} {:>10} {:>10} {:>12} {:>12} {:>8}\n", "channel", "mean",
                                 "deviation", "in [-1,1]", "deviation", "values");
  for (size_t c = 0; c < channels.size(); ++c) {
    const ValueCounts& v = channels[c];
    text += fmt::format("  {:<12} {:>10.3f} {:>10.3f} {:>12.5f} {:>12.5f} {:>3}..{}\n",
                        channel_name(std::ssize(channels), static_cast<int64_t>(c)), v.mean(),
                        v.deviation(), to_model_range(v.mean()), v.deviation() / 127.5, v.lowest(),
                        v.highest());
  }
  return text;
}

// A bar of full blocks "█" and, at its end, one of "▏" to "▉": an eighth to seven eighths of one.
std::string bar(double steps) {
  constexpr std::array<const char*, 8> kParts = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const auto eighths = static_cast<int64_t>(std::lround(8 * steps));
  std::string text;
  for (int64_t i = 0; i < eighths / 8; ++i) text += "█";
  return text + kParts[eighths % 8];
}

std::string text_of_histogram(const DataScan& f) {
  constexpr double kMaxBar = 40;
  const ValueCounts all = f.statistics.all_channels();
  const std::vector<int64_t> bins = histogram(all, kBins);
  const auto most = static_cast<double>(*std::max_element(bins.begin(), bins.end()));
  std::string text = "values (all channels)\n";
  for (int64_t i = 0; i < kBins; ++i) {
    const auto n = static_cast<double>(bins[i]);
    text += fmt::format("  {:>3}..{:<3} {:>5.1f}% {}\n", i * 256 / kBins, (i + 1) * 256 / kBins - 1,
                        100 * n / static_cast<double>(all.total()), bar(kMaxBar * n / most));
  }
  return text;
}

std::string text_of_images(const DataScan& f) {
  const ImageShape shape = f.dataset->shape();
  const SizeRange sizes = f.dataset->source_sizes();
  std::string text = table_row("images", with_commas(f.dataset->size()));
  text += table_row("shape", fmt::format("{} x {} x {} (channels x height x width)", shape.channels,
                                         shape.height, shape.width));
  if (sizes != SizeRange{shape.height, shape.height, shape.width, shape.width}) {
    text +=
        table_row("in the files", fmt::format("height {} to {}, width {} to {}: scaled and cropped",
                                              sizes.min_height, sizes.max_height, sizes.min_width,
                                              sizes.max_width));
  }
  return text + table_row("read", fmt::format("{} images, {:.0f} images/s",
                                              with_commas(f.statistics.images),
                                              images_per_second(f.statistics)));
}

Json json_of_classes(const DataScan& f) {
  Json classes = Json::array();
  const std::vector<std::string> names = f.dataset->class_names();
  for (size_t k = 0; k < names.size(); ++k)
    classes.push_back({{"name", names[k]}, {"count", f.statistics.class_counts[k]}});
  return classes;
}

// mean, deviation, lowest and highest: one number per channel each.
void add_channels(Json& json, const std::vector<ValueCounts>& channels) {
  json["mean"] = json["deviation"] = json["lowest"] = json["highest"] = Json::array();
  for (const ValueCounts& channel : channels) {
    if (channel.total() == 0) continue;
    json["mean"].push_back(channel.mean());
    json["deviation"].push_back(channel.deviation());
    json["lowest"].push_back(channel.lowest());
    json["highest"].push_back(channel.highest());
  }
}

}  // namespace

std::string to_text(const DataScan& f, const std::string& picture) {
  std::string text = table_row("data", f.dataset->description());
  text += table_row("kind", f.kind) + text_of_images(f) + text_of_classes(f);
  text += text_of_vectors(*f.dataset);
  if (f.statistics.images > 0) text += text_of_channels(f) + text_of_histogram(f);
  if (!picture.empty()) text += table_row("picture", picture);
  const std::string passed_over = counted_endings(f.dataset->passed_over());
  if (!passed_over.empty()) text += table_row("passed over", passed_over);
  for (const std::string& remark : f.dataset->remarks()) text += table_row("note", remark);
  text += table_row("bad files", f.bad.empty() ? "none" : with_commas(std::ssize(f.bad)));
  for (const std::string& message : f.bad) text += fmt::format("  {}\n", message);
  return text;
}

Json to_json(const DataScan& f, const std::string& picture) {
  const ImageShape shape = f.dataset->shape();
  const SizeRange sizes = f.dataset->source_sizes();
  Json json{{"kind", f.kind},
            {"description", f.dataset->description()},
            {"count", f.dataset->size()},
            {"read", f.statistics.images},
            {"channels", shape.channels},
            {"height", shape.height},
            {"width", shape.width},
            {"source_height", {sizes.min_height, sizes.max_height}},
            {"source_width", {sizes.min_width, sizes.max_width}},
            {"classes", json_of_classes(f)},
            {"unlabelled", f.statistics.unlabelled}};
  if (Json vectors = json_of_vectors(*f.dataset); !vectors.empty()) json["vectors"] = vectors;
  add_channels(json, f.statistics.channels);
  json["histogram"] = histogram(f.statistics.all_channels(), kBins);
  json["passed_over"] = f.dataset->passed_over();
  json["remarks"] = f.dataset->remarks();
  json["bad"] = f.bad;
  json["images_per_second"] = images_per_second(f.statistics);
  json["picture"] = picture;
  return json;
}

}  // namespace ddpm::data
