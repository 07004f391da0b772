#pragma once

#include "ddpm/serve/server.h"
#include "job_queue.h"
#include "run_watch.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

namespace httplib {
class Server;
}

namespace ddpm::serve {

struct Routes;

/// The routes. Its handlers only look at jobs, files and texts: none waits for the network.
class HttpServer {
 public:
  /// painter, queue, watch: must outlive it; watch may be null.
  HttpServer(const ServerOptions& options, Painter* painter, JobQueue& queue, RunWatch* watch);
  ~HttpServer();

  /// Throws IoError.
  void start();
  void stop();
  int port() const { return port_; }

 private:
  friend struct Routes;

  const ServerOptions options_;
  Painter* painter_;
  JobQueue& queue_;
  RunWatch* watch_;
  int port_ = 0, socket_ = -1;
  std::atomic<bool> stopping_ = false;
  std::atomic<int64_t> streams_ = 0;  // event streams that are open
  std::unique_ptr<httplib::Server> server_;
  std::unique_ptr<Routes> routes_;
  std::thread thread_;
};

}  // namespace ddpm::serve
