#include "ddpm/exchange/model_text.h"

#include "ddpm/base/utf8.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::exchange {
namespace {

/// A section of TOML, line by line.
class Section {
 public:
  explicit Section(const std::string& name) : text_("[" + name + "]\n") {}
  void number(const std::string& key, int64_t value) { line(key, fmt::format("{}", value)); }
  void number(const std::string& key, double value) { line(key, fmt::format("{}", value)); }
  void truth(const std::string& key, bool value) { line(key, value ? "true" : "false"); }
  void name(const std::string& key, const std::string& value) { line(key, quoted(value)); }
  template <class T>
  void list(const std::string& key, const std::vector<T>& values) {
    line(key, fmt::format("[{}]", fmt::join(values, ", ")));
  }
  void names(const std::string& key, std::vector<std::string> values) {
    for (std::string& value : values) value = quoted(value);
    list(key, values);
  }
  const std::string& text() const { return text_; }

 private:
  static std::string quoted(const std::string& value) {
    std::string out = "\"";
    for (const char c : as_utf8(value)) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
        out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
        continue;
      }
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    return out + '"';
  }
  void line(const std::string& key, const std::string& value) {
    text_ += fmt::format("{} = {}\n", key, value);
  }
  std::string text_;
};

std::string image_text(const nn::ModelDescription& d) {
  Section s("image");
  s.number("channels", d.unet.image.channels);
  s.number("height", d.unet.image.height);
  s.number("width", d.unet.image.width);
  s.number("classes", d.unet.image.classes);
  s.names("class_names", d.class_names);
  return s.text();
}

std::string unet_text(const nn::UNetConfig& c) {
  std::vector<int64_t> resolutions;
  for (const int64_t level : c.attention_levels)
    resolutions.push_back(std::min(c.image.height, c.image.width) >> level);
  Section s("model");
  s.number("channels", c.channels);
  s.list("channel_multipliers", c.channel_multipliers);
  s.number("blocks", c.blocks);
  s.list("attention_resolutions", resolutions);
  s.truth("mid_attention", c.mid_attention);
  s.number("head_channels", c.head_channels);
  s.number("heads", c.heads);
  s.number("dropout", c.dropout);
  s.number("groups", c.groups);
  s.number("norm_eps", c.norm_eps);
  s.name("downsample_padding", c.same_padding ? "same" : "symmetric");
  s.name("time_embedding", c.sinusoid.cosine_first ? "cos_sin" : "sin_cos");
  s.number("time_freq_shift", c.sinusoid.freq_shift);
  s.number("time_scale", c.sinusoid.scale);
  s.truth("time_scale_shift", c.time_scale_shift);
  s.name("resample", c.residual_resample ? "residual" : "conv");
  s.truth("learned_variance", c.learned_variance);
  s.truth("class_conditional", c.class_conditional);
  return s.text();
}

std::string diffusion_text(const diffusion::DiffusionConfig& c) {
  Section s("diffusion");
  s.name("schedule", diffusion::to_string(c.schedule.kind));
  s.number("timesteps", c.schedule.timesteps);
  s.number("beta_start", c.schedule.beta_start);
  s.number("beta_end", c.schedule.beta_end);
  s.number("cosine_s", c.schedule.cosine_s);
  if (c.schedule.kind == diffusion::ScheduleKind::kTable) s.list("betas", c.schedule.betas);
  s.name("prediction", diffusion::to_string(c.prediction));
  return s.text();
}

}  // namespace

std::string description_text(const nn::ModelDescription& description) {
  return image_text(description) + "\n" + unet_text(description.unet) + "\n" +
         diffusion_text(description.diffusion);
}

std::string sample_text(const sample::SampleConfig& c) {
  Section s("sample");
  s.name("method", sample::to_string(c.method));
  s.number("steps", c.steps);
  s.number("eta", c.eta);
  s.name("sigma", sample::to_string(c.sigma));
  s.name("spacing", sample::to_string(c.spacing));
  s.name("stepping", sample::to_string(c.stepping));
  s.name("clip", sample::to_string(c.clip));
  s.number("clip_range", c.clip_range);
  s.number("steps_offset", c.steps_offset);
  s.name("last_alpha", sample::to_string(c.last_alpha));
  s.number("num", c.num);
  s.number("batch", c.batch);
  return s.text();
}

void parse_model_text(std::string_view text, const std::string& name, Model& model) {
  config::Document document = config::Document::parse(text, name);
  model.description = nn::read_model_description(document);
  config::Reader sample = document.section("sample");
  model.sample = sample::read_sample_config(sample);
  document.check_all_read();
}

}  // namespace ddpm::exchange
