#include "ddpm/checkpoint/run_lock.h"

#include "ddpm/base/error.h"
#include "ddpm/base/host.h"
#include "ddpm/io/file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <unistd.h>

namespace ddpm::checkpoint {
namespace {

// The first line of the lock file, which its holder wrote.
std::string holder(int fd) {
  std::array<char, 512> text{};
  const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
  const std::string line(text.data(), size > 0 ? static_cast<size_t>(size) : 0);
  return line.empty() ? "another process" : line.substr(0, line.find('\n'));
}

int try_lock(int fd, int operation) {
  int result = 0;
  do {
    result = ::flock(fd, operation | LOCK_NB);
  } while (result < 0 && errno == EINTR);
  return result;
}

[[noreturn]] void fail_in_use(const std::filesystem::path& run, int fd) {
  const std::string who = holder(fd);
  ::close(fd);
  throw IoError(
      run, fmt::format("is in use by {}; wait for it, stop it, or choose another folder", who));
}

}  // namespace

void RunLock::expect_free(const std::filesystem::path& run) {
  const int fd = ::open((run / "run.lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (try_lock(fd, LOCK_SH) < 0 && errno == EWOULDBLOCK) fail_in_use(run, fd);
  ::close(fd);
}

RunLock::RunLock(const std::filesystem::path& run, const std::string& name) {
  const std::filesystem::path path = run / name;
  fd_ = static_cast<int>(io::checked_syscall(
      "open", path, {}, [&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666); }));
  const int result = try_lock(fd_, LOCK_EX);
  if (result < 0 && errno == EWOULDBLOCK) fail_in_use(run, std::exchange(fd_, -1));
  if (result < 0) {
    // Some network file systems do not support locks. Then the run continues without one.
    spdlog::warn("{} cannot be locked ({}); do not start a second run there", path.string(),
                 std::generic_category().message(errno));
  }
  const std::string text = fmt::format("process {} on {}\n", ::getpid(), host_name());
  const bool written = ::ftruncate(fd_, 0) == 0 && ::pwrite(fd_, text.data(), text.size(), 0) ==
                                                       static_cast<ssize_t>(text.size());
  if (!written) spdlog::warn("{} cannot be written; the lock itself holds", path.string());
}

RunLock::~RunLock() {
  // The file is not removed. Otherwise a second process could hold the removed file's lock while a
  // third process locks a new file.
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace ddpm::checkpoint
