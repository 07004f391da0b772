#include "ddpm/serve/server.h"

#include "ddpm/base/error.h"
#include "http_server.h"
#include "job_queue.h"
#include "run_watch.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include <fmt/format.h>

namespace ddpm::serve {
namespace {

void check_token(const ServerOptions& options) {
  const std::string& token = options.token;
  if (token.empty() && !is_loopback(options.host))
    throw UsageError(fmt::format(
        "--host {}: other machines reach this address, so a token is needed; set DDPM_SERVE_TOKEN, "
        "as by: export DDPM_SERVE_TOKEN=$(openssl rand -hex 16)",
        options.host));
  const auto is_plain = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '~';
  };
  if (!token.empty() &&
      (token.size() < kMinToken || !std::all_of(token.begin(), token.end(), is_plain)))
    throw UsageError(fmt::format(
        "the token must have {} or more characters, letters, digits and - _ . ~ only", kMinToken));
}

}  // namespace

// Destroyed from the last to the first: the routes before what they look at.
struct Server::Parts {
  Parts(const ServerOptions& given, std::unique_ptr<Painter> own, const std::filesystem::path& run)
      : options(given),
        painter(std::move(own)),
        queue({.waiting = given.queue}),
        watch(run.empty() ? nullptr : std::make_unique<RunWatch>(run)),
        http(options, painter.get(), queue, watch.get()) {}

  ServerOptions options;
  std::unique_ptr<Painter> painter;
  JobQueue queue;
  std::unique_ptr<RunWatch> watch;
  HttpServer http;
};

Server::Server(const ServerOptions& options, std::unique_ptr<Painter> painter,
               const std::filesystem::path& run) {
  check_token(options);
  parts_ = std::make_unique<Parts>(options, std::move(painter), run);
}

Server::~Server() { stop(); }

void Server::start() { parts_->http.start(); }

int Server::port() const { return parts_->http.port(); }

std::string Server::url() const {
  const std::string& host = parts_->options.host;
  const bool six = host.find(':') != std::string::npos;
  return fmt::format("http://{}:{}/", six ? "[" + host + "]" : host, port());
}

void Server::stop() {
  parts_->queue.stop();
  parts_->http.stop();
}

}  // namespace ddpm::serve
