#include "ddpm/base/signals.h"
#include "ddpm/checkpoint/store.h"
#include "ddpm/cli/app.h"
#include "ddpm/serve/network_painter.h"
#include "ddpm/serve/server.h"
#include "flags.h"
#include "processes.h"
#include "sample_flags.h"
#include "sample_run.h"
#include "shared_flags.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

struct ServeFlags {
  pipeline::SampleOptions sample;  // checkpoint, weights, device, precision
  serve::ServerOptions server;
};

fs::path expect_source(const pipeline::SampleOptions& options) {
  const fs::path source = options.checkpoint.empty() ? "runs" : options.checkpoint;
  if (!fs::exists(source))
    throw UsageError(
        options.checkpoint.empty()
            ? "there is no folder runs here; name a run or a checkpoint"
            : fmt::format("{} does not exist; name a run or a checkpoint", source.string()));
  return source;
}

// Also a run that has no checkpoint yet.
bool is_run(const fs::path& source) {
  return fs::exists(source / "config.toml") && !fs::exists(source / "model.toml");
}

// What is watched, and what is sampled from.
struct Shown {
  fs::path run;         // "": none
  bool newest = false;  // the run's newest checkpoint, whichever it is then
};

Shown shown_of(const fs::path& source) {
  if (is_run(source)) return {source, true};
  if (exchange::is_foreign(source)) return {};
  const bool is_checkpoint = fs::exists(source / "model.toml");  // or it is a folder of runs
  return {checkpoint::run_of(checkpoint::resolve_checkpoint(source)), !is_checkpoint};
}

std::string token_of(const std::string& flag) {
  const char* variable = std::getenv("DDPM_SERVE_TOKEN");
  return flag.empty() && variable != nullptr ? variable : flag;
}

int run_serve(ServeFlags flags) {
  StopSignal signal;
  signal.end_at_once("stopped before it served", kKilled);
  join_alone("ddpm serve", flags.sample);
  flags.server.token = token_of(flags.server.token);
  const fs::path source = expect_source(flags.sample);
  flags.sample.checkpoint = source.string();
  flags.sample.given.command = "sample";
  if (!flags.sample.weights.empty())
    flags.sample.given.flags = {{"weights", {flags.sample.weights}}};
  const Shown shown = shown_of(source);
  serve::Server server(flags.server,
                       serve::make_painter(flags.sample, shown.newest ? shown.run : fs::path()),
                       shown.run);
  signal.ask("stopping; open jobs are cancelled", StopSignal::Unsaved::kNothing);
  server.start();
  spdlog::info("open this address in a browser; Ctrl-C ends");
  fmt::print("{}\n", server.url());
  std::fflush(stdout);
  while (!signal.stop_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  server.stop();
  return kOk;
}

void add_server_flags(CLI::App& command, serve::ServerOptions& server) {
  command
      .add_option("--host", server.host,
                  "address to listen at; any but this machine's own (127.0.0.1) needs a token")
      ->type_name("ADDRESS")
      ->capture_default_str();
  command.add_option("--port", server.port, "port to listen at; 0: any free one")
      ->check(whole(0, 65535))
      ->capture_default_str();
  command
      .add_option("--token", server.token,
                  "secret that every client must show, 16 characters or more (default: the "
                  "variable DDPM_SERVE_TOKEN, which other users of the machine do not see)")
      ->type_name("TOKEN");
  command.add_option("--max-images", server.max_images, "images of a request, at most")
      ->check(whole(1, 4096))
      ->capture_default_str();
  command
      .add_option("--queue", server.queue, "requests that may wait; they are sampled one at a time")
      ->check(whole(1, 1000))
      ->capture_default_str();
}

}  // namespace

void add_serve(CLI::App& app, Command& chosen) {
  auto flags = std::make_shared<ServeFlags>();
  CLI::App* command =
      app.add_subcommand("serve", "Watch a run and sample from its network in a browser");
  command
      ->add_option("source,--ckpt", flags->sample.checkpoint,
                   "a run, or a checkpoint as for ddpm sample (default: the newest below runs/)")
      ->type_name("PATH");
  add_server_flags(*command, flags->server);
  add_weights_flag(*command, flags->sample.weights);
  add_precision_flag(*command, flags->sample.precision);
  add_sampling_device_flag(*command, flags->sample.device);
  command->footer(
      "Example: a run that another terminal trains, at http://127.0.0.1:8080/\n"
      "  ddpm serve runs/mine");
  command->callback([flags, &chosen] { chosen = [flags] { return run_serve(*flags); }; });
}

}  // namespace ddpm::cli
