#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace ddpm::serve {

/// A run's folder as it is now, while another process trains. Any thread may call it; the files are
/// read at most once a second.
class RunWatch {
 public:
  /// What the page shows.
  struct Snapshot {
    uint64_t version = 0;  ///< another one if the text is another one
    std::string json;   ///< {run, state, step, steps, message, metrics, quality, grids, warnings}
    std::string state;  ///< of it: "running", "stopped", "finished" or "unknown"
    int64_t step = 0;
  };

  explicit RunWatch(std::filesystem::path run) : run_(std::move(run)) {}

  std::shared_ptr<const Snapshot> now();
  /// The file of a grid in now(), by its name there ("step-000000800-ema.png"). "" for every other
  /// name.
  std::filesystem::path grid(const std::string& name) const;

 private:
  std::string read(Snapshot& snapshot) const;

  const std::filesystem::path run_;
  std::mutex mutex_;
  std::shared_ptr<const Snapshot> last_;
  int64_t read_at_ms_ = 0;
};

}  // namespace ddpm::serve
