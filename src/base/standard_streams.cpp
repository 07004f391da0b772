#include "ddpm/base/console.h"

#include <cerrno>
#include <cstdio>
#include <initializer_list>
#include <iostream>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

namespace ddpm {
namespace {

bool is_closed(int fd) { return ::fcntl(fd, F_GETFD) < 0 && errno == EBADF; }

// A network file system reports a full disk when a file is closed, so this closes a copy.
bool closes(int fd) {
  const int copy = ::dup(fd);
  return copy >= 0 && ::close(copy) == 0;
}

}  // namespace

void secure_standard_streams() {
  // Writing to a closed stdout must fail, as results would be lost. stderr may discard messages.
  for (const auto& [fd, flags] :
       {std::pair(0, O_WRONLY), std::pair(1, O_RDONLY), std::pair(2, O_WRONLY)}) {
    if (is_closed(fd)) ::open("/dev/null", flags);
  }
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
}

std::string flush_results() {
  errno = 0;
  std::cout.flush();  // flushes stdout as well
  const bool flushed = std::fflush(stdout) == 0;
  const bool whole = flushed && std::ferror(stdout) == 0 && (is_closed(1) || closes(1));
  if (whole) return "";
  const std::string reason =
      errno != 0 ? std::generic_category().message(errno) : "an earlier write failed";
  return fmt::format("standard output: the results cannot be written: {}; send them elsewhere",
                     reason);
}

}  // namespace ddpm
