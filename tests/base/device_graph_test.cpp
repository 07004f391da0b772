#include "ddpm/base/device_graph.h"

#include "tests/base/tape_recorder.h"

#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace ddpm {
namespace {

constexpr int kBefore = DeviceGraph::kRunsBefore;

TEST(DeviceGraph, RunsTheWorkAFewTimesThenRecordsAndReplaysIt) {
  Tape tape;
  DeviceGraph graph("work", std::make_unique<TapeRecorder>(tape));
  int done = 0;
  for (int i = 1; i <= kBefore + 4; ++i) {
    graph.run([&] { ++done; });
    EXPECT_EQ(done, i) << "each run does the work once, the one that records it too";
    EXPECT_EQ(graph.recorded(), i > kBefore);
  }
  EXPECT_EQ(tape.prepared, kBefore);
  EXPECT_EQ(tape.recorded, 1);
  EXPECT_EQ(tape.replayed, 4);
}

TEST(DeviceGraph, RecordsAnewAfterAReset) {
  Tape tape;
  DeviceGraph graph("work", std::make_unique<TapeRecorder>(tape));
  int first = 0, second = 0;
  for (int i = 0; i < kBefore + 2; ++i) graph.run([&] { ++first; });
  graph.reset();
  EXPECT_FALSE(graph.recorded());
  for (int i = 0; i < kBefore + 2; ++i) graph.run([&] { ++second; });
  EXPECT_EQ(first, kBefore + 2);
  EXPECT_EQ(second, kBefore + 2);
  EXPECT_EQ(tape.recorded, 2);
}

TEST(DeviceGraph, GoesOnWithoutARecordWhereRecordingFails) {
  Tape tape;
  tape.failure = "operation not permitted when stream is capturing";
  DeviceGraph graph("work", std::make_unique<TapeRecorder>(tape));
  int done = 0;
  for (int i = 0; i < kBefore + 3; ++i) graph.run([&] { ++done; });
  EXPECT_EQ(done, kBefore + 3) << "the run that could not be recorded is done all the same";
  EXPECT_FALSE(graph.recorded());
  graph.reset();
  graph.run([&] { ++done; });
  EXPECT_EQ(tape.prepared, kBefore) << "it is not tried again";
  EXPECT_EQ(done, kBefore + 4);
}

TEST(DeviceGraph, IsOnlyTheWorkOnTheCpu) {
  std::string why_not;
  EXPECT_EQ(open_graph_recorder(torch::kCPU, why_not), nullptr);
  EXPECT_EQ(why_not, "cpu is no CUDA device");
  DeviceGraph graph("work", torch::Device(torch::kCPU));
  int done = 0;
  for (int i = 0; i < 10; ++i) graph.run([&] { ++done; });
  EXPECT_EQ(done, 10);
  EXPECT_FALSE(graph.recorded());
}

TEST(DeviceGraphGpu, ReplaysWithNewContentsAndSeeds) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA GPU here";
  const torch::Device device(torch::kCUDA, 0);
  const torch::Tensor x = torch::zeros({1000}, device);
  const auto work = [&] { return torch::dropout(x + 1.0, 0.5, true); };
  torch::Tensor y, z;
  DeviceGraph first("first", device), second("second", device);
  for (int64_t i = 0; i < 3 * kBefore; ++i) {
    x.fill_(static_cast<double>(i));
    torch::manual_seed(static_cast<uint64_t>(i));
    first.run([&] { y = work(); });
    if (i > kBefore) second.run([&] { z = work(); });  // recorded while the first is there
    torch::manual_seed(static_cast<uint64_t>(i));
    EXPECT_TRUE(torch::equal(y, work())) << "run " << i;
    if (i > kBefore) {
      EXPECT_TRUE(torch::equal(z, work())) << "the generator goes on; run " << i;
    }
  }
  EXPECT_TRUE(first.recorded());
  EXPECT_TRUE(second.recorded());
}

TEST(DeviceGraphGpu, IsNoWorseOffAfterARecordingThatFails) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA GPU here";
  const torch::Device device(torch::kCUDA, 0);
  const torch::Tensor x = torch::ones({1000}, device);
  double sum = 0.0;
  DeviceGraph graph("work", device);
  for (int64_t i = 0; i < kBefore + 3; ++i) {
    torch::manual_seed(7);
    graph.run([&] { sum = torch::dropout(x, 0.5, true).sum().item<double>(); });  // waits
    torch::manual_seed(7);
    EXPECT_EQ(sum, torch::dropout(x, 0.5, true).sum().item<double>()) << "run " << i;
  }
  EXPECT_FALSE(graph.recorded());
}

}  // namespace
}  // namespace ddpm
