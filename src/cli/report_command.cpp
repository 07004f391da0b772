#include "ddpm/cli/app.h"
#include "ddpm/io/file.h"
#include "ddpm/report/report.h"
#include "flags.h"
#include "shared_flags.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

struct ReportFlags {
  std::vector<std::string> runs;
  std::string out;
};

int run_report(const ReportFlags& flags) {
  const std::vector<fs::path> runs(flags.runs.begin(), flags.runs.end());
  const fs::path file = flags.out.empty() ? runs.front() / "report.html" : fs::path(flags.out);
  for (const std::string& warning : report::write_report(runs, file)) spdlog::warn("{}", warning);
  fmt::print("{}\n", file.string());
  return kOk;
}

}  // namespace

void add_report(CLI::App& app, Command& chosen) {
  auto flags = std::make_shared<ReportFlags>();
  CLI::App* command = app.add_subcommand(
      "report",
      "Write a run, or several side by side, as one HTML page: losses, samples, settings");
  command->add_option("runs", flags->runs, "runs' folders; the first is the one to compare with")
      ->required()
      ->type_name("RUN...");
  command
      ->add_option("--out", flags->out, "the page to write (default: report.html in the first run)")
      ->type_name("FILE");
  command->footer(
      "Examples: a page to open in any browser, and two runs side by side\n"
      "  ddpm report runs/mine\n"
      "  ddpm report runs/mine runs/other --out compared.html");
  command->callback([flags, &chosen] { chosen = [flags] { return run_report(*flags); }; });
}

}  // namespace ddpm::cli
