#pragma once

#include "ddpm/base/error.h"

#include <functional>

namespace CLI {
class App;
}

namespace ddpm::cli {

/// Exit statuses of the program (README, "Exit status").
enum ExitStatus {
  kOk = 0,
  kFailure = 1,   ///< a file, a disk, the data or the training went wrong
  kUsage = 2,     ///< a wrong config or command line; nothing was started
  kStopped = 75,  ///< a signal stopped the work after saving; the same command resumes
  kKilled = 130,  ///< ended immediately: by a second Ctrl-C, or with nothing to save
};

/// Runs a subcommand after the command line is parsed. Returns an exit status.
using Command = std::function<int()>;

/// Each adds its subcommand and flags to the app, and sets `chosen` if the user chooses it.
void add_init(CLI::App& app, Command& chosen);
void add_train(CLI::App& app, Command& chosen);
void add_sample(CLI::App& app, Command& chosen);
void add_noise(CLI::App& app, Command& chosen);
void add_data(CLI::App& app, Command& chosen);
void add_edit(CLI::App& app, Command& chosen);
void add_inpaint(CLI::App& app, Command& chosen);
void add_restore(CLI::App& app, Command& chosen);
void add_interpolate(CLI::App& app, Command& chosen);
void add_encode(CLI::App& app, Command& chosen);
void add_estimate(CLI::App& app, Command& chosen);
void add_check(CLI::App& app, Command& chosen);
void add_info(CLI::App& app, Command& chosen);
void add_watch(CLI::App& app, Command& chosen);
void add_report(CLI::App& app, Command& chosen);
void add_serve(CLI::App& app, Command& chosen);
void add_convert(CLI::App& app, Command& chosen);
void add_eval(CLI::App& app, Command& chosen);
void add_bench(CLI::App& app, Command& chosen);
void add_doctor(CLI::App& app, Command& chosen);
void add_completion(CLI::App& app, Command& chosen);
void add_man(CLI::App& app, Command& chosen);

/// Parses the command line and runs the chosen command. Prints any ddpm::Error as one line on
/// stderr.
int run(int argc, char** argv);

}  // namespace ddpm::cli
