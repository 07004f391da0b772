#include "sockets.h"

#include "ddpm/base/error.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>
#include <system_error>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

namespace ddpm::dist {
namespace {

// Listens only on `address`. Returns -1 and sets errno on failure.
template <class Address>
int listening_socket(const Address& address, int family) {
  const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int yes = 1, no = 0;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (family == AF_INET6) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
  // Also listens: if two processes only bind, both succeed.
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      ::listen(fd, SOMAXCONN) == 0)
    return fd;
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

int port_of(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET)
    return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  if (address.ss_family == AF_INET6)
    return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return -1;
}

// None if the descriptor is not a TCP connection.
std::optional<Connection> connection_of(int fd) {
  sockaddr_storage own{}, peer{};
  socklen_t own_size = sizeof own, peer_size = sizeof peer;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_size) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &own_size) != 0 || port_of(peer) < 0)
    return std::nullopt;
  const char* bytes = reinterpret_cast<const char*>(&peer);
  return Connection{fd, {bytes, bytes + peer_size}, port_of(own), port_of(peer)};
}

template <class Value>
void set_option(int fd, int level, int name, const Value& value) {
  ::setsockopt(fd, level, name, &value, sizeof value);  // a failure costs only the shorter wait
}

}  // namespace

int listening_at(int port, bool only_this_machine) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(static_cast<uint16_t>(port));
  v4.sin_addr.s_addr = htonl(only_this_machine ? INADDR_LOOPBACK : INADDR_ANY);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = v4.sin_port;
  v6.sin6_addr = in6addr_any;
  int fd = only_this_machine ? -1 : listening_socket(v6, AF_INET6);
  const bool no_v6 = only_this_machine || (fd < 0 && errno != EADDRINUSE);
  if (no_v6) fd = listening_socket(v4, AF_INET);
  if (fd >= 0) return fd;
  throw Error(fmt::format(
      "port {} cannot be used to meet the other processes: {} (another training may use it); set "
      "MASTER_PORT to a free port, the same for all processes",
      port, std::generic_category().message(errno)));
}

std::vector<Connection> connections() {
  std::vector<Connection> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", ignored)) {
    const std::string name = entry.path().filename().string();
    int fd = -1;
    std::from_chars(name.data(), name.data() + name.size(), fd);
    if (const auto connection = connection_of(fd)) found.push_back(*connection);
  }
  return found;
}

std::vector<Connection> added(const std::vector<Connection>& now,
                              const std::vector<Connection>& before) {
  std::vector<Connection> result;
  std::copy_if(now.begin(), now.end(), std::back_inserter(result), [&](const Connection& c) {
    return std::find(before.begin(), before.end(), c) == before.end();
  });
  return result;
}

void cut(const std::vector<Connection>& those) noexcept {
  for (const Connection& c : those) {
    if (connection_of(c.fd) == c) ::shutdown(c.fd, SHUT_RDWR);
  }
}

void limit_waits(const std::vector<Connection>& those, std::chrono::seconds patience) {
  timeval time{};
  time.tv_sec = patience.count();
  for (const Connection& c : those) {
    set_option(c.fd, SOL_SOCKET, SO_RCVTIMEO, time);
    set_option(c.fd, SOL_SOCKET, SO_SNDTIMEO, time);
  }
  watch(those, patience);
}

void watch(const std::vector<Connection>& those, std::chrono::seconds patience) {
  const int whole = static_cast<int>(patience.count()), part = std::max(whole / 3, 1);
  for (const Connection& c : those) {
    set_option(c.fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(c.fd, IPPROTO_TCP, TCP_KEEPIDLE, part);
    set_option(c.fd, IPPROTO_TCP, TCP_KEEPINTVL, part);
    set_option(c.fd, IPPROTO_TCP, TCP_KEEPCNT, 2);
    set_option(c.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<unsigned>(whole) * 1000U);
  }
}

}  // namespace ddpm::dist
