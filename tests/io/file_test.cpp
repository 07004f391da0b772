#include "ddpm/io/file.h"

#include "ddpm/base/error.h"
#include "ddpm/io/checksum.h"
#include "tests/io/temporary_folder.h"

#include <cerrno>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ddpm::io {
namespace {

namespace fs = std::filesystem;

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const IoError& error) {
    return error.what();
  }
  return "no error";
}

std::vector<uint8_t> pattern(size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
  return bytes;
}

// "write begins", "write" and so on, with the file's name: what a hook saw.
std::vector<std::string> completed_calls(const std::function<void(const SyscallHook&)>& action) {
  std::vector<std::string> calls;
  action([&](const Syscall& call) {
    if (call.done) calls.push_back(std::string(call.name) + " " + call.path.filename().string());
    return 0;
  });
  return calls;
}

TEST(File, ReadsWhatWasWritten) {
  const TemporaryFolder folder;
  for (const size_t size : {0u, 1u, 4095u, 4096u, 3000000u}) {
    const std::vector<uint8_t> bytes = pattern(size);
    const FileSum sum = write_file_synced(folder / "f", bytes);
    EXPECT_EQ(read_file(folder / "f"), bytes);
    EXPECT_EQ(sum, (FileSum{size, crc32c(bytes)}));
    EXPECT_EQ(file_sum(folder / "f"), sum);
  }
}

TEST(File, WritingReplacesALongerFile) {
  const TemporaryFolder folder;
  write_file_synced(folder / "f", "a longer text");
  write_file_synced(folder / "f", "short");
  EXPECT_EQ(read_text(folder / "f"), "short");
}

TEST(File, ReadsFilesThatTellNoSize) { EXPECT_FALSE(read_text("/proc/self/status").empty()); }

TEST(File, ErrorsNameThePathAndTheReason) {
  const TemporaryFolder folder;
  const std::string missing = (folder / "no" / "file").string();
  EXPECT_EQ(error_of([&] { read_file(missing); }),
            missing + ": cannot open: No such file or directory");
  EXPECT_EQ(error_of([&] { write_file_synced(missing, "x"); }),
            missing + ": cannot open: No such file or directory");
  EXPECT_EQ(error_of([&] { read_text(folder.path()); }),
            folder.path().string() + ": cannot read: Is a directory");
  EXPECT_EQ(error_of([&] { InputFile file(folder.path()); }),
            folder.path().string() + ": is not a regular file");
  EXPECT_EQ(error_of([&] { sync_directory(folder / "no"); }),
            (folder / "no").string() + ": cannot fsync_dir: No such file or directory");
}

TEST(File, FullDeviceIsAnError) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full on this machine";
  EXPECT_EQ(error_of([] { write_file_synced("/dev/full", "x"); }),
            "/dev/full: cannot write: No space left on device");
}

// The kernel itself shortens the write that crosses the limit and refuses the next one.
TEST(File, ShortWriteIsContinuedUntilTheKernelRefuses) {
  const TemporaryFolder folder;
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{10000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const std::string message = error_of([&] { write_file_synced(folder / "f", pattern(20000)); });
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, old_handler);
  EXPECT_EQ(message, (folder / "f").string() + ": cannot write: File too large");
  EXPECT_EQ(fs::file_size(folder / "f"), 10000u);
}

TEST(File, ReadAtChecksTheEnd) {
  const TemporaryFolder folder;
  write_file_synced(folder / "f", "0123456789");
  const InputFile file(folder / "f");
  EXPECT_EQ(file.size(), 10u);
  std::vector<uint8_t> bytes(4);
  file.read_at(6, bytes);
  EXPECT_EQ(bytes, (std::vector<uint8_t>{'6', '7', '8', '9'}));
  EXPECT_EQ(error_of([&] { file.read_at(8, bytes); }),
            (folder / "f").string() + ": ends at byte 10, 2 bytes too early");
}

TEST(File, SyncedWriteSyncsBeforeItCloses) {
  const TemporaryFolder folder;
  const auto calls = completed_calls(
      [&](const SyscallHook& hook) { write_file_synced(folder / "f", "text", hook); });
  EXPECT_EQ(calls, (std::vector<std::string>{"open f", "write f", "fsync f", "close f"}));
}

