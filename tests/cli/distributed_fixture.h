#pragma once

#include "ddpm/io/safetensors.h"
#include "tests/cli/fixture.h"
#include "tests/dist/free_port.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm {

// Gradients are summed in another order by another number of processes: 1e-16 a sum in float64,
// which Adam's divisions and the steps make larger. Another batch or other noise shows above 1e-4.
inline constexpr double kTolerance = 1e-10;
inline constexpr double kStep = 1e-3;  // tiny.toml's optimizer.lr

/// Training runs of several processes on this machine.
class Distributed : public CliTest {
 protected:
  using Processes = std::vector<std::unique_ptr<Program>>;

  // tiny.toml without dropout, which draws by the rank, in float64.
  static std::vector<std::string> command(const std::string& out,
                                          const std::vector<std::string>& more) {
    std::vector<std::string> words{"train",           "--config", "tiny.toml",
                                   "--out",           out,        "--set",
                                   "model.dropout=0", "--set",    "train.precision=fp64"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  static std::vector<std::string> rank_environment(int rank, int ranks, const std::string& port) {
    return {"RANK=" + std::to_string(rank),
            "WORLD_SIZE=" + std::to_string(ranks),
            "LOCAL_RANK=" + std::to_string(rank),
            "LOCAL_WORLD_SIZE=" + std::to_string(ranks),
            "MASTER_ADDR=127.0.0.1",
            "MASTER_PORT=" + port};
  }

  // `ranks` processes that find each other by RANK and WORLD_SIZE, at `port` or at a free one.
  Processes start(int ranks, const std::string& out, const std::vector<std::string>& more = {},
                  std::string port = "") {
    if (port.empty()) port = std::to_string(free_port());
    Processes processes;
    for (int rank = 0; rank < ranks; ++rank) {
      processes.push_back(std::make_unique<Program>(folder_.path(), command(out, more),
                                                    rank_environment(rank, ranks, port)));
    }
    return processes;
  }

  void train_on(int ranks, const std::string& out, const std::vector<std::string>& more = {}) {
    const Processes processes = start(ranks, out, more);
    for (int rank = 0; rank < ranks; ++rank) {
      const ProgramResult result = processes[rank]->wait();
      ASSERT_EQ(result.status, 0) << "rank " << rank << ": " << result.err;
      if (rank > 0) {
        EXPECT_EQ(result.err, "") << "only rank 0 reports";
      }
    }
  }

  void train_alone(const std::string& out, const std::vector<std::string>& more = {}) {
    const ProgramResult result = run(command(out, more));
    ASSERT_EQ(result.status, 0) << result.err;
  }

  // The largest difference over a file's tensors, each relative to its largest element or, where
  // that is less, to what one step moves a weight. The keys' biases are left out: their gradient is
  // 0 (softmax ignores them), so that Adam makes whole steps of rounding errors alone.
  static double difference(const std::filesystem::path& a, const std::filesystem::path& b) {
    const auto left = io::SafetensorsFile::open(a), right = io::SafetensorsFile::open(b);
    double largest = 0.0;
    for (const auto& name : left.names()) {
      if (name.ends_with("to_k.bias")) continue;
      const torch::Tensor x = left.get(name), y = right.get(name);
      const double scale = std::max(x.abs().max().item<double>(), kStep);
      largest = std::max(largest, (x - y).abs().max().item<double>() / scale);
    }
    return largest;
  }

  // The norm of the difference of all weights over that of the weights, the keys' biases left out.
  static double relative_difference(const std::filesystem::path& a,
                                    const std::filesystem::path& b) {
    const auto left = io::SafetensorsFile::open(a), right = io::SafetensorsFile::open(b);
    double difference = 0.0, whole = 0.0;
    for (const auto& name : left.names()) {
      if (name.ends_with("to_k.bias")) continue;
      const torch::Tensor x = left.get(name).to(torch::kDouble);
      difference += (x - right.get(name).to(torch::kDouble)).square().sum().item<double>();
      whole += x.square().sum().item<double>();
    }
    return std::sqrt(difference / whole);
  }

  void expect_close(const std::filesystem::path& a, const std::filesystem::path& b) {
    for (const char* name : {"model.safetensors", "ema.safetensors", "ema-2.safetensors"}) {
      const double found = difference(a / name, b / name);
      EXPECT_LE(found, kTolerance) << name << " of " << a << " and " << b;
    }
  }

  std::string metrics(const std::string& out) {
    return io::read_text(folder_ / (out + "/metrics.jsonl"));
  }
};

}  // namespace ddpm
