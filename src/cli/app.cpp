#include "ddpm/cli/app.h"

#include "command_words.h"
#include "ddpm/base/console.h"
#include "ddpm/bench/machine.h"
#include "ddpm/train/micro_batch.h"
#include "flags.h"
#include "help.h"
#include "processes.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

// Messages go to stderr, and stdout holds only results. On a terminal each message first clears the
// progress bar.
void set_up_console() {
  auto logger = spdlog::stderr_logger_mt("ddpm");
  logger->set_pattern(console_pattern());
  spdlog::set_default_logger(logger);
}

int report(const std::string& message, int status) {
  write_to_stderr(
      fmt::format("{}ddpm: error: {}\n", stderr_is_terminal() ? "\r\033[K" : "", message));
  spdlog::apply_all([](const auto& logger) { logger->flush(); });
  return status;
}

// Usually a batch is too large.
std::string advice_for_memory(const std::string& command) {
  if (command == "sample" || command == "eval" || command == "edit" || command == "inpaint" ||
      command == "restore" || command == "interpolate" || command == "encode" ||
      command == "estimate")
    return "out of memory; lower --batch (or --num)";
  if (command == "check") return "out of memory; lower --num";
  if (command == "train" || command == "bench")
    return "out of memory; lower train.batch_size, or raise train.accumulate or set "
           "train.micro_batch = \"auto\" (less memory, same result)";
  if (command == "init") return "out of memory; give a smaller --size";
  return "out of memory";
}

// The flags of no command. The machine is looked at only if they are given.
void add_version_flags(CLI::App& app) {
  const auto json = std::make_shared<bool>(false);
  CLI::Option* as_json = app.add_flag("--json", *json, "with --version: print one line of JSON");
  as_json->needs(app.set_version_flag(
      "--version",
      [json] {
        return *json ? bench::version_json(DDPM_VERSION) : bench::version_text(DDPM_VERSION);
      },
      "print the versions of the program and its libraries, and the devices"));
}

void add_commands(CLI::App& app, Command& chosen) {
  app.description(
      "Denoising diffusion models: train a network on images, and sample new ones from it.");
  app.formatter(help_formatter());
  add_version_flags(app);
  app.require_subcommand(1);
  add_init(app, chosen);
  add_train(app, chosen);
  add_sample(app, chosen);
  add_edit(app, chosen);
  add_inpaint(app, chosen);
  add_restore(app, chosen);
  add_interpolate(app, chosen);
  add_encode(app, chosen);
  add_noise(app, chosen);
  add_data(app, chosen);
  add_estimate(app, chosen);
  add_check(app, chosen);
  add_info(app, chosen);
  add_watch(app, chosen);
  add_report(app, chosen);
  add_serve(app, chosen);
  add_convert(app, chosen);
  add_eval(app, chosen);
  add_bench(app, chosen);
  add_doctor(app, chosen);
  add_completion(app, chosen);
  add_man(app, chosen);
  app.footer(
      "Example:\n"
      "  ddpm train --config configs/quickstart.toml\n"
      "  ddpm sample --steps 50 --ddim\n"
      "ddpm COMMAND --help shows the flags of a command.");
  read_whole_numbers_as_written(app);
}

// Explains a usual mistake; else the parser's own message.
std::string refusal(const CLI::App& app, const std::vector<std::string>& arguments,
                    const CLI::ParseError& error) {
  if (arguments.empty()) return "no command was given (ddpm --help lists the commands)";
  const std::string explained = explain_refusal(app, arguments);
  if (!explained.empty()) return explained;
  std::string command = app.get_name();
  for (const std::string& word : command_words(app, arguments)) command += " " + word;
  return fmt::format("{} ({} --help lists the flags)", error.what(), command);
}

int run_command(int argc, char** argv) {
  CLI::App app("", "ddpm");
  Command chosen;
  add_commands(app, chosen);
  const std::vector<std::string> arguments =
      with_help_flag(app, std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::Success& request) {  // --help, --version
    std::ostringstream text;  // std::cout would lose the reason if it cannot be written
    const int status = app.exit(request, text, text);
    fmt::print("{}", text.str());
    return status;
  } catch (const CLI::ParseError& error) {
    return report(refusal(app, arguments, error), kUsage);
  }
  try {
    return chosen();
  } catch (const ConfigError& error) {
    return report(error.what(), kUsage);
  } catch (const UsageError& error) {
    return report(error.what(), kUsage);
  } catch (const Error& error) {
    return report(error.what(), kFailure);
  } catch (const std::filesystem::filesystem_error& error) {  // a path that no other code checked
    return report(fmt::format("\"{}\": {}", error.path1().string(), error.code().message()),
                  kFailure);
  } catch (const std::exception& error) {
    if (std::ferror(stdout) != 0) return kOk;  // run reports it
    if (train::is_out_of_memory(error))
      return report(advice_for_memory(argc > 1 ? argv[1] : ""), kFailure);
    // Probably not a user's mistake. The full message helps to fix the program.
    return report(fmt::format("internal error: {}", error.what()), kFailure);
  }
}

}  // namespace

int run(int argc, char** argv) {
  secure_standard_streams();
  set_up_console();
  const int status = run_command(argc, argv);
  const std::string problem = flush_results();
  return problem.empty() || status != kOk ? status : report(problem, kFailure);
}

}  // namespace ddpm::cli
