#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ddpm::io {

/// A system call that changes the disk, as a SyscallHook sees it.
struct Syscall {
  std::string_view name;  ///< mkdir, open, write, fsync, close, rename, fsync_dir, unlink or rmdir
  const std::filesystem::path& path;
  bool done;  ///< false: about to be made; true: made, with success
};

/// For tests that stop, fail or record at a chosen call; empty otherwise. Called before and after
/// each call. If it returns non-zero before a call, the call is not made and fails with that errno.
using SyscallHook = std::function<int(const Syscall&)>;

/// Makes one system call, repeats it if a signal interrupts it, and returns its result. Throws
/// IoError "cannot <name>: <reason>" if the result is negative.
long checked_syscall(std::string_view name, const std::filesystem::path& path,
                     const SyscallHook& hook, const std::function<long()>& call);

/// Size and CRC32C of a file's content.
struct FileSum {
  uint64_t size = 0;
  uint32_t crc32c = 0;
  bool operator==(const FileSum&) const = default;
};

/// A file that is written from its beginning. Every call is checked and throws IoError.
class OutputFile {
 public:
  /// Creates or truncates the file.
  explicit OutputFile(std::filesystem::path path, SyscallHook hook = {});
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const uint8_t> bytes);
  void write(std::string_view text);
  /// Syncs the content to the disk (fsync) and closes. The destructor closes without syncing.
  FileSum finish();
  /// Closes without syncing: the content is complete unless the machine stops.
  FileSum close();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  SyscallHook hook_;
  int fd_ = -1;
  FileSum sum_;
};

/// A regular file open for reading at any position; thread-safe.
class InputFile {
 public:
  /// Throws IoError if the file cannot be opened or is not a regular file.
  explicit InputFile(std::filesystem::path path);
  ~InputFile();
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;

  /// In bytes, at the time of opening.
  uint64_t size() const { return size_; }
  /// Fills `bytes` from `offset` on. Throws IoError if the file cannot be read or is too short.
  void read_at(uint64_t offset, std::span<uint8_t> bytes) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

/// The complete content. Throws IoError.
std::vector<uint8_t> read_file(const std::filesystem::path& path);
std::string read_text(const std::filesystem::path& path);

/// Size and CRC32C of a regular file, read in pieces. Throws IoError.
FileSum file_sum(const std::filesystem::path& path);

/// Writes, syncs (fsync) and closes. Throws IoError; the file may then be incomplete.
FileSum write_file_synced(const std::filesystem::path& path, std::span<const uint8_t> bytes,
                          const SyscallHook& hook = {});
FileSum write_file_synced(const std::filesystem::path& path, std::string_view text,
                          const SyscallHook& hook = {});

/// The hidden name ".NAME.tmp-PID" beside `path`, for content that takes its place when complete.
std::filesystem::path temporary_name(const std::filesystem::path& path);

/// Replaces `path` atomically: if the machine stops, it holds either the old content or the new
/// one. Writes a temporary file beside it, syncs, renames, syncs the folder. Throws IoError and
/// keeps the old content. A device or pipe (/dev/stdout) is written to, not replaced.
void write_file_atomic(const std::filesystem::path& path, std::string_view text,
                       const SyscallHook& hook = {});
/// The same for content that `write` writes to the temporary file (it must not finish the file).
FileSum write_file_atomic(const std::filesystem::path& path,
                          const std::function<void(OutputFile&)>& write,
                          const SyscallHook& hook = {});

/// Replaces `path` without syncing, for results that can be reproduced: it holds either the old or
/// the new content unless the machine stops. Throws IoError and keeps the old content.
void replace_file(const std::filesystem::path& path, std::span<const uint8_t> bytes);

/// Renames within a file system; the folder is not synced. Throws IoError.
void rename_path(const std::filesystem::path& from, const std::filesystem::path& to,
                 const SyscallHook& hook = {});
/// Syncs the names created, renamed or removed in a folder (fsync of the folder). Throws IoError.
void sync_directory(const std::filesystem::path& directory, const SyscallHook& hook = {});
/// Removes a folder with its content; does nothing if it does not exist. Throws IoError.
void remove_tree(const std::filesystem::path& directory, const SyscallHook& hook = {});

/// Free bytes for an ordinary user on the file system of `path`. Throws IoError.
uint64_t free_space(const std::filesystem::path& path);

/// Creates a folder and its missing parents. Throws IoError "cannot be made: ...", followed by
/// `way_out` if given.
void make_folder(const std::filesystem::path& folder, const std::string& way_out = "");

/// The folder itself, or the nearest one above it that exists: where it would be made. Absolute.
std::filesystem::path existing_folder(const std::filesystem::path& folder);

/// Throws IoError if there is no folder to contain `destination`.
void expect_folder_of(const std::filesystem::path& destination);

/// Throws IoError if `destination` exists, or if the folder to contain it does not.
void expect_absent(const std::filesystem::path& destination);

/// Creates a folder as one step: `fill` writes into a temporary folder beside it, which is renamed
/// when complete and on the disk, or removed after an error. Throws IoError, also if `destination`
/// exists.
void write_folder_atomic(const std::filesystem::path& destination,
                         const std::function<void(const std::filesystem::path&)>& fill);

}  // namespace ddpm::io
