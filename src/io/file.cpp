#include "ddpm/io/file.h"

#include "ddpm/base/error.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/checksum.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace ddpm::io {
namespace fs = std::filesystem;
namespace {

// Small enough to stay in the CPU cache between the checksum and the copy to or from the kernel.
constexpr size_t kPieceBytes = size_t{1} << 20;

std::string reason(int error) { return std::generic_category().message(error); }

int open_for_reading(const fs::path& path) {
  return static_cast<int>(checked_syscall(
      "open", path, {}, [&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
}

template <class Buffer>
Buffer read_all(const fs::path& path) {
  const int fd = open_for_reading(path);
  struct stat status {};
  const size_t expected =
      ::fstat(fd, &status) == 0 && status.st_size > 0 ? static_cast<size_t>(status.st_size) : 0;
  Buffer content;
  size_t filled = 0;
  try {
    // One byte more than expected, so that the end of the file is found without growing.
    for (content.resize(expected + 1);;) {
      const long got = checked_syscall("read", path, {}, [&] {
        return ::read(fd, content.data() + filled, content.size() - filled);
      });
      if (got == 0) break;
      filled += static_cast<size_t>(got);
      if (filled == content.size()) content.resize(std::max(2 * filled, kPieceBytes));
    }
  } catch (...) {
    ::close(fd);
    throw;
  }
  ::close(fd);
  content.resize(filled);
  return content;
}

// A device or a pipe, which is written to directly.
bool is_special(const fs::path& path) {
  std::error_code ignored;
  return fs::is_other(fs::status(path, ignored));
}

// Lets `write` fill a temporary file, which then replaces `path`. `close` is finish or close.
// Errors name `path`, which the user knows.
FileSum replace(const fs::path& path, const std::function<void(OutputFile&)>& write,
                FileSum (OutputFile::*close)(), const SyscallHook& hook) {
  if (is_special(path)) {
    OutputFile file(path, hook);
    write(file);
    return file.close();
  }
  const fs::path beside = temporary_name(path);
  try {
    OutputFile file(beside, hook);
    write(file);
    const FileSum sum = (file.*close)();
    rename_path(beside, path, hook);
    return sum;
  } catch (const std::exception& error) {
    std::error_code ignored;
    fs::remove(beside, ignored);
    const std::string_view text = error.what();
    const std::string prefix = beside.string() + ": ";
    if (text.starts_with(prefix)) throw IoError(path, std::string(text.substr(prefix.size())));
    throw;
  }
}

}  // namespace

long checked_syscall(std::string_view name, const fs::path& path, const SyscallHook& hook,
                     const std::function<long()>& call) {
  int error = hook ? hook({name, path, false}) : 0;
  long result = -1;
  if (error == 0) {
    do {
      result = call();
    } while (result < 0 && errno == EINTR);
    error = errno;
  }
  if (result < 0) throw IoError(path, fmt::format("cannot {}: {}", name, reason(error)));
  if (hook) hook({name, path, true});
  return result;
}

OutputFile::OutputFile(fs::path path, SyscallHook hook)
    : path_(std::move(path)), hook_(std::move(hook)) {
  fd_ = static_cast<int>(checked_syscall("open", path_, hook_, [&] {
    return ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  }));
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
}

void OutputFile::write(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    std::span<const uint8_t> piece = bytes.first(std::min(bytes.size(), kPieceBytes));
    bytes = bytes.subspan(piece.size());
    sum_.size += piece.size();
    sum_.crc32c = crc32c(piece, sum_.crc32c);
    while (!piece.empty()) {  // a write may be short
      const long written = checked_syscall(
          "write", path_, hook_, [&] { return ::write(fd_, piece.data(), piece.size()); });
      piece = piece.subspan(static_cast<size_t>(written));
    }
  }
}

void OutputFile::write(std::string_view text) { write(bytes_of(text)); }

FileSum OutputFile::finish() {
  checked_syscall("fsync", path_, hook_, [&] { return ::fsync(fd_); });
  return close();
}

FileSum OutputFile::close() {
  const int fd = std::exchange(fd_, -1);
  checked_syscall("close", path_, hook_, [&] {
    // Linux closes the file even if it reports EINTR; closing again could close another file.
    const int result = ::close(fd);
    return result < 0 && errno == EINTR ? 0 : result;
  });
  return sum_;
}

InputFile::InputFile(fs::path path) : path_(std::move(path)), fd_(open_for_reading(path_)) {
  struct stat status {};
  const bool regular = ::fstat(fd_, &status) == 0 && S_ISREG(status.st_mode);
  if (!regular) {
    ::close(std::exchange(fd_, -1));
    throw IoError(path_, "is not a regular file");
  }
  size_ = static_cast<uint64_t>(status.st_size);
}

InputFile::~InputFile() {
  if (fd_ >= 0) ::close(fd_);
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  return *this;
}

void InputFile::read_at(uint64_t offset, std::span<uint8_t> bytes) const {
  while (!bytes.empty()) {
    const long got = checked_syscall("read", path_, {}, [&] {
      return ::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    });
    if (got == 0) {
      throw IoError(path_,
                    fmt::format("ends at byte {}, {} bytes too early", offset, bytes.size()));
    }
    offset += static_cast<uint64_t>(got);
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
}

std::vector<uint8_t> read_file(const fs::path& path) {
  return read_all<std::vector<uint8_t>>(path);
}

std::string read_text(const fs::path& path) { return read_all<std::string>(path); }

FileSum file_sum(const fs::path& path) {
  const InputFile file(path);
  std::vector<uint8_t> buffer(std::min<uint64_t>(file.size(), kPieceBytes));
  FileSum sum;
  while (sum.size < file.size()) {
    const std::span<uint8_t> piece(buffer.data(),
                                   std::min<uint64_t>(buffer.size(), file.size() - sum.size));
    file.read_at(sum.size, piece);
    sum.crc32c = crc32c(piece, sum.crc32c);
    sum.size += piece.size();
  }
  return sum;
}

FileSum write_file_synced(const fs::path& path, std::span<const uint8_t> bytes,
                          const SyscallHook& hook) {
  OutputFile file(path, hook);
  file.write(bytes);
  return file.finish();
}

FileSum write_file_synced(const fs::path& path, std::string_view text, const SyscallHook& hook) {
  return write_file_synced(path, bytes_of(text), hook);
}

FileSum write_file_atomic(const fs::path& path, const std::function<void(OutputFile&)>& write,
                          const SyscallHook& hook) {
  const FileSum sum = replace(path, write, &OutputFile::finish, hook);
  if (!is_special(path)) sync_directory(path.parent_path(), hook);
  return sum;
}

void write_file_atomic(const fs::path& path, std::string_view text, const SyscallHook& hook) {
  write_file_atomic(
      path, [&](OutputFile& file) { file.write(text); }, hook);
}

void replace_file(const fs::path& path, std::span<const uint8_t> bytes) {
  replace(path, [&](OutputFile& file) { file.write(bytes); }, &OutputFile::close, {});
}

fs::path temporary_name(const fs::path& path) {
  return path.parent_path() / fmt::format(".{}.tmp-{}", path.filename().string(), ::getpid());
}

void rename_path(const fs::path& from, const fs::path& to, const SyscallHook& hook) {
  checked_syscall("rename", to, hook, [&] { return std::rename(from.c_str(), to.c_str()); });
}

void sync_directory(const fs::path& directory, const SyscallHook& hook) {
  const fs::path path = directory.empty() ? fs::path(".") : directory;
  checked_syscall("fsync_dir", path, hook, [&]() -> long {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    // Some network file systems sync folders by themselves and answer EINVAL.
    const long result = ::fsync(fd) == 0 || errno == EINVAL ? 0 : -1;
    const int error = errno;
    ::close(fd);
    errno = error;
    return result;
  });
}

void remove_tree(const fs::path& directory, const SyscallHook& hook) {
  std::error_code error;
  std::vector<fs::path> entries;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    entries.push_back(it->path());
  }
  if (error == std::errc::no_such_file_or_directory) return;
  if (error) throw IoError(directory, fmt::format("cannot list: {}", error.message()));
  for (const fs::path& entry : entries) {
    if (fs::is_directory(fs::symlink_status(entry, error))) {
      remove_tree(entry, hook);
    } else {
      checked_syscall("unlink", entry, hook, [&] { return ::unlink(entry.c_str()); });
    }
  }
  checked_syscall("rmdir", directory, hook, [&] { return ::rmdir(directory.c_str()); });
}

uint64_t free_space(const fs::path& path) {
  const fs::path place = path.empty() ? fs::path(".") : path;
  struct statvfs status {};
  checked_syscall("statvfs", place, {}, [&] { return ::statvfs(place.c_str(), &status); });
  return uint64_t{status.f_bavail} * uint64_t{status.f_frsize};
}

}  // namespace ddpm::io
