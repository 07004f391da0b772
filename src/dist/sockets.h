#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <sys/socket.h>

// TCP sockets of this process, by their descriptors. c10d and gloo do not give theirs away.

namespace ddpm::dist {

/// A socket that waits for connections at `port`, of this machine alone or of all interfaces. Throws
/// Error if the port cannot be used.
int listening_at(int port, bool only_this_machine);

/// A TCP connection of this process.
struct Connection {
  int fd = -1;
  std::vector<char> peer;  ///< address of the other side, as getpeername gives it
  int own_port = 0, peer_port = 0;

  bool operator==(const Connection&) const = default;
};

/// All of them now.
std::vector<Connection> connections();
/// Those of `now` that are not in `before`.
std::vector<Connection> added(const std::vector<Connection>& now,
                              const std::vector<Connection>& before);
/// Ends the connections, for both sides, whatever waits for them: waits fail at once. The
/// descriptors stay those of their owner. A descriptor that now is something else is left alone.
void cut(const std::vector<Connection>& those) noexcept;
/// From now on a call that waits for the other side fails after `patience`, also if that machine is
/// gone without a word.
void limit_waits(const std::vector<Connection>& those, std::chrono::seconds patience);
/// From now on the system finds out within `patience` that the other machine is gone.
void watch(const std::vector<Connection>& those, std::chrono::seconds patience);

}  // namespace ddpm::dist