TEST(File, AtomicWriteSyncsTheContentBeforeTheNameAndTheNameBeforeItReturns) {
  const TemporaryFolder folder;
  const std::string beside = ".f.tmp-" + std::to_string(::getpid());
  const auto calls = completed_calls(
      [&](const SyscallHook& hook) { write_file_atomic(folder / "f", "text", hook); });
  EXPECT_EQ(calls, (std::vector<std::string>{"open " + beside, "write " + beside, "fsync " + beside,
                                             "close " + beside, "rename f",
                                             "fsync_dir " + folder.path().filename().string()}));
  EXPECT_EQ(read_text(folder / "f"), "text");
}

TEST(File, FailedAtomicWriteLeavesTheOldContentAndNothingElse) {
  const TemporaryFolder folder;
  write_file_atomic(folder / "f", "old");
  for (const std::string failing : {"open", "write", "fsync", "close", "rename"}) {
    const SyscallHook hook = [&](const Syscall& call) {
      return !call.done && call.name == failing ? EIO : 0;
    };
    EXPECT_NE(error_of([&] {
                write_file_atomic(folder / "f", "new", hook);
              }).find("cannot " + failing + ": Input/output error"),
              std::string::npos);
    EXPECT_EQ(read_text(folder / "f"), "old");
    EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1) << failing;
  }
}

// Pictures and tables: no sync each, but no half of one either.
TEST(File, AReplacedFileIsWholeOrTheOldOne) {
  const TemporaryFolder folder;
  const std::vector<uint8_t> old{'o', 'l', 'd'}, large(1 << 16, 7);
  replace_file(folder / "f", old);
  rlimit limit{}, small{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  small = limit;
  small.rlim_cur = 1 << 12;  // a disk that is full after 4 KiB
  const auto former = ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_EQ(error_of([&] { replace_file(folder / "f", large); }),
            (folder / "f").string() + ": cannot write: File too large");
  ::setrlimit(RLIMIT_FSIZE, &limit);
  ::signal(SIGXFSZ, former);
  EXPECT_EQ(read_file(folder / "f"), old);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
  replace_file(folder / "f", large);
  EXPECT_EQ(read_file(folder / "f"), large);
}

TEST(File, WhatIsNoRegularFileIsWrittenToAndStays) {
  const TemporaryFolder folder;
  const fs::path pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int fd = ::open(pipe.c_str(), O_RDWR);
  ASSERT_GE(fd, 0);
  write_file_atomic(pipe, "one ");
  const std::vector<uint8_t> two{'t', 'w', 'o'};
  replace_file(pipe, two);
  char text[8] = {};
  EXPECT_EQ(::read(fd, text, sizeof text), 7);
  EXPECT_STREQ(text, "one two");
  ::close(fd);
  EXPECT_TRUE(fs::is_fifo(pipe));
}

TEST(File, InterruptedCallIsMadeAgain) {
  int calls = 0;
  const long result = checked_syscall("write", "f", {}, [&]() -> long {
    errno = EINTR;
    return ++calls < 3 ? -1 : 7;
  });
  EXPECT_EQ(result, 7);
  EXPECT_EQ(calls, 3);
}

TEST(File, RemoveTreeRemovesEverythingAndOnlyThat) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "tree/a/b");
  write_file_synced(folder / "tree/a/b/f", "x");
  write_file_synced(folder / "tree/g", "x");
  write_file_synced(folder / "kept", "x");
  fs::create_symlink(folder / "kept", folder / "tree/link");
  fs::create_directory_symlink(folder.path(), folder / "tree/a/up");
  remove_tree(folder / "tree");
  EXPECT_FALSE(fs::exists(folder / "tree"));
  EXPECT_TRUE(fs::exists(folder / "kept"));
  EXPECT_NO_THROW(remove_tree(folder / "tree"));
}

// libtorch exports parts of libstdc++; if they replace the real ones, this crashes.
TEST(File, StandardFilesystemWorksBesideLibTorch) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "tree/a/b");
  write_file_synced(folder / "tree/a/b/f", "x");
  int entries = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder / "tree")) {
    entries += entry.path().empty() ? 0 : 1;
  }
  EXPECT_EQ(entries, 3);
  EXPECT_EQ(fs::remove_all(folder / "tree"), 4u);
}

TEST(File, FreeSpaceIsThatOfTheFileSystem) {
  const TemporaryFolder folder;
  const auto reference = static_cast<double>(fs::space(folder.path()).available);
  // Others write to the same disk meanwhile: a tenth, or 64 MB on a nearly full one.
  EXPECT_NEAR(static_cast<double>(free_space(folder.path())), reference, 0.1 * reference + 6.4e7);
  EXPECT_NE(error_of([&] { free_space(folder / "no"); }), "no error");
}

}  // namespace
}  // namespace ddpm::io
