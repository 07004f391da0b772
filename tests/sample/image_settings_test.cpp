#include "ddpm/sample/sample_config.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace ddpm::sample {
namespace {

TEST(ImageSettings, AreAllKeysButNumAndBatch) {
  SampleConfig few, many;
  many.num = 1000;
  many.batch = 7;
  EXPECT_EQ(image_settings(few), image_settings(many));
  many.provenance = false;
  EXPECT_EQ(image_settings(few), image_settings(many));
  EXPECT_EQ(image_settings(few).size() + 3, config::to_json(few).size());
  many.eta = 0.5;
  EXPECT_NE(image_settings(few), image_settings(many));
}

TEST(ImageSettings, AShortNameHasWhatIsNotTheDefault) {
  SampleConfig config;
  config.steps = 1000;
  EXPECT_EQ(short_name(config), "ddpm-1000");
  config.method = kDdim;
  config.steps = 50;
  config.eta = 0.5;
  config.spacing = Spacing::kTrailing;
  EXPECT_EQ(short_name(config), "ddim-50-eta-0.5-trailing");
  config.num = 3;
  EXPECT_EQ(short_name(config), "ddim-50-eta-0.5-trailing");
}

}  // namespace
}  // namespace ddpm::sample
