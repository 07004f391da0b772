#include "ddpm/pipeline/picture_note.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/io/json_text.h"
#include "ddpm/pipeline/choices.h"
#include "ddpm/sample/sample_config.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::pipeline {
namespace {

using Json = nlohmann::ordered_json;
using Words = std::vector<std::string>;

constexpr std::array<std::string_view, 5> kCommands{"sample", "edit", "inpaint", "restore",
                                                    "interpolate"};
constexpr size_t kLongestList = 32;

// Flags of files and of printing, and those that repeat_words writes itself.
const std::set<std::string>& own_flags() {
  static const std::set<std::string> flags{
      "ckpt",      "device",       "precision",     "guide-ckpt", "out",  "continue",
      "overwrite", "grid",         "json",          "trajectory", "only", "in-batch",
      "animate",   "save-tensors", "no-provenance", "cuda-graph"};
  return flags;
}

// Flags that --method auto decides.
const std::set<std::string>& method_flags() {
  static const std::set<std::string> flags{"method",
                                           "order",
                                           "eta",
                                           "sigma",
                                           "clip",
                                           "stepping",
                                           "spacing",
                                           "dynamic-threshold",
                                           "dynamic-threshold-max"};
  return flags;
}

void add_(Words& words, const GivenFlag& flag) {
  if (flag.values.size() == 1 && flag.values[0].starts_with('-')) {
    words.push_back(fmt::format("--{}={}", flag.name, flag.values[0]));
    return;
  }
  words.push_back("--" + flag.name);
  words.insert(words.end(), flag.values.begin(), flag.values.end());
}

// What --method auto chose, by name.
void add_method_(Words& words, const sample::SampleConfig& c) {
  const auto add = [&](const std::string& name, const std::string& value) {
    add_(words, {name, {value}});
  };
  add("method", c.method);
  if (c.order > 0) add("order", fmt::format("{}", c.order));
  if (c.eta > 0) add("eta", fmt::format("{}", c.eta));
  if (c.sigma != sample::Sigma::kSmall) add("sigma", config::to_string(c.sigma));
  add("spacing", config::to_string(c.spacing));
  add("stepping", config::to_string(c.stepping));
  add("clip", config::to_string(c.clip));
  add("dynamic-threshold", fmt::format("{}", c.dynamic_threshold));
  add("dynamic-threshold-max", fmt::format("{}", c.dynamic_threshold_max));
}

// The command line of the whole set, without the flags of files. What the program chose itself (the
// newest checkpoint, "auto") is named.
Words repeat_words(const SampleOptions& options, const SamplePlan& plan) {
  Words words{options.given.command};
  add_(words, {"ckpt", {plan.network->path.string()}});
  if (plan.guide) add_(words, {"guide-ckpt", {plan.guide->path.string()}});
  const bool chosen = options.method == kAutoMethod;
  if (chosen) add_method_(words, plan.config);
  for (const GivenFlag& flag : options.given.flags) {
    if (own_flags().contains(flag.name) || (chosen && method_flags().contains(flag.name))) continue;
    add_(words, flag);
  }
  if (plan.precision != nn::Precision::kFp32)
    add_(words, {"precision", {config::to_string(plan.precision)}});
  add_(words, {"device", {plan.generate.device.is_cpu() ? "cpu" : "cuda"}});
  return words;
}

// The settings without lists that would make every file larger; the command line has them.
Json short_settings(const std::string& settings) {
  Json json = io::parsed_json(settings);
  json.erase("classes");
  for (auto item = json.begin(); item != json.end();)
    item = item->is_array() && item->size() > kLongestList ? json.erase(item) : std::next(item);
  return json;
}

bool is_plain_text(const Json& word) {
  if (!word.is_string()) return false;
  const auto& text = word.get_ref<const std::string&>();
  return std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 32 || c == 127; });
}

// Whether its command line can be shown and followed: whoever wrote the file, it is a command of
// ours, and holds nothing that a terminal obeys.
bool is_sound(const Json& note) {
  if (!note.is_object() || !note.contains("arguments") || !note["arguments"].is_array())
    return false;
  const Json& words = note["arguments"];
  if (words.empty() || !std::all_of(words.begin(), words.end(), is_plain_text)) return false;
  if (std::find(kCommands.begin(), kCommands.end(), words[0].get<std::string>()) == kCommands.end())
    return false;
  return is_plain_text(note.value("program", Json())) &&
         is_plain_text(note.value("picture", Json())) &&
         is_plain_text(note.value("checkpoint", Json())) &&
         is_plain_text(note.value("weights_file", Json())) &&
         note.value("settings", Json()).is_object();
}

std::string quoted(const std::string& word) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./,:=+@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  return single_quoted(word);
}

}  // namespace

std::string shell_line(const std::vector<std::string>& words) {
  std::vector<std::string> shown(words.size());
  std::transform(words.begin(), words.end(), shown.begin(), quoted);
  return fmt::format("{}", fmt::join(shown, " "));
}

PictureNotes::PictureNotes(const SampleOptions& options, const SamplePlan& plan)
    : on_(plan.config.provenance),
      count_(plan.config.num),
      batch_(plan.generate.batch),
      classes_(plan.classes),
      vectors_(plan.vectors),
      columns_(plan.network->description.unet.vectors),
      words_(repeat_words(options, plan)),
      common_{{"checkpoint", plan.network->path.string()},
              {"weights_file", plan.network->weights_file.filename().string()},
              {"settings", short_settings(plan.settings)}} {}

std::vector<int64_t> PictureNotes::usual_batch(int64_t image) const {
  const int64_t first = image / batch_ * batch_;
  return sample::image_range(first, std::min(batch_, count_ - first));
}

std::vector<io::PngText> PictureNotes::of_image(int64_t image,
                                                const std::vector<int64_t>& batch) const {
  Words words = words_;
  add_(words, {"only", {fmt::format("{}", image)}});
  // Batches of other sizes may sum in another order.
  if (batch != usual_batch(image)) add_(words, {"in-batch", {text_of_numbers(batch)}});
  Json note{{"picture", "image"}, {"image", image}};
  if (!classes_.empty())
    note["class"] = classes_[static_cast<size_t>(image % std::ssize(classes_))];
  if (vectors_.rows.defined() && columns_.width() <= static_cast<int64_t>(kLongestList))
    note["vector"] = vectors_.of(image, columns_);
  return texts(std::move(note), words);
}

std::vector<io::PngText> PictureNotes::of_set(const std::string& picture,
                                              const std::string& flag) const {
  Words words = words_;
  if (!flag.empty()) words.push_back(flag);
  return texts({{"picture", picture}, {"images", count_}}, words);
}

std::vector<io::PngText> PictureNotes::texts(Json note, const Words& words) const {
  if (!on_) return {};
  Json whole{{"program", std::string("ddpm ") + DDPM_VERSION}};
  whole.update(note);
  whole["arguments"] = words;
  whole.update(common_);
  // The comment is for other programs, which show it.
  return {{"Comment", as_utf8("ddpm " + shell_line(words))}, {kNoteKeyword, io::json_text(whole)}};
}

std::optional<Json> read_note(const std::vector<io::PngText>& texts, const std::string& name) {
  for (const io::PngText& text : texts) {
    if (text.keyword != kNoteKeyword) continue;
    Json note = io::json_or_discarded(text.text);
    if (!is_sound(note))
      throw IoError(name, "its note of how it was made is damaged, or not of this program");
    return note;
  }
  return std::nullopt;
}

}  // namespace ddpm::pipeline
