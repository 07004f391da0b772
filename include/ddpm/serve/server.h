#pragma once

#include "ddpm/serve/painter.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

// Watching a run and sampling in a browser (docs/serving.md).

namespace ddpm::serve {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;         ///< 0: any free one
  std::string token = "";  ///< that every request must show; "": none
  int64_t max_images = 64;
  int64_t queue = 8;  ///< tasks that may wait
};

/// Shortest token.
inline constexpr size_t kMinToken = 16;

/// Whether only this machine reaches the address: localhost, 127.0.0.0/8 or ::1.
bool is_loopback(const std::string& host);

/// The page and the API of a network and perhaps a run. Tasks run one at a time in one thread.
class Server {
 public:
  /// `run`: the folder to watch, or "". Throws UsageError if the address is not a loopback one and
  /// there is no token, or it is too short.
  Server(const ServerOptions& options, std::unique_ptr<Painter> painter,
         const std::filesystem::path& run);
  /// Stops.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Binds the address and answers requests from now on, in threads of its own. Throws IoError.
  void start();
  /// "http://127.0.0.1:8080/"; valid after start().
  std::string url() const;
  int port() const;
  /// Cancels the tasks, ends the answers under way, and returns when all threads have ended.
  void stop();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace ddpm::serve
