#include "ddpm/bench/machine.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/dist/launch.h"
#include "ddpm/io/json_text.h"
#include "ddpm/kernels/device.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <vector>

#include <ATen/detail/CUDAHooksInterface.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <torch/version.h>
#include <unistd.h>

namespace ddpm::bench {
namespace {

// 91900 to "9.19.0"; before 9.0 the major number counted thousands: 8907 to "8.9.7".
std::string cudnn_text(long version) {
  const long major = version >= 90000 ? version / 10000 : version / 1000;
  return fmt::format("{}.{}.{}", major, version % (version >= 90000 ? 10000 : 1000) / 100,
                     version % 100);
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "";
}

int64_t usable_cores() {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) return CPU_COUNT(&cores);
  return std::max<int64_t>(1, sysconf(_SC_NPROCESSORS_ONLN));
}

// An architecture of CMake's list: the number, and whether it is PTX. "90a-real" is 90.
struct Architecture {
  int number = 0;
  bool ptx = false;
};

std::vector<Architecture> parse_architectures(const std::string& text) {
  std::istringstream words(text);
  std::vector<Architecture> all;
  for (std::string word; words >> word;)
    all.push_back({std::stoi(word), word.ends_with("-virtual")});
  return all;
}

std::string describe(const Processor& p) {
  return fmt::format("{}{}, {}; {}", p.name.empty() ? "" : p.name + ", ", counted(p.cores, "core"),
                     format_bytes(p.memory),
                     p.problem.empty() ? "kernels for " + p.kernels : p.problem);
}

std::string describe(const Gpu& gpu) {
  return fmt::format("{}, {}, compute capability {}", gpu.name, format_bytes(gpu.memory),
                     capability_text(gpu.capability));
}

std::string describe(const Libraries& l) {
  if (l.cuda == 0) return l.torch + " for the CPU";
  return fmt::format("{}, CUDA {}{}", l.torch, cuda_version_text(l.cuda),
                     l.cudnn.empty() ? "" : ", cuDNN " + l.cudnn);
}

nlohmann::ordered_json to_json(const Gpu& gpu, size_t index) {
  return {{"device", fmt::format("cuda:{}", index)},
          {"name", gpu.name},
          {"memory", gpu.memory},
          {"compute_capability", capability_text(gpu.capability)}};
}

}  // namespace

Libraries libraries() {
  Libraries l;
  l.torch = TORCH_VERSION;
  l.nccl = dist::nccl_version();
  l.architectures = kernels::cuda_architectures();
  const at::CUDAHooksInterface& cuda = at::detail::getCUDAHooks();
  if (!cuda.hasCUDART()) return l;
  l.cuda = static_cast<int>(cuda.versionCUDART());
  if (cuda.hasCuDNN()) l.cudnn = cudnn_text(cuda.versionCuDNN());
  return l;
}

Processor processor() {
  const auto pages = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES));
  Processor p;
  p.name = processor_name();
  p.cores = usable_cores();
  p.memory = pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  try {
    p.kernels = kernels::cpu_kernels();
  } catch (const UsageError& error) {
    p.problem = error.what();
  }
  return p;
}

std::string describe_architectures(const std::string& architectures) {
  std::vector<int> numbers;
  std::string newer;
  for (const Architecture& a : parse_architectures(architectures)) {
    if (a.ptx) {
      newer = fmt::format("; PTX {} for newer GPUs", a.number);
    } else {
      numbers.push_back(a.number);
    }
  }
  return fmt::format("{}{}", fmt::join(numbers, ", "), newer);
}

bool runs_on(const std::string& architectures, int capability) {
  const auto fits = [capability](const Architecture& a) {
    if (a.number > capability) return false;
    return a.ptx || a.number / 10 == capability / 10;
  };
  const std::vector<Architecture> all = parse_architectures(architectures);
  return std::any_of(all.begin(), all.end(), fits);
}

std::string version_text(const std::string& version) {
  const Libraries l = libraries();
  const CudaDriver driver = read_cuda_driver();
  std::string text = fmt::format("ddpm {}\n", version);
  text += table_row("LibTorch", describe(l)) + table_row("CPU", describe(processor()));
  for (size_t i = 0; i < driver.gpus.size(); ++i)
    text += table_row(fmt::format("cuda:{}", i), describe(driver.gpus[i]));
  if (driver.gpus.empty()) text += table_row("GPU", "none: " + driver.problem);
  if (driver.version > 0) {
    text += table_row("driver", fmt::format("{}for CUDA up to {}",
                                            driver.release.empty() ? "" : driver.release + ", ",
                                            cuda_version_text(driver.version)));
  }
  text += table_row("CUDA kernels", l.architectures.empty()
                                        ? "not compiled in"
                                        : "for " + describe_architectures(l.architectures));
  text += table_row("NCCL", l.nccl.empty() ? "not compiled in" : l.nccl);
  text.pop_back();
  return text;
}

std::string version_json(const std::string& version) {
  const Libraries l = libraries();
  const Processor p = processor();
  const CudaDriver driver = read_cuda_driver();
  const auto or_null = [](const std::string& text) {
    return text.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(text);
  };
  const auto cuda = [&](int number) {
    return or_null(number > 0 ? cuda_version_text(number) : "");
  };
  nlohmann::ordered_json gpus = nlohmann::ordered_json::array();
  for (size_t i = 0; i < driver.gpus.size(); ++i) gpus.push_back(to_json(driver.gpus[i], i));
  nlohmann::ordered_json architectures = nlohmann::ordered_json::array();
  for (const Architecture& a : parse_architectures(l.architectures))
    architectures.push_back(fmt::format("{}{}", a.number, a.ptx ? "+PTX" : ""));
  return io::json_text({{"ddpm", version},
                        {"libtorch", l.torch},
                        {"cuda", cuda(l.cuda)},
                        {"cudnn", or_null(l.cudnn)},
                        {"nccl", or_null(l.nccl)},
                        {"cuda_kernels", architectures},
                        {"driver",
                         {{"release", or_null(driver.release)},
                          {"cuda", cuda(driver.version)},
                          {"problem", or_null(driver.problem)}}},
                        {"cpu",
                         {{"name", or_null(p.name)},
                          {"cores", p.cores},
                          {"memory", p.memory},
                          {"kernels", or_null(p.kernels)}}},
                        {"gpus", gpus}});
}

}  // namespace ddpm::bench
