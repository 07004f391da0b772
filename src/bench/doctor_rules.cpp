#include "doctor_rules.h"

#include "ddpm/base/host.h"
#include "ddpm/base/text.h"

#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::bench {
namespace {

constexpr uint64_t kMega = 1'000'000, kGiga = 1'000'000'000;

Finding ok(const std::string& check, const std::string& found) {
  return {check, Health::kOk, found, ""};
}
Finding warning(const std::string& check, const std::string& found, const std::string& advice) {
  return {check, Health::kWarning, found, advice};
}
Finding problem(const std::string& check, const std::string& found, const std::string& advice) {
  return {check, Health::kProblem, found, advice};
}

std::string describe_gpus(const CudaDriver& driver) {
  std::vector<std::string> all;
  for (const Gpu& gpu : driver.gpus) {
    all.push_back(fmt::format("{} ({}, {})", gpu.name, format_bytes(gpu.memory),
                              capability_text(gpu.capability)));
  }
  return fmt::format("{}", fmt::join(all, ", "));
}

// Without a GPU that CUDA can use.
Finding judge_no_gpu(const Libraries& l, const CudaDriver& driver, bool wanted) {
  const std::string check = "GPU", found = "none can be used: " + driver.problem;
  if (driver.installed) {
    const std::string hidden =
        driver.version > 0 && driver.version / 1000 < l.cuda / 1000
            ? fmt::format("update it: it runs CUDA {} at most, and LibTorch needs {}",
                          cuda_version_text(driver.version), cuda_version_text(l.cuda))
            : "run nvidia-smi; check CUDA_VISIBLE_DEVICES, and that the container was given a GPU";
    return wanted ? problem(check, found, hidden) : warning(check, found, hidden);
  }
  if (!wanted) return ok(check, "none; the CPU trains small networks on small images");
  return problem(check, found, "install NVIDIA's driver, or leave out --device");
}

// The first GPU that the compiled kernels do not run on; nullptr if there is none.
const Gpu* without_kernels(const Libraries& l, const CudaDriver& driver) {
  for (const Gpu& gpu : driver.gpus) {
    if (!runs_on(l.architectures, gpu.capability)) return &gpu;
  }
  return nullptr;
}

}  // namespace

Finding judge_processor(const Processor& p, const std::string& supported) {
  const std::string check = "CPU";
  if (!p.problem.empty()) return problem(check, p.problem, "unset it, or correct it");
  const std::string found = fmt::format("{}{}; kernels for {}", p.name.empty() ? "" : p.name + ", ",
                                        counted(p.cores, "core"), p.kernels);
  if (p.kernels != supported) {
    return warning(check, fmt::format("{}, although it supports {}", found, supported),
                   "unset DDPM_MAX_CPU_ISA");
  }
  if (p.kernels == "base") {
    return warning(check, found + " (any CPU)",
                   "a CPU with AVX2 or newer, or a GPU, is several times faster");
  }
  return ok(check, found);
}

Finding judge_gpu(const Libraries& l, const CudaDriver& driver, bool wanted) {
  const std::string check = "GPU";
  if (!driver.problem.empty()) return judge_no_gpu(l, driver, wanted);
  const std::string found = fmt::format("{}; driver {}for CUDA up to {}", describe_gpus(driver),
                                        driver.release.empty() ? "" : driver.release + ", ",
                                        cuda_version_text(driver.version));
  if (l.cuda == 0) {
    const std::string advice = "build with a LibTorch for CUDA (docs/install.md)";
    const std::string unused = found + "; LibTorch is a CPU build and does not use it";
    return wanted ? problem(check, unused, advice) : warning(check, unused, advice);
  }
  // Within one major version, an older driver runs newer programs.
  if (driver.version / 1000 < l.cuda / 1000) {
    return problem(check, found,
                   fmt::format("LibTorch needs CUDA {}: update the driver, or build with an older "
                               "LibTorch",
                               cuda_version_text(l.cuda)));
  }
  if (l.architectures.empty()) {
    return warning(check, found + "; the program's CUDA kernels are not compiled in",
                   "run scripts/setup.sh --cuda and build again: training is faster with them");
  }
  if (const Gpu* gpu = without_kernels(l, driver)) {
    return problem(check,
                   fmt::format("{}; the CUDA kernels are for {}", found,
                               describe_architectures(l.architectures)),
                   fmt::format("build with -DDDPM_CUDA_ARCHITECTURES={}", gpu->capability));
  }
  return ok(check, found);
}

Finding judge_nccl(const Libraries& l, size_t gpus) {
  const std::string check = "NCCL";
  if (!l.nccl.empty()) return ok(check, l.nccl);
  if (gpus < 2) return ok(check, "not compiled in; only several GPUs need it");
  return warning(check, "not compiled in: several GPUs exchange gradients through the CPU",
                 "build with nccl.h and cuda_runtime_api.h (docs/install.md)");
}

