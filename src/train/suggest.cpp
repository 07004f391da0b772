#include "ddpm/train/suggest.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace ddpm::train {
namespace {

constexpr std::array<int64_t, 11> kUsualSizes{8, 12, 16, 20, 24, 28, 32, 48, 64, 96, 128};
constexpr int64_t kCpuSize = 32, kGpuSize = 128;
constexpr int64_t kFlipAbove = 28;         // pixels: digits and letters are smaller or grey
constexpr int64_t kFewPictures = 100;      // a network learns them by heart
constexpr int64_t kSomePictures = 5000;    // it may learn them by heart
constexpr int64_t kManyPictures = 100000;  // twice CIFAR-10, which needed dropout
constexpr int64_t kHoldoutFrom = 1000;

int64_t shorter_side(const data::SizeRange& sizes) {
  return std::min(sizes.min_height, sizes.min_width);
}

// The shorter sides of the levels: halved until 8 or less, as long as that is possible.
std::vector<int64_t> level_sides(int64_t size) {
  std::vector<int64_t> sides{size};
  while (sides.back() > 8 && sides.back() % 2 == 0) sides.push_back(sides.back() / 2);
  return sides;
}

// Widths that grow as in folder_small.toml (CPU) and folder.toml (GPU). Large images get further
// narrow levels at the top, where a level costs most.
std::vector<int64_t> multipliers(int64_t levels, bool gpu) {
  std::vector<int64_t> widths =
      gpu ? std::vector<int64_t>{1, 2, 3, 4} : std::vector<int64_t>{1, 2, 2, 2};
  if (levels <= 4) {
    widths.resize(levels);
  } else {
    widths.insert(widths.begin(), levels - 4, 1);
  }
  return widths;
}

// The largest side with at most `limit` pixels, else the smallest side.
int64_t attention_side(const std::vector<int64_t>& sides, int64_t limit) {
  for (const int64_t side : sides) {
    if (side <= limit) return side;
  }
  return sides.back();
}

void choose_network_(Suggestion& s, const Facts& f, int64_t size) {
  nn::UNetConfig& unet = s.experiment.unet;
  const std::vector<int64_t> sides = level_sides(size);
  unet.channel_multipliers = multipliers(std::ssize(sides), f.gpu);
  unet.classes_by_data = true;
  unet.attention_resolutions = {attention_side(sides, f.gpu ? 16 : 8)};
  unet.blocks = f.gpu ? 2 : 1;
  unet.groups = f.gpu ? 32 : 8;
  // Channels^2 times pixels, the cost of an image, is the same for 128 at 32 and 64 at 64.
  unet.channels = !f.gpu ? 32 : size <= 32 ? 128 : 64;
  s.reasons.push_back(
      {"model.channels",
       !f.gpu       ? "the small network of configs/folder_small.toml, for a CPU"
       : size <= 32 ? "the network of configs/folder.toml, with the width of configs/cifar10.toml"
                    : "the network of configs/folder.toml, for a GPU"});
}

void choose_dropout_(Suggestion& s, const Facts& f) {
  double& dropout = s.experiment.unet.dropout;
  if (f.count < kSomePictures) {
    dropout = 0.1;
    s.reasons.push_back(
        {"model.dropout",
         fmt::format(
             "{} {} few, and a network may learn them by heart; ddpm eval --neighbours shows "
             "whether it does",
             counted(f.count, "picture"), f.count == 1 ? "is" : "are")});
  } else if (f.gpu && f.count < kManyPictures) {
    dropout = 0.1;
    s.reasons.push_back({"model.dropout", "as for the 50,000 pictures of CIFAR-10 (Ho 2020)"});
  }
}

int64_t default_limit(const Facts& f) { return f.gpu ? kGpuSize : kCpuSize; }

std::string reason_for_size(const Facts& f, int64_t size, int64_t limit) {
  if (f.asked_size) return "as asked";
  const int64_t shorter = shorter_side(f.sizes);
  if (size > shorter) return fmt::format("the least; the smallest picture has {} pixels", shorter);
  if (limit < default_limit(f) && size == limit)
    return fmt::format("the most that fits {:g} min; --size takes another", f.minutes);
  if (shorter >= 2 * size || shorter > default_limit(f))
    return fmt::format("what a {} trains in an hour or a few; --size takes another",
                       f.gpu ? "GPU" : "CPU");
  return fmt::format("the smallest picture has {} pixels", shorter);
}

void choose_data_(Suggestion& s, const Facts& f, int64_t size, int64_t limit) {
  data::DataConfig& data = s.experiment.data;
  data.path = f.path;
  data.image_size = data::ImageSize{size, size};
  s.reasons.push_back({"data.image_size", reason_for_size(f, size, limit)});
  data.channels = f.coloured ? 3 : 1;
  data.flip = f.coloured && shorter_side(f.sizes) > kFlipAbove;
  s.reasons.push_back(
      {"data.flip",
       data.flip
           ? "photographs, as they have colours and more than 28 pixels: mirrored ones "
             "are as good. Set false for text or faces that must not be mirrored"
           : "grey or small pictures may be digits or letters, whose mirror images are wrong"});
  if (f.count >= kHoldoutFrom) {
    data.holdout = std::min<int64_t>(500, f.count / 25);
    s.reasons.push_back({"data.holdout",
                         "never trained on: if the loss on them rises while the "
                         "training loss falls, the network learns by heart"});
  }
  if (f.damaged > 0) data.on_bad_image = data::BadImages::kSkip;
  const int64_t quarter =
      static_cast<int64_t>(std::min<uint64_t>(f.memory / 4, uint64_t{4} << 30) >> 20);
  if (quarter < data.cache_mb) {
    data.cache_mb = quarter;
    s.reasons.push_back({"data.cache_mb", "a quarter of the free memory"});
  }
}

// The best recipes of docs/evaluation.md, "Which recipe?": measured on a CPU's networks only.
void choose_recipe_(Suggestion& s, bool gpu) {
  Experiment& e = s.experiment;
  if (gpu) {
    e.diffusion.schedule.kind = diffusion::ScheduleKind::kCosine;
    e.diffusion.prediction = diffusion::Prediction::kV;
    s.reasons.push_back({"diffusion.schedule",
                         "cosine (Nichol 2021) and v (Salimans 2022), as in configs/folder.toml: "
                         "clean images after far fewer steps than linear betas and eps"});
    return;
  }
  e.diffusion.schedule.kind = diffusion::ScheduleKind::kFlow;
  e.diffusion.prediction = diffusion::Prediction::kFlow;
  e.train.t_sampling = TimestepDrawing::kLogNormal;
  e.train.log_sigma_mean = 0.0;
  e.train.log_sigma_std = 1.0;
  e.sample.spacing = sample::Spacing::kTrailing;  // there is no signal at T, where chains begin
  s.reasons.push_back({"diffusion.schedule",
                       "flow matching (Lipman 2023), as in configs/folder_small.toml: the best of "
                       "six recipes in a short training on photographs, docs/evaluation.md"});
  s.reasons.push_back(
      {"train.t_sampling", "logit-normal timesteps (Esser 2024), for flow matching"});
}

void choose_training_(Suggestion& s, const Facts& f, int64_t size) {
  Experiment& e = s.experiment;
  e.run.device = f.device;
  choose_recipe_(s, f.gpu);
  e.train.precision = nn::Precision::kAuto;
  e.train.batch_size = !f.gpu ? 32 : size <= 32 ? 128 : size <= 128 ? 64 : 32;
  e.train.fit_micro_batch = f.gpu;
  e.train.steps = f.gpu ? 200000 : 3000;
  e.train.sample_count = 36;
  e.optimizer.lr = f.gpu ? 2e-4 : 1e-3;
  e.optimizer.decay = LrDecay::kCosine;
  e.sample.method = sample::kDdim;
  e.sample.steps = 50;
}

void warn_(Suggestion& s, const Facts& f) {
  if (f.count < kFewPictures) {
    s.warnings.push_back(fmt::format(
        "{} {} too few to learn from: the network will repeat them; add more of the same "
        "kind, a thousand or better some thousands",
        counted(f.count, "picture"), f.count == 1 ? "is" : "are"));
  }
  if (f.damaged > 0) {
    s.warnings.push_back(fmt::format(
        "{} cannot be read and {} left out (data.on_bad_image = \"skip\"); ddpm data lists them",
        counted(f.damaged, "picture"), f.damaged == 1 ? "is" : "are"));
  }
}

}  // namespace

std::string reason_for(const Suggestion& suggestion, const std::string& key) {
  for (const Reason& reason : suggestion.reasons) {
    if (reason.key == key) return reason.text;
  }
  return "";
}

void expect_possible_size(int64_t size) {
  if (size >= 8 && size <= 1024 && size % (size <= 64 ? 4 : 16) == 0) return;
  throw UsageError(fmt::format(
      "--size is {}; use a multiple of 4 from 8 to 64, or a multiple of 16 up to 1024", size));
}

int64_t usual_size(const data::SizeRange& sizes, int64_t limit) {
  int64_t best = kUsualSizes.front();
  for (const int64_t size : kUsualSizes) {
    if (size <= std::min(limit, shorter_side(sizes))) best = size;
  }
  return best;
}

Suggestion suggest(const Facts& f, int64_t limit) {
  if (limit == 0) limit = default_limit(f);
  const int64_t size = f.asked_size.value_or(usual_size(f.sizes, limit));
  Suggestion s;
  choose_data_(s, f, size, limit);
  choose_network_(s, f, size);
  choose_dropout_(s, f);
  choose_training_(s, f, size);
  warn_(s, f);
  return s;
}

}  // namespace ddpm::train
