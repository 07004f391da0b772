#include "init_from.h"

#include "ddpm/base/text.h"
#include "ddpm/base/utf8.h"
#include "ddpm/data/array_images.h"
#include "ddpm/data/relabelled.h"
#include "ddpm/exchange/model_text.h"
#include "ddpm/train/checkpoint_store.h"

#include <algorithm>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
  throw UsageError(fmt::format("--init-from {}: {}", path, reason));
}

std::string as_config_value(int64_t height, int64_t width) {
  return height == width ? fmt::format("{}", height) : fmt::format("[{}, {}]", height, width);
}

// Attention belongs to levels, which have other resolutions with images of another size.
void check_images(const nn::UNetConfig& network, const std::string& path,
                  const data::ImageShape& data) {
  const nn::ImageSpec& own = network.image;
  if (own.channels != data.channels) {
    refuse(path,
           fmt::format("is a network for images of {}, the data has {}; set data.channels = {}",
                       counted(own.channels, "channel"), data.channels, own.channels));
  }
  const bool same_size = own.height == data.height && own.width == data.width;
  if (same_size || network.attention_levels.empty()) return;
  refuse(path, fmt::format("is a network for {}x{} images, the data has {}x{}; set "
                           "data.image_size = {}",
                           own.height, own.width, data.height, data.width,
                           as_config_value(own.height, own.width)));
}

}  // namespace

exchange::Model read_initial_network(const std::string& path) {
  if (exchange::is_foreign(path)) return exchange::read_model(path);
  return exchange::read_model(train::resolve_checkpoint(path));
}

void describe_in_(config::Document& document, const exchange::Model& network,
                  const std::string& path) {
  std::istringstream lines(exchange::description_text(network.description));
  std::string section;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('[')) section = line.substr(1, line.find(']') - 1);
    const size_t equals = line.find(" = ");
    if (equals == std::string::npos || (section != "model" && section != "diffusion")) continue;
    document.set(fmt::format("{}.{}={}", section, line.substr(0, equals), line.substr(equals + 3)),
                 fmt::format("--init-from {}", path));
  }
}

data::Split with_classes_of(const exchange::Model& network, const std::string& path,
                            const train::Experiment& experiment, data::Split data) {
  const nn::ModelDescription& own = network.description;
  check_images(own.unet, path, data.training->shape());
  if (!own.unet.class_conditional || !experiment.unet.class_conditional) return data;
  if (data.training->class_count() == 0)
    refuse(path,
           "is a class-conditional network, and the data has no labels; use data with labels");
  const data::KnownClasses known{own.unet.image.classes, own.class_names};
  const std::vector<std::string> names = data.training->class_names();
  if (known.count != data.training->class_count()) {
    refuse(path, fmt::format(
                     "is a network for {} classes{}, the data has {} ({}); use data with the "
                     "classes of the network",
                     known.count,
                     known.names.empty() ? "" : fmt::format(" ({})", fmt::join(known.names, ", ")),
                     names.size(), fmt::join(names, ", ")));
  }
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

void check_same_shape(const exchange::Model& network, const std::string& path,
                      const nn::UNetConfig& unet) {
  const nn::UNetConfig& own = network.description.unet;
  const auto check = [&](const char* key, const auto& has, const auto& wanted) {
    if (has == wanted) return;
    refuse(path, fmt::format("has model.{} = {}, --set says {}; leave it out", key, has, wanted));
  };
  check("channels", own.channels, unet.channels);
  check("channel_multipliers", own.channel_multipliers, unet.channel_multipliers);
  check("blocks", own.blocks, unet.blocks);
  check("mid_attention", own.mid_attention, unet.mid_attention);
  check("time_scale_shift", own.time_scale_shift, unet.time_scale_shift);
  const auto resample = [](const nn::UNetConfig& c) {
    return std::string(c.residual_resample ? "residual" : "conv");
  };
  check("resample", resample(own), resample(unet));
  check("learned_variance", own.learned_variance, unet.learned_variance);
  check("class_conditional", own.class_conditional, unet.class_conditional);
  const auto sides = [](const nn::UNetConfig& c) {
    std::vector<int64_t> result;
    for (const int64_t level : c.attention_levels)
      result.push_back(std::min(c.image.height, c.image.width) >> level);
    return result;
  };
  check("attention_resolutions", sides(own), sides(unet));
}

}  // namespace ddpm::cli
