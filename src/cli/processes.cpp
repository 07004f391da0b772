#include "processes.h"

#include "ddpm/base/console.h"
#include "ddpm/base/text.h"
#include "ddpm/dist/launch.h"
#include "ddpm/io/file.h"
#include "ddpm/train/experiment.h"

#include <sstream>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

namespace ddpm::cli {

namespace {

// Two builds may compute in another order, or give the same settings another meaning.
std::string program_version() {
  const io::FileSum sum = io::file_sum("/proc/self/exe");
  return fmt::format("{} (checksum {:08x})", DDPM_VERSION, sum.crc32c);
}

// Without the program's name and --device, which may differ between ranks.
std::string command_line() {
  std::istringstream text(io::read_text("/proc/self/cmdline"));  // each word ends with a 0
  std::vector<std::string> words;
  for (std::string word; std::getline(text, word, '\0');) words.push_back(word);
  std::string line;
  for (size_t i = 1; i < words.size(); ++i) {
    if (words[i] == "--device") {
      ++i;
    } else if (!words[i].starts_with("--device=")) {
      line += (line.empty() ? "" : " ") + words[i];
    }
  }
  return line;
}

}  // namespace

const char* console_pattern() {
  return stderr_is_terminal() ? "\r\033[K[%H:%M:%S] %^%l%$ %v" : "[%Y-%m-%d %H:%M:%S] %l %v";
}

void log_as_main() {
  spdlog::set_level(spdlog::level::info);
  spdlog::set_pattern(console_pattern());
}

dist::World join(const dist::Launch& launch, const torch::Device& device,
                 std::chrono::seconds timeout, dist::Identity identity,
                 dist::OnLostRank on_lost_rank) {
  if (device.is_cuda()) c10::impl::VirtualGuardImpl(device.type()).setDevice(device);
  if (launch.rank == 0) {
    if (!launch.single()) spdlog::info("{}", dist::describe(launch, device));
  } else {
    spdlog::set_level(spdlog::level::warn);
    spdlog::set_pattern(fmt::format("[%Y-%m-%d %H:%M:%S] %l rank {}: %v", launch.rank));
  }
  if (launch.single()) return {};
  identity.settings["the program"] = program_version();
  return {launch, device, timeout, identity, on_lost_rank};
}

dist::Launch detected_launch() {
  return dist::detect_launch(dist::process_environment(), ::isatty(STDIN_FILENO) == 1);
}

Processes join_to_sample(const dist::Launch& launch, const std::string& device_name,
                         dist::Facts settings) {
  constexpr std::chrono::hours kTimeout{24 * 7};
  const torch::Device device = train::rank_device(device_name, launch);
  dist::set_threads(dist::threads_of_rank(0, launch));
  settings["the command line"] = command_line();
  return {join(launch, device, kTimeout, {{}, std::move(settings)}), device};
}

}  // namespace ddpm::cli
