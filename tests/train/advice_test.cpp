#include "ddpm/train/advice.h"

#include <gtest/gtest.h>

namespace ddpm::train {
namespace {

Experiment experiment(int64_t side, int64_t channels) {
  Experiment e;
  e.unet.image = {3, side, side, 0};
  e.unet.channels = channels;
  e.unet.channel_multipliers = {1, 2, 3, 4};
  return e;
}

constexpr double kDay = 86400.0;

TEST(LongTrainingAdvice, IsSilentWithinADay) {
  EXPECT_TRUE(long_training_advice(experiment(64, 64), 1000, 0.9 * kDay, torch::kCPU).empty());
  EXPECT_TRUE(long_training_advice(experiment(64, 64), 0, 0.0, torch::kCPU).empty());
}

// 200,000 steps in 46 days: a day has 4,347 of them.
TEST(LongTrainingAdvice, NamesStepsImagesAndNetworkThatFit) {
  const auto lines = long_training_advice(experiment(64, 64), 200000, 46 * kDay, torch::kCPU);
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_EQ(lines[1], "fewer steps: 4,300 more take a day (train.steps)");
  EXPECT_EQ(lines[2], "smaller images: data.image_size = 32, a step is up to 4 times as fast");
  EXPECT_EQ(lines[3], "a narrower network: model.channels = 32, a step is up to 4 times as fast");
  EXPECT_NE(lines[4].find("configs/folder_small.toml"), std::string::npos);
}

// 20 is no multiple of 8 (four levels); 16 channels do not make 32 groups.
TEST(LongTrainingAdvice, LeavesOutWhatTheNetworkWouldRefuse) {
  const auto lines = long_training_advice(experiment(40, 32), 100, 2 * kDay, torch::kCUDA);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[1], "fewer steps: 50 more take a day (train.steps)");
}

TEST(ThreadAdvice, IsGivenIfOthersUseTheCoresOfTheThreads) {
  EXPECT_EQ(thread_advice(2, 2, 0.2), "");
  EXPECT_EQ(thread_advice(1, 2, 2.0), "");    // one thread waits for none
  EXPECT_EQ(thread_advice(4, 16, 11.0), "");  // there are cores for all
  EXPECT_EQ(thread_advice(2, 0, 0.0), "");    // the system does not say
  EXPECT_EQ(thread_advice(2, 2, 1.0),
            "other programs use 1.0 of this machine's 2 cores, and 2 threads wait for each other; "
            "run.threads = 1 is likely to be faster");
  EXPECT_NE(thread_advice(8, 8, 3.1).find("run.threads = 5 "), std::string::npos);
  EXPECT_NE(thread_advice(2, 2, 2.0).find("run.threads = 1 "), std::string::npos);
}

}  // namespace
}  // namespace ddpm::train
