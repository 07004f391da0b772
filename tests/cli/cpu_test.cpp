#include "tests/cli/fixture.h"

#include <algorithm>
#include <filesystem>
#include <string>

namespace ddpm {
namespace {

using CpuOnly = CliTest;

// Asking the CUDA runtime whether there is a GPU, pinning memory or seeding all generators would
// open a context: some hundred megabytes of a GPU that somebody else uses. The dynamic linker's log
// shows it without a GPU: the runtime then loads the driver.
TEST_F(CpuOnly, TrainingAndSamplingOnTheCpuDoNotCallTheCudaRuntime) {
  const auto expect_no_driver = [&](const std::vector<std::string>& arguments) {
    const std::filesystem::path logs = folder_ / ("linker-" + arguments.front());
    std::filesystem::create_directory(logs);
    Program program(folder_.path(), arguments,
                    {"LD_DEBUG=files", "LD_DEBUG_OUTPUT=" + (logs / "log").string()});
    const ProgramResult result = program.wait();
    EXPECT_EQ(result.status, 0) << result.err;
    size_t lines = 0;
    for (const auto& entry : std::filesystem::directory_iterator(logs)) {
      const std::string text = io::read_text(entry.path());
      lines += static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
      for (size_t at = 0; (at = text.find("file=libcuda.so", at)) != std::string::npos; ++at) {
        const std::string line = text.substr(at, text.find('\n', at) - at);
        EXPECT_EQ(line.find("libcudart"), std::string::npos) << arguments.front() << ": " << line;
      }
    }
    EXPECT_GT(lines, 0u) << "the linker wrote no log";
  };
  expect_no_driver({"train", "--config", "tiny.toml", "--out", "run", "--device", "cpu"});
  expect_no_driver({"sample", "--ckpt", "run", "--num", "2", "--steps", "2", "--device", "cpu"});
}

}  // namespace
}  // namespace ddpm
