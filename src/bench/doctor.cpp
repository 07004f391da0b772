#include "ddpm/bench/doctor.h"

#include "ddpm/base/device.h"
#include "ddpm/base/error.h"
#include "ddpm/base/host.h"
#include "ddpm/base/text.h"
#include "ddpm/config/names.h"
#include "ddpm/data/memory.h"
#include "ddpm/dist/launch.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"
#include "ddpm/kernels/device.h"
#include "ddpm/train/experiment.h"
#include "doctor_probes.h"
#include "scratch_folder.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace ddpm::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kColumns = 100, kFoundAt = 25;

fs::path doctor_scratch(const DoctorOptions& options) {
  return io::existing_folder(options.runs) / fmt::format(".ddpm-doctor-{}", getpid());
}

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

double load_of_last_minute() {
  double load = 0;
  std::ifstream("/proc/loadavg") >> load;
  return load;
}

uint64_t open_file_limit() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

uint64_t shared_memory_size() {
  struct statvfs system {};
  if (::statvfs("/dev/shm", &system) != 0) return 0;
  return uint64_t{system.f_blocks} * system.f_frsize;
}

Finding describe_libraries(const Libraries& l) {
  const std::string cuda = l.cuda == 0 ? "a CPU build" : "CUDA " + cuda_version_text(l.cuda);
  return {
      "libraries", Health::kOk,
      fmt::format("LibTorch {}, {}{}", l.torch, cuda, l.cudnn.empty() ? "" : ", cuDNN " + l.cudnn),
      ""};
}

// Runs the checks and keeps what they found.
class Doctor {
 public:
  Doctor(const DoctorOptions& options, const std::function<void(const Finding&)>& report)
      : options_(options), report_(report) {}

  std::vector<Finding> run() {
    choose_device();
    check_machine();
    check_processes();
    check_files();
    guard("speed", [&] {
      for (const Finding& finding : check_speed(device_)) add(finding);
    });
    return std::move(findings_);
  }

 private:
  void add(const Finding& finding) {
    findings_.push_back(finding);
    report_(finding);
  }

  // A check that cannot be carried out is a problem.
  void guard(const std::string& check, const std::function<void()>& work) {
    try {
      work();
    } catch (const std::exception& error) {
      add(from_message(check, Health::kProblem, first_line(error)));
    }
  }

  // A GPU that was asked for and cannot be used is a finding; then the CPU is examined.
  void choose_device() {
    try {
      device_ = parse_device(options_.device);
    } catch (const UsageError& error) {
      if (!options_.device.starts_with("cuda")) throw;
      add(from_message("device", Health::kProblem, error.what()));
    }
  }

  void check_machine() {
    const Libraries l = libraries();
    const CudaDriver driver = read_cuda_driver();
    const Processor p = processor();
    add(describe_libraries(l));
    add(judge_processor(p, kernels::supported_cpu_kernels()));
    add(judge_gpu(l, driver, options_.device.starts_with("cuda")));
    add(judge_nccl(l, driver.gpus.size()));
    add(judge_peers(driver));
    add(judge_threads(at::get_num_threads(), p.cores, cpu_quota(), environment("OMP_NUM_THREADS")));
    dist::set_threads(usable_threads(at::get_num_threads(), cpu_quota()));
    add(judge_load(load_of_last_minute(), p.cores));
    add(judge_memory(data::available_memory()));
    add(judge_shared_memory(shared_memory_size(), driver.gpus.size()));
    add(judge_open_files(open_file_limit()));
  }

  void check_processes() {
    dist::Launch launch;
    guard("launcher", [&] {
      launch = dist::detect_launch(dist::process_environment(), ::isatty(STDIN_FILENO) == 1);
      add({"launcher", Health::kOk, dist::describe(launch, device_), ""});
    });
    constexpr int kUsual = 29500;  // of dist::detect_launch
    const int set = std::atoi(environment("MASTER_PORT").c_str());
    const int port = options_.port.value_or(!launch.single() ? launch.master_port
                                            : set > 0        ? set
                                                             : kUsual);
    const std::string why = launch.agent_store ? "" : dist::port_problem(port, false);
    // A training of one process needs no port.
    const Health bad = options_.port || !launch.single() ? Health::kProblem : Health::kWarning;
    add(why.empty() ? Finding{"port", Health::kOk, fmt::format("{} is free", port), ""}
                    : from_message("port", bad, why));
  }

  void check_files() {
    guard("disk", [&] {
      const ScratchFolder folder(doctor_scratch(options_));
      DiskRates rates = measure_disk(folder.path());
      rates.folder = io::existing_folder(options_.runs).string();
      add(judge_disk(rates));
      guard("checkpoint", [&] { add(check_checkpoint(device_, folder.path())); });
    });
    guard("data", [&] { add(check_data(options_.data)); });
  }

  const DoctorOptions& options_;
  const std::function<void(const Finding&)>& report_;
  torch::Device device_ = torch::kCPU;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> examine(const DoctorOptions& options,
                             const std::function<void(const Finding&)>& report) {
  return Doctor(options, report).run();
}

void remove_doctor_scratch(const DoctorOptions& options) { remove_in_use(doctor_scratch(options)); }

int64_t count(const std::vector<Finding>& findings, Health health) {
  return std::count_if(findings.begin(), findings.end(),
                       [&](const Finding& f) { return f.health == health; });
}

std::string to_text(const Finding& f) {
  std::string text;
  const auto add = [&](std::string begin, const std::string& paragraph) {
    for (const std::string& line : wrapped(as_utf8(paragraph), kColumns - kFoundAt)) {
      text += begin + line + "\n";
      begin = std::string(kFoundAt, ' ');
    }
  };
  add(fmt::format("{:<15}{:<10}", f.check, config::to_string(f.health)), f.found);
  if (!f.advice.empty()) add(fmt::format("{:>{}}", "to do: ", kFoundAt), f.advice);
  return text;
}

std::string to_json(const std::vector<Finding>& findings) {
  nlohmann::ordered_json checks = nlohmann::ordered_json::array();
  for (const Finding& f : findings) {
    checks.push_back({{"check", f.check},
                      {"result", config::to_string(f.health)},
                      {"found", as_utf8(f.found)},
                      {"advice", as_utf8(f.advice)}});
  }
  return io::json_text({{"problems", count(findings, Health::kProblem)},
                        {"warnings", count(findings, Health::kWarning)},
                        {"checks", checks}});
}

std::string summary(const std::vector<Finding>& findings) {
  return fmt::format("{}, {}", counted(count(findings, Health::kProblem), "problem"),
                     counted(count(findings, Health::kWarning), "warning"));
}

}  // namespace ddpm::bench
