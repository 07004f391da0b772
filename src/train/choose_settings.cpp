#include "ddpm/train/choose_settings.h"

#include "ddpm/base/device.h"
#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/data/factory.h"
#include "ddpm/data/memory.h"
#include "ddpm/data/statistics.h"
#include "ddpm/train/resume.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace ddpm::train {
namespace {

namespace fs = std::filesystem;

constexpr double kMeasuring = 6.0;  // seconds of steps
constexpr int64_t kLooks = 24;      // pictures that are decoded to see whether they have colours

// While it lives, only errors are logged: the pictures are opened a second time.
class QuietLog {
 public:
  QuietLog() : level_(spdlog::get_level()) { spdlog::set_level(spdlog::level::err); }
  ~QuietLog() { spdlog::set_level(level_); }
  QuietLog(const QuietLog&) = delete;
  QuietLog& operator=(const QuietLog&) = delete;

 private:
  spdlog::level::level_enum level_;
};

bool has_visible_colours(const torch::Tensor& image) {
  constexpr int kVisible = 24;  // above what JPEG does to grey
  const torch::Tensor values = image.to(torch::kInt);
  return (std::get<0>(values.max(0)) - std::get<0>(values.min(0))).max().item<int>() > kVisible;
}

// Decodes a few pictures. Sets whether they have colours, and counts those that cannot be read.
void look_inside_(Facts& facts, const data::Dataset& pictures) {
  for (const int64_t i : data::spread_indices(pictures.size(), kLooks)) {
    try {
      facts.coloured = has_visible_colours(pictures.get(i).image) || facts.coloured;
    } catch (const IoError& error) {
      spdlog::warn("{}", error.what());
      ++facts.damaged;
    }
  }
}

Choice look_at(const ChoiceRequest& request, const torch::Device& device) {
  data::DataConfig config;
  config.path = request.pictures;
  config.image_size = data::ImageSize{32, 32};  // of the look alone
  config.channels = 3;
  config.on_bad_image = data::BadImages::kSkipByHeader;
  config.has_config = false;
  const auto pictures = data::open_dataset(config, 0);
  Choice c;
  c.classes = pictures->class_count();
  Facts& f = c.facts;
  f.path = request.pictures;
  f.damaged = std::ssize(pictures->skipped());
  look_inside_(f, *pictures);
  f.count = pictures->size();
  f.sizes = pictures->source_sizes();
  f.device = request.device.empty() ? "auto" : request.device;
  f.gpu = device.is_cuda();
  f.memory = data::available_memory();
  f.asked_size = request.size;
  f.minutes = request.minutes.value_or(f.minutes);
  return c;
}

// Goes the way of training, up to its first steps.
void measure_(Choice& c, const torch::Device& device, const std::vector<std::string>& overrides) {
  config::Document document =
      config::Document::parse(to_toml(c.suggestion, {}), "the chosen settings");
  for (const std::string& assignment : overrides) document.set(assignment);
  Experiment experiment = read_experiment(document);
  data::Split data;
  {
    const QuietLog quiet;
    resolve_precision(experiment, device);
    data = open_data(experiment, document);
    resolve_unet(experiment, document, *data.training);
    check_trainable(experiment, document, true, false);
  }
  c.measured = dry_run(experiment, *data.training, device, {}, 10, kMeasuring);
  c.device = fmt::format(
      "{} on {}",
      nn::describe_arithmetic(experiment.train.precision, experiment.train.deterministic, device),
      describe_device(device));
}

int64_t image_size(const Choice& c) {
  return c.suggestion.experiment.data.image_size.value().height;
}

// "40 to 600 pixels on the shorter side"
std::string describe_sizes(const data::SizeRange& s) {
  if (s.min_height == s.max_height && s.min_width == s.max_width)
    return fmt::format("{}x{}", s.min_height, s.min_width);
  return fmt::format("{}x{} to {}x{}", s.min_height, s.min_width, s.max_height, s.max_width);
}

std::string describe_pictures(const Choice& c) {
  const Facts& f = c.facts;
  return fmt::format("{}: {}, {}, {}{}", f.path.string(), counted(f.count, "picture"),
                     describe_sizes(f.sizes), f.coloured ? "colours" : "grey",
                     c.classes > 1 ? fmt::format(", {} classes", c.classes) : "");
}

std::string describe_length(const Choice& c) {
  return fmt::format("{} of {}, about {}: {}", counted(c.suggestion.experiment.train.steps, "step"),
                     counted(c.suggestion.experiment.train.batch_size, "picture"),
                     format_duration(suggested_seconds(c.suggestion, c.facts, c.measured)),
                     reason_for(c.suggestion, "train.steps"));
}

std::string with_reason(const Choice& c, const std::string& value, const std::string& key) {
  return value + ": " + reason_for(c.suggestion, key);
}

}  // namespace

