#include "ddpm/nn/unet.h"
#include "ddpm/train/dry_run.h"
#include "ddpm/train/experiment.h"

#include <string>

#include <gtest/gtest.h>

namespace ddpm::train {
namespace {

constexpr uint64_t kCifar10Bytes = 142'985'228;  // 35,746,307 float32

StepCost cifar10_on(int64_t ranks, double compute_s) {
  return cost_of_step({.ranks = ranks},
                      {.compute_s = compute_s, .gradient_bytes = kCifar10Bytes, .buckets = 7});
}

// docs/scaling.md's table was computed before there was this function.
TEST(ClusterCost, IsThatOfTheDocumentedTable) {
  const double within = 0.05e-3, share = 0.005;
  StepCost cost = cifar10_on(8, 3.8e-3);
  EXPECT_NEAR(cost.messages_s, 1.3e-3, within);
  EXPECT_NEAR(cost.exposed_s, 0.2e-3, within);
  EXPECT_NEAR(cost.efficiency, 0.95, share);
  cost = cifar10_on(64, 0.5e-3);
  EXPECT_NEAR(cost.messages_s, 7.9e-3, within);
  EXPECT_NEAR(cost.exposed_s, 7.6e-3, 0.06e-3);
  EXPECT_NEAR(cost.efficiency, 0.06, share);
  cost = cifar10_on(512, 15.1e-3);
  EXPECT_NEAR(cost.messages_s, 8.4e-3, within);
  EXPECT_NEAR(cost.exposed_s, 1.2e-3, within);
  EXPECT_NEAR(cost.efficiency, 0.93, share);
}

// A ring moves 2 (N-1)/N of the bytes; the sharded weights half of that once more, hidden by nothing.
TEST(ClusterCost, CountsTheBytesOfARing) {
  const Cluster cluster{.ranks = 4, .node_bandwidth = 1e9, .latency = 0.0};
  StepWork work{.compute_s = 0.3, .gradient_bytes = 1'000'000'000, .buckets = 5};
  EXPECT_DOUBLE_EQ(cost_of_step(cluster, work).messages_s, 1.5);
  EXPECT_DOUBLE_EQ(cost_of_step(cluster, work).exposed_s, 1.5 - 0.2);
  work.accumulate = 2;  // only the last round's backward pass hides messages
  EXPECT_DOUBLE_EQ(cost_of_step(cluster, work).exposed_s, 1.5 - 0.1);
  work.sharded = true;
  EXPECT_DOUBLE_EQ(cost_of_step(cluster, work).exposed_s, 1.5 - 0.1 + 0.75);
}

TEST(ClusterCost, OneProcessSendsNothing) {
  const StepCost cost = cifar10_on(1, 0.1);
  EXPECT_EQ(cost.messages_s, 0.0);
  EXPECT_EQ(cost.step_s, 0.1);
  EXPECT_EQ(cost.efficiency, 1.0);
}

TEST(ClusterCost, OnlyOneMachineHasTheFastLinks) {
  EXPECT_EQ((Cluster{.ranks = 8, .ranks_per_node = 8}.nodes()), 1);
  EXPECT_EQ((Cluster{.ranks = 9, .ranks_per_node = 8}.nodes()), 2);
  EXPECT_EQ((Cluster{.ranks = 8}.bandwidth()), Cluster().node_bandwidth);
  EXPECT_EQ((Cluster{.ranks = 9}.bandwidth()), Cluster().network_bandwidth);
}

TEST(ClusterCost, BucketsOfThePresets) {
  const auto buckets = [](const std::string& preset, const nn::ImageSpec& image) {
    config::Document document =
        config::Document::load(std::string(DDPM_SOURCE_DIR) + "/configs/" + preset + ".toml");
    Experiment experiment = read_experiment(document);
    config::Reader model = document.section("model");
    nn::fit_to_images_(experiment.unet, image, model);
    return count_buckets(nn::UNet(experiment.unet)->parameters());
  };
  EXPECT_EQ(buckets("cifar10", {3, 32, 32}), 7);
  EXPECT_EQ(buckets("celebahq256", {3, 256, 256}), 16);
}

// docs/scaling.md: 2.27 GB without and 1.08 GB with sharding, for 113,673,219 parameters and 8 GPUs.
TEST(ClusterCost, ShardingSavesTheShareOfTheOthers) {
  const uint64_t weights = uint64_t{113'673'219} * 4;
  EXPECT_EQ(saved_by_sharding(weights, 1, 1), 0u);
  EXPECT_NEAR(static_cast<double>(weights * 5 - saved_by_sharding(weights, 1, 8)), 1.08e9, 0.005e9);
}

}  // namespace
}  // namespace ddpm::train
