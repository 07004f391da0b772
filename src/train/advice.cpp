#include "ddpm/train/advice.h"

#include "ddpm/base/text.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::train {
namespace {

constexpr double kDay = 86400.0;

// Two digits are enough for a prediction.
int64_t rounded_down(double value) {
  const double unit = std::pow(10.0, std::max(0.0, std::floor(std::log10(value)) - 1.0));
  return static_cast<int64_t>(std::floor(value / unit) * unit);
}

// The setting for images of half the side, if every level can still halve them; else "".
std::string smaller_images(const Experiment& e) {
  const nn::ImageSpec& image = e.unet.image;
  const int64_t factor = int64_t{1} << (e.unet.channel_multipliers.size() - 1);
  const int64_t height = image.height / 2, width = image.width / 2;
  if (std::min(height, width) < 16 || height % factor != 0 || width % factor != 0) return "";
  return height == width ? fmt::format("data.image_size = {}", height)
                         : fmt::format("data.image_size = [{}, {}]", height, width);
}

// The setting for a network of half the width, if its groups still divide it; else "".
std::string narrower_network(const Experiment& e) {
  const int64_t half = e.unet.channels / 2;
  if (half < 16 || half % e.unet.groups != 0) return "";
  return fmt::format("model.channels = {}", half);
}

}  // namespace

std::string class_hint(const Experiment& experiment, const data::Dataset& dataset) {
  if (!experiment.unet.vector_conditional && dataset.vectors().defined())
    return "the vectors of the data are not used; set model.vector_conditional = true to train on "
           "them and to choose one when sampling";
  if (experiment.unet.class_conditional || dataset.class_count() < 2) return "";
  return fmt::format(
      "the {} classes of the data are not used; set model.class_conditional = true to train on "
      "them and to choose one when sampling",
      dataset.class_count());
}

std::vector<std::string> long_training_advice(const Experiment& experiment, int64_t steps,
                                              double seconds, const torch::Device& device) {
  if (!(seconds > kDay) || steps <= 0) return {};
  const double steps_of_a_day = static_cast<double>(steps) * kDay / seconds;
  std::vector<std::string> lines{
      "that is more than a day. To shorten it, all by --set or in the config:"};
  if (steps_of_a_day >= 1.0) {
    lines.push_back(fmt::format("fewer steps: {} more take a day (train.steps)",
                                with_commas(rounded_down(steps_of_a_day))));
  }
  // A convolution's cost is proportional to pixels x channels^2.
  const std::string images = smaller_images(experiment), network = narrower_network(experiment);
  if (!images.empty())
    lines.push_back(fmt::format("smaller images: {}, a step is up to 4 times as fast", images));
  if (!network.empty())
    lines.push_back(
        fmt::format("a narrower network: {}, a step is up to 4 times as fast", network));
  if (device.is_cpu()) {
    lines.emplace_back("a GPU (--device cuda), or a preset for CPUs: configs/folder_small.toml");
  }
  return lines;
}

std::string thread_advice(int64_t threads, int64_t cores, double used_by_others) {
  constexpr double kNoise = 0.5;  // of a core; the program's other threads need some, too
  const double left = static_cast<double>(cores) - used_by_others;
  if (threads < 2 || cores == 0 || left + kNoise > static_cast<double>(threads)) return "";
  return fmt::format(
      "other programs use {:.1f} of this machine's {} cores, and {} threads wait for each other; "
      "run.threads = {} is likely to be faster",
      used_by_others, cores, threads, std::max<int64_t>(1, static_cast<int64_t>(left + kNoise)));
}

}  // namespace ddpm::train