Choice choose_settings(const ChoiceRequest& request, const std::string& command,
                       const std::vector<std::string>& overrides) {
  const torch::Device device = parse_device(request.device.empty() ? "auto" : request.device);
  if (request.size) expect_possible_size(*request.size);
  Choice c = look_at(request, device);
  c.suggestion = suggest(c.facts);
  measure_(c, device, overrides);
  const int64_t size = affordable_size(c.suggestion, c.facts, c.measured);
  if (size < image_size(c)) {
    c.suggestion = suggest(c.facts, size);
    measure_(c, device, overrides);
  }
  fit_to_time_(c.suggestion, c.facts, c.measured);
  c.text = to_toml(c.suggestion, {command, "Pictures: " + describe_pictures(c) + ".",
                                  fmt::format("Network: {} parameters, measured in {}.",
                                              with_commas(c.measured.parameters), c.device),
                                  "Base: the presets in configs/. Every key: docs/config.md."});
  return c;
}

std::vector<std::pair<std::string, std::string>> rows_of(const Choice& c) {
  const Experiment& e = c.suggestion.experiment;
  std::vector<std::pair<std::string, std::string>> rows{
      {"pictures", describe_pictures(c)},
      {"device", c.device},
      {"image size", with_reason(c, fmt::format("{0}x{0}", image_size(c)), "data.image_size")},
      {"network",
       with_reason(c, with_commas(c.measured.parameters) + " parameters", "model.channels")},
      {"flip", with_reason(c, e.data.flip ? "on" : "off", "data.flip")}};
  if (e.unet.dropout > 0)
    rows.emplace_back("dropout",
                      with_reason(c, fmt::format("{}", e.unet.dropout), "model.dropout"));
  if (e.data.holdout > 0)
    rows.emplace_back("held out",
                      with_reason(c, counted(e.data.holdout, "picture"), "data.holdout"));
  rows.emplace_back("length", describe_length(c));
  for (const std::string& warning : c.suggestion.warnings) rows.emplace_back("warning", warning);
  return rows;
}

nlohmann::ordered_json to_json(const Choice& c) {
  const Experiment& e = c.suggestion.experiment;
  nlohmann::ordered_json reasons = nlohmann::ordered_json::object();
  for (const Reason& reason : c.suggestion.reasons) reasons[reason.key] = reason.text;
  return {{"pictures", c.facts.path.string()},
          {"count", c.facts.count},
          {"coloured", c.facts.coloured},
          {"classes", c.classes},
          {"device", c.device},
          {"image_size", image_size(c)},
          {"parameters", c.measured.parameters},
          {"batch_size", e.train.batch_size},
          {"steps", e.train.steps},
          {"step_seconds", c.measured.step_s},
          {"seconds", suggested_seconds(c.suggestion, c.facts, c.measured)},
          {"reasons", reasons},
          {"warnings", c.suggestion.warnings}};
}

std::string name_of_pictures(const fs::path& pictures) {
  fs::path path = fs::absolute(pictures).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  std::error_code ignored;
  std::string name = (fs::is_directory(path, ignored) ? path.filename() : path.stem()).string();
  for (char& c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && std::isalnum(byte) == 0 && c != '.' && c != '_') c = '-';
  }
  const size_t first = name.find_first_not_of("-.");
  return first == std::string::npos ? "pictures" : name.substr(first);
}

}  // namespace ddpm::train