Finding judge_peers(const CudaDriver& driver) {
  const std::string check = "peer access";
  std::vector<std::string> without;
  for (size_t a = 0; a < driver.gpus.size(); ++a) {
    for (size_t b = a + 1; b < driver.gpus.size(); ++b) {
      if (!driver.gpus[a].peers.at(b) || !driver.gpus[b].peers.at(a))
        without.push_back(fmt::format("{}-{}", a, b));
    }
  }
  if (driver.gpus.size() < 2) return ok(check, "not needed without a second GPU");
  if (without.empty()) return ok(check, "between all GPUs");
  return warning(check,
                 fmt::format("none between GPUs {}: gradients go through the host's memory",
                             fmt::join(without, ", ")),
                 "nvidia-smi topo -p2p r says why; virtual machines and IOMMU settings often "
                 "prevent it");
}

Finding judge_threads(int64_t threads, int64_t cores, std::optional<double> quota,
                      const std::string& chosen) {
  const std::string check = "CPU threads";
  const int64_t usable = usable_threads(cores, quota);
  const std::string limit =
      quota && usable < cores ? fmt::format(", by a CPU quota of {:g}", *quota) : "";
  const std::string found =
      fmt::format("{} for {}{}", chosen.empty() ? std::min(threads, usable) : threads,
                  counted(usable, "usable core"), limit);
  if (!chosen.empty() && threads > usable) {
    return warning(check, fmt::format("{} (OMP_NUM_THREADS={})", found, chosen),
                   fmt::format("set OMP_NUM_THREADS={}, or unset it: too many threads are stopped "
                               "in turns",
                               usable));
  }
  if (!chosen.empty() && threads < usable) {
    return warning(check, fmt::format("{} (OMP_NUM_THREADS={})", found, chosen),
                   "unset OMP_NUM_THREADS to use all of them");
  }
  return ok(check, found);
}

Finding judge_load(double load, int64_t cores) {
  const std::string check = "load";
  const std::string found =
      fmt::format("{:.1f} on {} in the last minute", load, counted(cores, "core"));
  if (load < 0.5 * static_cast<double>(cores)) return ok(check, found);
  return warning(check, found, "other programs use this machine: training and times below suffer");
}

Finding judge_memory(uint64_t available) {
  const std::string check = "memory", found = format_bytes(available) + " free";
  if (available < kGiga)
    return problem(check, found, "end other programs, or raise the limit of the container");
  if (available < 4 * kGiga)
    return warning(check, found, "enough for small networks; lower data.cache_mb and batch sizes");
  return ok(check, found);
}

Finding judge_open_files(uint64_t limit) {
  const std::string check = "open files", found = fmt::format("at most {}", limit);
  if (limit < 256) return problem(check, found, "raise it: ulimit -n 4096");
  if (limit < 1024) return warning(check, found, "raise it for many processes: ulimit -n 4096");
  return ok(check, limit > uint64_t{1} << 40 ? "no limit" : found);
}

Finding judge_shared_memory(uint64_t bytes, size_t gpus) {
  constexpr uint64_t kPerGpu = 64 * kMega;
  const std::string check = "shared memory";
  const std::string found =
      bytes == 0 ? "/dev/shm does not exist" : "/dev/shm of " + format_bytes(bytes);
  if (gpus < 2) return ok(check, found + "; only several GPUs need it");
  if (bytes >= kPerGpu * gpus) return ok(check, found);
  return warning(check, found, "NCCL may fail: start the container with --shm-size=1g");
}

Finding judge_disk(const DiskRates& r) {
  constexpr double kSlow = 50e6;
  const std::string check = "disk";
  const std::string found =
      fmt::format("{}: {} written and synced at {}/s, read at {}/s; {} free", r.folder,
                  format_bytes(r.bytes), format_bytes(static_cast<uint64_t>(r.write)),
                  format_bytes(static_cast<uint64_t>(r.read)), format_bytes(r.free));
  if (r.free < kGiga)
    return problem(check, found, "free some space, or put runs on another disk with --out");
  if (r.free < 4 * kGiga) {
    return warning(check, found,
                   "checkpoints of a network for CIFAR-10 take 0.6 GB each; see train.keep_last");
  }
  if (r.write < kSlow || r.read < kSlow) {
    return warning(check, found,
                   "slow: put runs on a local disk with --out, or raise train.checkpoint_every");
  }
  return ok(check, found);
}

Finding judge_speed(const Speed& s, double expected) {
  constexpr double kNoisy = 0.25;
  const std::string found = fmt::format(
      "{} ({}); at most {} expected: its convolutions alone take {}", format_duration(s.seconds),
      s.what, format_duration(s.seconds * s.share / expected), format_duration(s.conv_seconds));
  if (s.share < expected) {
    return warning(
        s.check, found,
        "run it again on an idle machine; then ddpm bench --profile names the slow part");
  }
  if (s.spread > kNoisy) {
    return warning(s.check, fmt::format("{}; times vary by {:.0f} %", found, 100 * s.spread),
                   "other programs use the device, or its clock changes");
  }
  return ok(s.check, found);
}

}  // namespace ddpm::bench
