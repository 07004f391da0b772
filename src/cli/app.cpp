#include "ddpm/cli/app.h"

#include "ddpm/base/progress.h"
#include "ddpm/train/micro_batch.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

// Messages go to stderr, so that stdout stays for results. On a terminal each first wipes the
// progress bar.
void set_up_console() {
  auto logger = spdlog::stderr_logger_mt("ddpm");
  logger->set_pattern(stderr_is_terminal() ? "\r\033[K[%H:%M:%S] %^%l%$ %v"
                                           : "[%Y-%m-%d %H:%M:%S] %l %v");
  spdlog::set_default_logger(logger);
}

int report(const std::string& message, int status) {
  fmt::print(stderr, "{}ddpm: error: {}\n", stderr_is_terminal() ? "\r\033[K" : "", message);
  spdlog::apply_all([](const auto& logger) { logger->flush(); });
  return status;
}

// Whatever was too large: a batch, as a rule.
std::string advice_for_memory(const std::string& command) {
  if (command == "sample" || command == "eval") return "out of memory; lower --batch (or --num)";
  if (command == "train" || command == "bench")
    return "out of memory; lower train.batch_size, or raise train.accumulate or set "
           "train.micro_batch = \"auto\" (less memory, same result)";
  return "out of memory";
}

}  // namespace

int run(int argc, char** argv) {
  set_up_console();
  CLI::App app(
      "Denoising diffusion models: train, sample, inspect.\n"
      "Start with: ddpm train --config configs/quickstart.toml, then: ddpm sample --steps 50 "
      "--ddim",
      "ddpm");
  app.set_version_flag("--version", std::string("ddpm ") + DDPM_VERSION);
  app.require_subcommand(1);
  Command chosen;
  add_train(app, chosen);
  add_sample(app, chosen);
  add_noise(app, chosen);
  add_data(app, chosen);
  add_info(app, chosen);
  add_convert(app, chosen);
  add_eval(app, chosen);
  add_bench(app, chosen);

  const std::string first = argc > 1 ? argv[1] : "";
  if (!first.empty() && first[0] != '-' &&
      app.get_subcommands([&](CLI::App* c) { return c->get_name() == first; }).empty()) {
    return report(fmt::format("there is no command \"{}\" (ddpm --help lists them)", first),
                  kUsage);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& request) {  // --help, --version
    return app.exit(request);
  } catch (const CLI::ParseError& error) {
    return report(fmt::format("{} (ddpm --help lists the commands, ddpm COMMAND --help the flags)",
                              error.what()),
                  kUsage);
  }
  try {
    return chosen();
  } catch (const ConfigError& error) {
    return report(error.what(), kUsage);
  } catch (const UsageError& error) {
    return report(error.what(), kUsage);
  } catch (const Error& error) {
    return report(error.what(), kFailure);
  } catch (const std::exception& error) {
    if (train::is_out_of_memory(error))
      return report(advice_for_memory(argc > 1 ? argv[1] : ""), kFailure);
    // Not a user's mistake as far as we know: the first line says what, the rest helps to mend it.
    return report(fmt::format("internal error: {}", error.what()), kFailure);
  }
}

}  // namespace ddpm::cli
