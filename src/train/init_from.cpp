#include "ddpm/base/text.h"
#include "ddpm/data/dataset.h"
#include "ddpm/data/view.h"
#include "ddpm/train/beginning.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

namespace ddpm::train {
namespace {

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
  throw UsageError(fmt::format("--init-from {}: {}", path, reason));
}

std::string as_config_value(int64_t height, int64_t width) {
  return height == width ? fmt::format("{}", height) : fmt::format("[{}, {}]", height, width);
}

// Attention is at fixed levels. With another image size these levels have other resolutions.
void check_images(const nn::UNetConfig& network, const std::string& path,
                  const data::ImageShape& data) {
  const nn::ImageSpec& own = network.image;
  if (own.channels != data.channels) {
    refuse(path,
           fmt::format("is a network for images of {}, the data has {}; set data.channels = {}",
                       counted(own.channels, "channel"), data.channels, own.channels));
  }
  const bool same_size = own.height == data.height && own.width == data.width;
  if (same_size || network.attention_resolutions.empty()) return;
  refuse(path, fmt::format("is a network for {}x{} images, the data has {}x{}; set "
                           "data.image_size = {}",
                           own.height, own.width, data.height, data.width,
                           as_config_value(own.height, own.width)));
}

void check_classes(const data::KnownClasses& known, const std::string& path,
                   const std::vector<std::string>& names) {
  if (names.empty())
    refuse(path,
           "is a class-conditional network, and the data has no labels; use data with labels");
  if (known.count == std::ssize(names)) return;
  refuse(path,
         fmt::format("is a network for {} classes{}, the data has {} ({}); use data with the "
                     "classes of the network",
                     known.count,
                     known.names.empty() ? "" : fmt::format(" ({})", fmt::join(known.names, ", ")),
                     names.size(), fmt::join(names, ", ")));
}

}  // namespace

void set_model_sections(config::Document& document, const nn::ModelDescription& network,
                        const std::string& path) {
  const std::string origin = fmt::format("--init-from {}", path);
  const auto set_all = [&](const char* section, const std::vector<config::Setting>& settings) {
    for (const config::Setting& s : settings)
      document.set(fmt::format("{}.{}={}", section, s.key, s.value), origin);
  };
  set_all("model", config::settings_of(network.unet));
  set_all("diffusion", config::settings_of(network.diffusion));
}

data::Split with_classes_of(const nn::ModelDescription& network, const std::string& path,
                            const Experiment& experiment, data::Split data) {
  check_images(network.unet, path, data.training->shape());
  if (!network.unet.class_conditional || !experiment.unet.class_conditional) return data;
  const data::KnownClasses known{network.unet.image.classes, network.class_names};
  const std::vector<std::string> names = data.training->class_names();
  check_classes(known, path, names);
  const std::vector<int64_t> numbers = data::class_numbers(names, known);
  for (size_t i = 0; i < numbers.size() && !known.names.empty(); ++i) {
    const std::string& former = known.names[static_cast<size_t>(numbers[i])];
    if (former != as_utf8(names[i]))
      spdlog::warn("class {} was {} in {} and becomes {}", numbers[i], former, path, names[i]);
  }
  data::KnownClasses named = known;
  if (named.names.empty()) named.names = data::numbered_classes(known.count);
  for (size_t i = 0; i < numbers.size(); ++i)
    named.names[static_cast<size_t>(numbers[i])] = names[i];
  return data::relabelled(data, numbers, named);
}

void check_same_shape(const nn::ModelDescription& network, const std::string& path,
                      const nn::UNetConfig& unet) {
  constexpr std::array kWeightKeys{
      "channels",         "channel_multipliers", "blocks",
      "mid_attention",    "time_scale_shift",    "resample",
      "learned_variance", "class_conditional",   "attention_resolutions"};
  const auto own = config::settings_of(network.unet), now = config::settings_of(unet);
  for (const char* key : kWeightKeys) {
    const auto value = [&](const std::vector<config::Setting>& settings) {
      return std::find_if(settings.begin(), settings.end(),
                          [&](const config::Setting& s) { return s.key == key; })
          ->value;
    };
    if (value(own) == value(now)) continue;
    refuse(path, fmt::format("has model.{} = {}, --set says {}; leave it out", key, value(own),
                             value(now)));
  }
  const diffusion::ConditionConfig &had = network.unet.condition, &has = unet.condition;
  if (had.is_set() && (had.kind != has.kind || had.factor != has.factor))
    refuse(path, fmt::format("has model.condition = \"{}\"{}, and the config another; leave it out",
                             config::to_string(had.kind),
                             had.kind == diffusion::ConditionKind::kDownsample
                                 ? fmt::format(" with condition_factor = {}", had.factor)
                                 : ""));
  if (network.unet.self_condition && !unet.self_condition)
    refuse(path, "has model.self_condition = true, --set says false; leave it out");
  if (network.unet.self_condition && !had.is_set() && has.is_set())
    refuse(path,
           "is a self-conditioned network without a condition; train a new network, or start from "
           "one without model.self_condition");
  if (network.unet.augment_labels && !unet.augment_labels)
    refuse(path, "has model.augment_labels = true, --set says false; leave it out");
  const nn::VectorSpec &had_vectors = network.unet.vectors, &has_vectors = unet.vectors;
  if (network.unet.vector_conditional && !unet.vector_conditional)
    refuse(path, "has model.vector_conditional = true, --set says false; leave it out");
  if (network.unet.vector_conditional && had_vectors.names != has_vectors.names)
    refuse(path,
           fmt::format("reads the columns {}, the data has {}; use data.vectors with the same "
                       "columns in the same order",
                       fmt::join(had_vectors.names, ", "), fmt::join(has_vectors.names, ", ")));
  if (unet.class_conditional && unet.null_class && !network.unet.null_class)
    refuse(path,
           "has no class for \"no class\", which train.label_dropout needs; leave out "
           "train.label_dropout, or train a new network");
}

}  // namespace ddpm::train
