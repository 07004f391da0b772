#pragma once

#include "ddpm/dist/world.h"

#include <chrono>
#include <cstdint>
#include <string>

namespace ddpm::dist {

/// Key-value store shared by all ranks before they are connected: a c10d::Store.
class Board {
 public:
  virtual ~Board() = default;
  virtual void set(const std::string& key, const std::string& text) = 0;
  virtual bool has(const std::string& key) = 0;
  /// Waits up to `patience` for the key. Throws if it does not appear.
  virtual std::string get(const std::string& key, std::chrono::milliseconds patience) = 0;
  /// Adds to a counter that starts at 0 and returns its value.
  virtual int64_t add(const std::string& key, int64_t amount) = 0;
  /// Sets a key that does not exist. The first of several proposals holds.
  virtual void propose(const std::string& key, const std::string& text) = 0;
};

/// Waits until all ranks of `launch` have come to `board`, each once and each with rank 0's
/// identity. A process of another run is refused, and the run keeps waiting for its own. If one of
/// its own has other settings, all ranks throw UsageError, which names them. Throws Error if a rank
/// does not come in time, or if another program answers.
void meet(Board& board, const Launch& launch, Identity identity, std::chrono::milliseconds timeout);

}  // namespace ddpm::dist
