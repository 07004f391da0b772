#include "ddpm/train/suggest.h"

#include "tests/io/fixtures.h"

#include <cmath>

#include <gtest/gtest.h>

namespace ddpm::train {
namespace {

Facts photographs(int64_t count, int64_t shorter, bool gpu) {
  Facts f;
  f.path = "photos";
  f.count = count;
  f.sizes = {shorter, 2 * shorter, shorter + 10, 3 * shorter};
  f.coloured = true;
  f.gpu = gpu;
  return f;
}

Facts digits() {
  Facts f = photographs(10000, 28, false);
  f.sizes = {28, 28, 28, 28};
  f.coloured = false;
  return f;
}

DryRunReport report(double step_s, double forward_s = 0.05, double batch_s = 0.0) {
  DryRunReport r;
  r.step_s = step_s;
  r.forward_s = forward_s;
  r.batch_s = batch_s;
  return r;
}

int64_t side(const Suggestion& s) { return s.experiment.data.image_size.value().height; }

struct SizeCase {
  bool gpu;
  int64_t shorter;
  int64_t limit;
  int64_t size;
};

// On a CPU at most 32, on a GPU at most 128; never larger than the smallest picture.
TEST(Suggest, ImageSizeFitsThePicturesAndTheDevice) {
  for (const SizeCase& c : std::vector<SizeCase>{{false, 28, 0, 28},
                                                 {false, 31, 0, 28},
                                                 {false, 32, 0, 32},
                                                 {false, 500, 0, 32},
                                                 {false, 500, 24, 24},
                                                 {false, 27, 0, 24},
                                                 {false, 23, 0, 20},
                                                 {false, 9, 0, 8},
                                                 {false, 3, 0, 8},
                                                 {true, 500, 0, 128},
                                                 {true, 127, 0, 96},
                                                 {true, 95, 0, 64},
                                                 {true, 63, 0, 48},
                                                 {true, 32, 0, 32},
                                                 {true, 500, 70, 64}}) {
    EXPECT_EQ(side(suggest(photographs(9000, c.shorter, c.gpu), c.limit)), c.size)
        << c.gpu << " " << c.shorter << " " << c.limit;
  }
  Facts asked = photographs(9000, 500, false);
  asked.asked_size = 64;
  EXPECT_EQ(side(suggest(asked)), 64);
  EXPECT_EQ(reason_for(suggest(asked), "data.image_size"), "as asked");
}

TEST(Suggest, SizesThatTheNetworkCannotHalveAreRefused) {
  for (const int64_t size : {8, 28, 60, 64, 80, 96, 112, 1024})
    EXPECT_NO_THROW(expect_possible_size(size));
  for (const int64_t size : {4, 30, 33, 68, 100, 1040})
    EXPECT_THROW(expect_possible_size(size), UsageError);
}

// Mirrored digits are other signs; only coloured pictures above 28 pixels are mirrored.
TEST(Suggest, FlipsOnlyPhotographs) {
  EXPECT_FALSE(suggest(digits()).experiment.data.flip);
  EXPECT_TRUE(suggest(photographs(9000, 32, false)).experiment.data.flip);
  EXPECT_FALSE(suggest(photographs(9000, 28, false)).experiment.data.flip);
  Facts grey = photographs(9000, 200, false);
  grey.coloured = false;
  EXPECT_FALSE(suggest(grey).experiment.data.flip);
  EXPECT_EQ(suggest(grey).experiment.data.channels, 1);
  EXPECT_EQ(suggest(photographs(9000, 32, false)).experiment.data.channels, 3);
}

TEST(Suggest, FewPicturesGetDropoutAndAWarningAndManyAHoldout) {
  const auto at = [](int64_t count, bool gpu) { return suggest(photographs(count, 200, gpu)); };
  EXPECT_EQ(at(4999, false).experiment.unet.dropout, 0.1);
  EXPECT_EQ(at(5000, false).experiment.unet.dropout, 0.0);
  EXPECT_EQ(at(50000, true).experiment.unet.dropout, 0.1);
  EXPECT_EQ(at(100000, true).experiment.unet.dropout, 0.0);
  EXPECT_EQ(at(99, false).warnings.size(), 1u);
  EXPECT_CONTAINS(at(99, false).warnings[0], "99 pictures are too few to learn from");
  EXPECT_TRUE(at(100, false).warnings.empty());
  EXPECT_EQ(at(999, false).experiment.data.holdout, 0);
  EXPECT_EQ(at(1000, false).experiment.data.holdout, 40);
  EXPECT_EQ(at(50000, false).experiment.data.holdout, 500);
}

TEST(Suggest, DamagedPicturesAndLittleMemoryAreRespected) {
  Facts f = photographs(9000, 200, false);
  EXPECT_EQ(suggest(f).experiment.data.on_bad_image, data::BadImages::kError);
  EXPECT_EQ(suggest(f).experiment.data.cache_mb, 4096);
  f.damaged = 1;
  f.memory = uint64_t{2} << 30;
  const Suggestion s = suggest(f);
  EXPECT_EQ(s.experiment.data.on_bad_image, data::BadImages::kSkip);
  EXPECT_EQ(s.experiment.data.cache_mb, 512);
  ASSERT_EQ(s.warnings.size(), 1u);
  EXPECT_CONTAINS(s.warnings[0], "1 picture cannot be read and is left out");
}

// The closed form: 0.93 x 3600 s, less ten grids of 2 x 50 calls for 36 images (5 s each) and ten
// held-out losses of 360 images (0.5 s each), in steps of 0.5 s: 6586, and 6500 with two digits.
TEST(FitToTime, StepsAreTheTimeLessWhatGridsAndHeldOutLossesTake) {
  const Facts f = photographs(9000, 200, false);
  const DryRunReport r = report(0.5, 0.05);
  Suggestion s = suggest(f);
  fit_to_time_(s, f, r);
  const Experiment& e = s.experiment;
  EXPECT_EQ(e.train.steps, 6500);
  EXPECT_EQ(e.train.sample_every, 650);
  EXPECT_EQ(e.train.sample_count, 36);
  EXPECT_EQ(e.train.holdout_every, 650);
  EXPECT_EQ(e.optimizer.warmup_steps, 200);
  EXPECT_EQ(e.train.checkpoint_every, 600);             // 300 s
  EXPECT_EQ(e.ema.decays, std::vector<double>{0.997});  // 1 / (0.05 x 6500) = 0.0031
  EXPECT_TRUE(s.warnings.empty());
  EXPECT_DOUBLE_EQ(suggested_seconds(s, f, r), 6500 * 0.5 + 10 * 5.0 + 10 * 0.5);
}

// Decoding a batch takes 2 s: the first epoch of 282 steps is that slow, later ones are cached.
TEST(FitToTime, DecodingSlowsTheFirstEpochOrAllOfThem) {
  Facts f = photographs(9000, 200, false);
  const DryRunReport r = report(0.5, 0.0, 2.0);
  Suggestion s = suggest(f);
  fit_to_time_(s, f, r);
  EXPECT_EQ(s.experiment.train.steps, 5800);  // 282 + (3348 - 564) / 0.5 = 5850
  f.memory = 4 << 20;                         // a cache of 1 MiB
  s = suggest(f);
  fit_to_time_(s, f, r);
  EXPECT_EQ(s.experiment.train.steps, 1600);  // 3348 / 2 = 1674
}

TEST(FitToTime, WhatDependsOnTheStepsFollowsThem) {
  for (const double minutes : {0.5, 1.0, 5.0, 60.0, 600.0, 1e5}) {
    Facts f = photographs(9000, 200, false);
    f.minutes = minutes;
    const DryRunReport r = report(0.3, 0.2);
    Suggestion s = suggest(f);
    fit_to_time_(s, f, r);
    const Experiment& e = s.experiment;
    const double decay = e.ema.decays.at(0), steps = static_cast<double>(e.train.steps);
    EXPECT_LE(e.train.steps, 800000);
    EXPECT_LE(suggested_seconds(s, f, r), 60 * minutes) << minutes;
    EXPECT_LE(decay, 0.9999);
    // It remembers a twentieth of the steps, within the rounding of its last digit.
    if (decay < 0.9999) {
      EXPECT_NEAR(1 / (1 - decay) / (0.05 * steps), 1.0, 0.5) << minutes;
    }
    EXPECT_LE(e.optimizer.warmup_steps, std::max(1.0, steps / 20));
    EXPECT_LE(e.train.checkpoint_every * 0.3, 330.0);
    EXPECT_LE(e.train.checkpoint_every, steps);
    EXPECT_LE(e.train.log_every, steps);
    EXPECT_EQ(s.warnings.size(), steps < 1500 ? 1u : 0u);
  }
}

// 0.93 x 60 s in steps of 0.5 s are 111: far fewer than 1500, so the least size of a CPU.
TEST(FitToTime, AShortTimeMeansSmallerImages) {
  Facts f = photographs(9000, 500, false);
  EXPECT_EQ(affordable_size(suggest(f), f, report(0.5)), 32);
  f.minutes = 1;
  EXPECT_EQ(affordable_size(suggest(f), f, report(0.5)), 24);
  // 1500 steps of 28x28 take 28^2 / 32^2 of those of 32x32.
  f.minutes = 60;
  EXPECT_EQ(affordable_size(suggest(f), f, report(0.93 * 3600 / 1500 * 32 * 32 / (28 * 28) * 0.99)),
            28);
  f.asked_size = 64;
  EXPECT_EQ(affordable_size(suggest(f), f, report(50.0)), 64);
  Facts gpu = photographs(9000, 500, true);
  EXPECT_EQ(affordable_size(suggest(gpu), gpu, report(0.05)), 128);
  EXPECT_EQ(affordable_size(suggest(gpu), gpu, report(0.5)), 64);  // 128 sqrt(3348 / 10000) = 74
  EXPECT_EQ(affordable_size(suggest(gpu), gpu, report(5.0)), 48);
}

// Every setting that is chosen is read back from the text as it was chosen.
TEST(SuggestionText, ReadsBackAsTheSuggestion) {
  for (const bool gpu : {false, true}) {
    for (const int64_t shorter : {8, 20, 28, 32, 50, 64, 200}) {
      Facts f = photographs(shorter * 40, shorter, gpu);
      f.path = "my \"pics\"\\\xC3\xA4.zip";
      f.device = "cpu";
      f.memory = uint64_t{3} << 30;
      f.damaged = 2;
      Suggestion s = suggest(f);
      fit_to_time_(s, f, report(0.02));
      const std::string text = to_toml(s, {"a line", "another"});
      config::Document document = config::Document::parse(text, "chosen.toml");
      const Experiment e = read_experiment(document);
      EXPECT_EQ(e.data.path, f.path);
      EXPECT_EQ(e.data.image_size, s.experiment.data.image_size);
      EXPECT_EQ(e.data.channels, 3);
      EXPECT_EQ(e.data.flip, s.experiment.data.flip);
      EXPECT_EQ(e.data.holdout, s.experiment.data.holdout);
      EXPECT_EQ(e.data.cache_mb, 768);
      EXPECT_EQ(e.data.on_bad_image, data::BadImages::kSkip);
      EXPECT_EQ(e.unet, s.experiment.unet);
      EXPECT_EQ(e.diffusion, s.experiment.diffusion);
      EXPECT_EQ(e.train, s.experiment.train);
      EXPECT_EQ(e.optimizer, s.experiment.optimizer);
      EXPECT_EQ(e.ema, s.experiment.ema);
      EXPECT_EQ(e.sample, s.experiment.sample);
      EXPECT_EQ(e.run, s.experiment.run);
    }
  }
}

// The networks of the presets for one's own images.
TEST(SuggestionText, NetworksAreThoseOfThePresets) {
  const auto network = [](bool gpu, int64_t shorter) {
    Facts f = photographs(9000, shorter, gpu);
    config::Document document = config::Document::parse(to_toml(suggest(f), {}), "chosen.toml");
    Experiment e = read_experiment(document);
    config::Reader model = document.section("model");
    const int64_t size = e.data.image_size.value().height;
    nn::fit_to_images_(e.unet, {3, size, size, 0}, model);
    return nn::parameter_count(*nn::UNet(e.unet));
  };
  EXPECT_EQ(network(false, 32), 1113955);  // folder_small.toml
  EXPECT_EQ(network(true, 64), 20761923);  // folder.toml
}

TEST(SuggestionText, RecipesAreThoseOfThePresets) {
  for (const bool gpu : {false, true}) {
    const Facts f = photographs(9000, 64, gpu);
    auto chosen = config::Document::parse(to_toml(suggest(f), {}), "chosen.toml");
    auto preset = config::Document::load(std::filesystem::path(DDPM_SOURCE_DIR) / "configs" /
                                         (gpu ? "folder.toml" : "folder_small.toml"));
    const Experiment a = read_experiment(chosen), b = read_experiment(preset);
    EXPECT_EQ(a.diffusion, b.diffusion);
    EXPECT_EQ(a.train.t_sampling, b.train.t_sampling);
    EXPECT_EQ(a.train.log_sigma_mean, b.train.log_sigma_mean);
    EXPECT_EQ(a.train.log_sigma_std, b.train.log_sigma_std);
    EXPECT_EQ(a.sample.spacing, b.sample.spacing);
  }
}

// Every size that --size accepts gives a network.
TEST(SuggestionText, EverySizeGivesANetwork) {
  for (const bool gpu : {false, true}) {
    for (const int64_t size : {8,  12, 16, 20,  24,  28,  36,  40,  44,  52, 60,
                               64, 80, 96, 112, 144, 176, 192, 256, 272, 512}) {
      Facts f = photographs(9000, 500, gpu);
      f.asked_size = size;
      config::Document document = config::Document::parse(to_toml(suggest(f), {}), "chosen.toml");
      Experiment e = read_experiment(document);
      config::Reader model = document.section("model");
      EXPECT_NO_THROW(nn::fit_to_images_(e.unet, {3, size, size, 0}, model)) << size;
    }
  }
}

}  // namespace
}  // namespace ddpm::train
