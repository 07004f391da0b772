#include "ddpm/base/text.h"
#include "ddpm/io/json_text.h"
#include "ddpm/train/suggest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace ddpm::train {
namespace {

constexpr int kWidth = 98;

// Writes one section after another, each key below the reason for it.
class Writer {
 public:
  explicit Writer(const Suggestion& suggestion) : suggestion_(suggestion) {}

  void comment(const std::string& text) {
    for (const std::string& line : wrapped(as_utf8(text), kWidth)) text_ += "# " + line + "\n";
  }
  void section(const std::string& name) {
    text_ += fmt::format("\n[{}]\n", name);
    section_ = name;
  }
  /// `value`: as TOML. `why` if the suggestion has no reason for the key.
  void key(const std::string& name, const std::string& value, const std::string& why = "") {
    const std::string reason = reason_for(suggestion_, section_ + "." + name);
    if (const std::string& text = reason.empty() ? why : reason; !text.empty()) comment(text);
    text_ += fmt::format("{} = {}\n", name, value);
  }
  void key(const std::string& name, int64_t value, const std::string& why = "") {
    key(name, fmt::format("{}", value), why);
  }
  void key(const std::string& name, bool value) {
    key(name, std::string(value ? "true" : "false"));
  }
  // A TOML string: the escapes of JSON are among those of TOML.
  void text_key(const std::string& name, const std::string& value, const std::string& why = "") {
    key(name, io::json_text(value), why);
  }

  std::string text() const { return text_; }

 private:
  const Suggestion& suggestion_;
  std::string section_, text_;
};

void write_data(Writer& w, const data::DataConfig& data) {
  w.section("data");
  w.text_key("kind", "auto");
  w.text_key("path", data.path.string());
  w.key("image_size", data.image_size.value().height);
  w.key("channels", data.channels, data.channels == 1 ? "the pictures are grey" : "");
  w.key("flip", data.flip);
  if (data.holdout > 0) w.key("holdout", data.holdout);
  if (data.on_bad_image == data::BadImages::kSkip)
    w.text_key("on_bad_image", "skip", "some pictures cannot be read");
  if (data.cache_mb != data::DataConfig{}.cache_mb) w.key("cache_mb", data.cache_mb);
}

void write_model(Writer& w, const nn::UNetConfig& unet) {
  w.section("model");
  w.key("channels", unet.channels);
  w.key("channel_multipliers", fmt::format("[{}]", fmt::join(unet.channel_multipliers, ", ")));
  w.key("blocks", unet.blocks);
  w.key("attention_resolutions", fmt::format("[{}]", fmt::join(unet.attention_resolutions, ", ")));
  w.key("groups", unet.groups);
  if (unet.dropout > 0) w.key("dropout", fmt::format("{}", unet.dropout));
  w.text_key("class_conditional", "auto", "with class labels if the pictures have them");
}

void write_train(Writer& w, const TrainConfig& train) {
  w.section("train");
  w.key("steps", train.steps);
  w.key("batch_size", train.batch_size);
  if (train.fit_micro_batch)
    w.text_key("micro_batch", "auto",
               "in parts, with the same result, if the GPU's memory is short");
  w.text_key("precision", "auto", "bf16 where the device multiplies it");
  if (train.t_sampling == TimestepDrawing::kLogNormal) {
    w.text_key("t_sampling", config::to_string(train.t_sampling));
    w.key("log_sigma_mean", fmt::format("{}", train.log_sigma_mean));
    w.key("log_sigma_std", fmt::format("{}", train.log_sigma_std));
  }
  w.key("log_every", train.log_every);
  w.key("checkpoint_every", train.checkpoint_every);
  w.key("sample_every", train.sample_every);
  w.key("sample_count", train.sample_count);
  w.key("holdout_every", train.holdout_every);
}

}  // namespace

std::string to_toml(const Suggestion& suggestion, const std::vector<std::string>& notes) {
  const Experiment& e = suggestion.experiment;
  Writer w(suggestion);
  for (const std::string& note : notes) w.comment(note);
  if (e.run.device != "auto") {
    w.section("run");
    w.text_key("device", e.run.device);
  }
  write_data(w, e.data);
  write_model(w, e.unet);
  w.section("diffusion");
  w.text_key("schedule", config::to_string(e.diffusion.schedule.kind));
  w.text_key("prediction", config::to_string(e.diffusion.prediction));
  write_train(w, e.train);
  w.section("optimizer");
  w.key("lr", fmt::format("{}", e.optimizer.lr));
  w.key("warmup_steps", e.optimizer.warmup_steps);
  w.text_key("decay", "cosine", "falls to 0 at the last step, so that the time is used to the end");
  w.section("ema");
  w.key("decay", fmt::format("{}", e.ema.decays.front()));
  w.section("sample");
  w.text_key("method", e.sample.method);
  w.key("steps", e.sample.steps);
  return w.text();
}

}  // namespace ddpm::train
