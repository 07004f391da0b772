#include "ddpm/base/console.h"
#include "ddpm/base/error.h"
#include "ddpm/base/signals.h"
#include "ddpm/cli/app.h"
#include "ddpm/train/run_view.h"
#include "flags.h"

#include <chrono>
#include <thread>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace ddpm::cli {
namespace {

struct WatchOptions {
  std::string run;
  double every = 2.0;
  bool once = false;
};

// Redraws its lines in place on a terminal.
class Screen {
 public:
  void show(const std::vector<std::string>& lines) {
    std::string text = drawn_ > 0 ? fmt::format("\033[{}A", drawn_) : "";
    for (const std::string& line : lines) text += "\r\033[K" + line + "\n";
    for (size_t i = lines.size(); i < drawn_; ++i) text += "\r\033[K\n";
    drawn_ = std::max(drawn_, lines.size());
    write_to_stderr(text);
  }

 private:
  size_t drawn_ = 0;
};

void sleep_for(double seconds, const StopSignal& signal) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!signal.stop_requested() && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

int run_watch(const WatchOptions& o) {
  const bool terminal = stderr_is_terminal() && !o.once;
  StopSignal signal;
  signal.ask(nullptr);  // there is nothing to save
  Screen screen;
  train::RunView shown;
  for (bool first = true;; first = false) {
    const train::RunView view = train::view_of_run(o.run);
    if (terminal)
      screen.show(train::to_lines(view, o.run, terminal_width()));
    else if (o.once)
      for (const std::string& line : train::to_lines(view, o.run, 100)) fmt::print("{}\n", line);
    else if (first || view.step != shown.step || view.state != shown.state)
      fmt::print("{}\n", train::to_line(view));
    std::fflush(stdout);
    shown = view;
    if (o.once || view.state != train::RunView::State::kRunning) return kOk;
    sleep_for(o.every, signal);
    if (signal.stop_requested()) return kOk;
  }
}

}  // namespace

void add_watch(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<WatchOptions>();
  CLI::App* command =
      app.add_subcommand("watch", "Show the progress of a run that another process trains");
  command->add_option("run", o->run, "the run's folder")->type_name("RUN")->required();
  command->add_option("--every", o->every, "seconds between looks")
      ->check(CLI::Range(0.1, 3600.0))
      ->type_name("SECONDS")
      ->capture_default_str();
  command->add_flag("--once", o->once, "show it once and end");
  command->footer(
      "It ends when the run does, or with Ctrl-C, which does not stop the run.\n"
      "Example:\n"
      "  ddpm watch runs/mnist");
  command->callback([o, &chosen] { chosen = [o] { return run_watch(*o); }; });
}

}  // namespace ddpm::cli
