#include "ddpm/base/text.h"
#include "ddpm/checkpoint/state.h"
#include "ddpm/exchange/diffusers_config.h"
#include "ddpm/exchange/write.h"
#include "ddpm/io/json_text.h"

#include <algorithm>
#include <cctype>
#include <sstream>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace ddpm::exchange {
namespace {

// A YAML string in double quotes: JSON's strings are among them (YAML 1.2).
std::string yaml_text(const std::string& text) { return io::json_text(as_utf8(text)); }

std::string front_matter(const Model& model, const CardFacts& facts) {
  const bool classes = model.description.unet.class_conditional;
  std::string text =
      "---\n"
      "# license: choose one, as in \"license: mit\", and remove this comment\n"
      "library_name: diffusers\n";
  if (!classes) text += "pipeline_tag: unconditional-image-generation\n";
  text += "tags:\n- diffusers\n- ddpm\n- diffusion\n- image-generation\n";
  if (classes) text += "- class-conditional\n";
  return text + fmt::format("model_name: {}\n---\n\n", yaml_text(facts.name));
}

std::string card_row(const std::string& key, const std::string& value) {
  return fmt::format("| {} | {} |\n", key, value);
}

// At most so many names are listed.
std::string class_list(const std::vector<std::string>& names, int64_t count) {
  constexpr size_t kListed = 100;
  std::vector<std::string> shown;
  for (size_t i = 0; i < std::min(kListed, names.size()); ++i)
    shown.push_back(fmt::format("{} {}", i, markdown_text(names[i])));
  if (names.size() > kListed) shown.emplace_back("...");
  return shown.empty() ? fmt::format("{}", count)
                       : fmt::format("{}: {}", count, fmt::join(shown, ", "));
}

std::string network_rows(const nn::UNetConfig& c, const Model& model) {
  int64_t parameters = 0;
  for (const io::NamedTensor& weight : model.weights) parameters += weight.tensor.numel();
  std::string text =
      card_row("images", fmt::format("{}x{} pixels, {}", c.image.height, c.image.width,
                                     counted(c.image.channels, "channel")));
  if (c.class_conditional)
    text += card_row("classes", class_list(model.description.class_names, c.image.classes));
  return text + card_row("network", fmt::format("UNet2DModel, {} parameters, channels {} x ({})",
                                                with_commas(parameters), c.channels,
                                                fmt::join(c.channel_multipliers, ", ")));
}

std::string diffusion_rows(const diffusion::DiffusionConfig& d) {
  const diffusion::Schedule schedule(d.schedule);
  return card_row("schedule",
                  fmt::format("{}, T = {}, alpha_bar_T {:.4g}", config::to_string(d.schedule.kind),
                              schedule.timesteps(), schedule.alpha_bar(schedule.timesteps()))) +
         card_row("prediction", config::to_string(d.prediction));
}

// Without the folder of the data, which is of no interest to others.
std::string data_of(const checkpoint::TrainingState& state) {
  const size_t colon = state.dataset.rfind(": ");
  return colon == std::string::npos ? state.dataset : state.dataset.substr(colon + 2);
}

std::string training_section(const Model& model) {
  if (!model.is_checkpoint) return "";
  const checkpoint::TrainingState s = checkpoint::read_training_state(model.path);
  if (s.step == 0) return "";  // an imported network
  return "## Training\n\n| | |\n| --- | --- |\n" +
         card_row("steps", fmt::format("{} of {} images, {} in all", with_commas(s.step),
                                       s.batch_size, with_commas(s.samples_seen))) +
         card_row("data", markdown_text(data_of(s))) +
         card_row("precision, seed", fmt::format("{}, {}", markdown_text(s.precision), s.seed)) +
         card_row("EMA decay", fmt::format("{}", fmt::join(s.ema_decays, ", "))) +
         card_row("time", format_duration(s.seconds)) +
         card_row("saved", markdown_text(s.saved_at)) + "\n";
}

std::string pipeline_class(const Model& model) {
  const std::string text = pipeline_text({model.description.diffusion, model.sample});
  return nlohmann::json::parse(text).at("_class_name");
}

std::string diffusers_usage(const Model& model) {
  const std::string obstacle = pipeline_obstacle(model);
  if (!obstacle.empty()) {
    return fmt::format(
        "With diffusers, by the program in this folder ({}):\n\n```\npython3 sample.py\n```\n\n",
        markdown_text(obstacle));
  }
  const std::string name = pipeline_class(model);
  const std::string steps = name == "DDIMPipeline" && model.sample.steps > 0
                                ? fmt::format(", num_inference_steps={}", model.sample.steps)
                                : "";
  return fmt::format(
      "With diffusers, where FOLDER is this folder:\n\n```python\nfrom diffusers import {0}\n\n"
      "pipeline = {0}.from_pretrained(\"FOLDER\")\n"
      "images = pipeline(batch_size=4{1}).images\nimages[0].save(\"sample.png\")\n```\n\n",
      name, steps);
}

// A block of code, each line indented by four spaces: no text can end it.
std::string code_block(const std::string& text) {
  std::istringstream lines(as_utf8(text));
  std::string block;
  for (std::string line; std::getline(lines, line);) block += "    " + line + "\n";
  return block + "\n";
}

}  // namespace

std::string markdown_text(const std::string& text) {
  std::string result;
  for (const char c : as_utf8(text)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < ' ' || byte == 127) {
      result += ' ';
    } else if (c == '<' || c == '&') {
      result += c == '<' ? "&lt;" : "&amp;";
    } else {
      if (std::ispunct(byte) != 0 && std::string(",;:'\"/%=?@$").find(c) == std::string::npos)
        result += '\\';
      result += c;
    }
  }
  return result;
}

std::string model_card(const Model& model, const CardFacts& facts) {
  const nn::ModelDescription& d = model.description;
  std::string text = front_matter(model, facts);
  text += fmt::format("# {}\n\n", markdown_text(facts.name));
  text += fmt::format(
      "A denoising diffusion model that generates {}images. Made by ddpm, from {}.\n\n",
      d.unet.class_conditional ? "class-conditional " : "", describe_weights(model.weights_name));
  if (!facts.grid.empty()) text += "![samples](samples.png)\n\n";
  text +=
      "| | |\n| --- | --- |\n" + network_rows(d.unet, model) + diffusion_rows(d.diffusion) + "\n";
  text += training_section(model);
  text += "## Sampling\n\n" + diffusers_usage(model);
  text += "With ddpm:\n\n```\nddpm sample --ckpt FOLDER --num 16\n```\n";
  if (!facts.evaluation.empty())
    text += "\n## Evaluation\n\nAs `ddpm eval` measured it:\n\n" + code_block(facts.evaluation);
  return text;
}

}  // namespace ddpm::exchange
