#include "ddpm/base/signals.h"
#include "ddpm/bench/doctor.h"
#include "ddpm/cli/app.h"
#include "flags.h"
#include "shared_flags.h"

#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace ddpm::cli {
namespace {

struct DoctorFlags : bench::DoctorOptions {
  bool json = false;
};

int run_doctor(const DoctorFlags& flags) {
  const EndOnSignal ending("the checks are not complete", kKilled,
                           [&] { bench::remove_doctor_scratch(flags); });
  const auto print = [&](const bench::Finding& finding) {
    if (flags.json) return;
    fmt::print("{}", bench::to_text(finding));
    std::fflush(stdout);  // a row when it is known
  };
  const std::vector<bench::Finding> findings = bench::examine(flags, print);
  fmt::print("{}\n", flags.json ? bench::to_json(findings) : "\n" + bench::summary(findings));
  return bench::count(findings, bench::Health::kProblem) == 0 ? kOk : kFailure;
}

}  // namespace

void add_doctor(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<DoctorFlags>();
  CLI::App* command = app.add_subcommand(
      "doctor", "Check this machine: libraries, GPUs, threads, disk, data, speed; with what to do");
  command->add_option("--device", o->device, "the device to examine (default: auto)")
      ->type_name("auto|cpu|cuda|cuda:N");
  command->add_option("--data", o->data, "also read images of this data set (docs/data.md)")
      ->type_name("PATH");
  command
      ->add_option("--port", o->port,
                   "port at which processes shall meet (default: $MASTER_PORT, else 29500)")
      ->check(whole(1, 65535));
  command->add_option("--runs", o->runs, "the folder of the runs, whose disk is measured")
      ->type_name("FOLDER")
      ->capture_default_str();
  add_json_flag(*command, o->json);
  command->footer(
      "Example:\n"
      "  ddpm doctor --data PICTURES\n"
      "Exit status 1 if there is a problem.");
  command->callback([o, &chosen] { chosen = [o] { return run_doctor(*o); }; });
}

}  // namespace ddpm::cli
